import { EvidenceError, type JsonValue } from '@vouchgate/attestation'
import { toTrustMaterial, type TrustMaterial } from '@sigstore/verify'
import { z } from 'zod'
import { PUBLIC_GOOD_ROOT } from './sigstore-root.ts'

type TrustedRoot = Parameters<typeof toTrustMaterial>[0]

const MAX_BASE64 = 1 << 14
const base64 = z
  .base64()
  .max(MAX_BASE64)
  .transform((text) => Buffer.from(text, 'base64'))
const time = z.iso.datetime().transform((text) => new Date(text))
const period = z
  .object({ start: time, end: time.optional() })
  .transform(({ start, end }) => ({ start, end }))

/** Keys of the two curves in use, by their numbers in Sigstore's protobuf. An RSA key is in none of its instances. */
const KEY_DETAILS = { PKIX_ECDSA_P256_SHA_256: 5, PKIX_ED25519: 7 } as const
const keyDetails = z
  .enum(['PKIX_ECDSA_P256_SHA_256', 'PKIX_ED25519'])
  .transform((name) => KEY_DETAILS[name])

const log = z
  .object({
    baseUrl: z.string(),
    hashAlgorithm: z.literal('SHA2_256'),
    publicKey: z.object({ rawBytes: base64, keyDetails, validFor: period }),
    logId: z.object({ keyId: base64 }),
  })
  .transform((each) => ({
    ...each,
    hashAlgorithm: 1,
    checkpointKeyId: undefined,
    operator: '',
  }))

const authority = z
  .object({
    uri: z.string(),
    certChain: z.object({
      certificates: z
        .array(z.object({ rawBytes: base64 }))
        .min(1)
        .max(8),
    }),
    validFor: period,
  })
  .transform((each) => ({ ...each, subject: undefined, operator: '' }))

const many = <T extends z.ZodType>(each: T) => z.array(each).max(32)

const rootSchema = z
  .object({
    mediaType: z.literal([
      'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      'application/vnd.dev.sigstore.trustedroot.v0.2+json',
    ]),
    tlogs: many(log).default([]),
    certificateAuthorities: many(authority).default([]),
    ctlogs: many(log).default([]),
    timestampAuthorities: many(authority).default([]),
  })
  .transform((root): TrustedRoot => root)

/** Who may vouch for a signature: certificate authorities, logs and clocks. */
export type SigstoreTrust = TrustMaterial

/** `root` is a `trusted_root.json`. Throws `sigstore_trust_root_malformed`. */
export function sigstoreTrust(root: JsonValue): SigstoreTrust {
  const parsed = rootSchema.safeParse(root)
  const trust = parsed.success ? materialOf(parsed.data) : null
  if (trust === null) throw new EvidenceError('sigstore_trust_root_malformed')
  return trust
}

/** Null where something in it is no key or certificate. */
function materialOf(root: TrustedRoot): SigstoreTrust | null {
  try {
    return toTrustMaterial(root)
  } catch {
    return null
  }
}

/** The public-good instance, which GitHub's CI signs under for public repositories. */
export const PUBLIC_GOOD_TRUST: SigstoreTrust = sigstoreTrust(PUBLIC_GOOD_ROOT)
