/** Every kind of provider whose evidence can be appraised. */
export const PROVIDER_KINDS = [
  /** Any ACI/1 service: a keyset bound by a TDX quote. */
  'aci',
  /** A NEAR AI model node: TLS ends inside its TD. */
  'near-direct',
] as const

export type ProviderKind = (typeof PROVIDER_KINDS)[number]
