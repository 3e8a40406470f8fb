/** Every kind of provider whose evidence can be appraised. */
export const PROVIDER_KINDS = [
  /** Any ACI/1 service: a keyset bound by a TDX quote. */
  'aci',
  /** A NEAR AI model node: TLS ends inside its TD. */
  'near-direct',
  /** NEAR AI's router: prompts are encrypted to the model node behind it. */
  'near-cloud',
  /** A node of Phala's vllm-proxy on dstack: TLS ends inside its TD. */
  'dstack-vllm',
  /** A Tinfoil enclave, router or model, on TDX or SEV-SNP. */
  'tinfoil',
  /** The instances of a Chutes chute: prompts are encrypted to each one's key. */
  'chutes',
  /** A TDX workload that carries its quote in its TLS certificate. */
  'openai-ra-tls',
  /** A SecretVM on TDX, as SecretAI runs its models: TLS ends inside it. */
  'secretai',
] as const

export type ProviderKind = (typeof PROVIDER_KINDS)[number]
