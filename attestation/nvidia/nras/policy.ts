import { z } from 'zod'
import { EvidenceError } from '../../errors.ts'

/** SHA-256 of the SubjectPublicKeyInfo of `NVIDIA Attestation Service GPU Intermediate 004` (2025 to 2029). */
const NVIDIA_AUTHORITY = 'fd32837f954e2c45db073105166dfe6985ae0480bb113fba63b091a75affe896'

export const nrasAuthorities = z
  .array(
    z
      .string()
      .regex(/^[0-9a-fA-F]{64}$/)
      .toLowerCase(),
  )
  .min(1)
  .max(8)

const nrasPolicySchema = z.strictObject({
  /** NVIDIA's staging service judges what its production service would not. */
  environment: z.enum(['production', 'staging']).default('production'),
  /** `recorded`: only the expiry limits the age, for a token that is judged again at the time it was kept. */
  max_token_age_seconds: z
    .union([z.literal('recorded'), z.number().int().min(1).max(3600)])
    .default(600),
  /**
   * Whether the key of a token must be certified by one of `jwks_authorities`. `warn`: the verdict says so.
   * Without it the keys are worth what the connection was on which they came.
   */
  jwks_pin: z.enum(['off', 'warn', 'enforce']).default('warn'),
  /** SHA-256 of SubjectPublicKeyInfos, hex. */
  jwks_authorities: nrasAuthorities.default([NVIDIA_AUTHORITY]),
  /** Claims 3.0 alone tell an expired signer of reference values from a bad one. */
  rim_signer_expiry: z.enum(['reject', 'allow-if-ocsp-good']).default('reject'),
  /** Whoever asks NRAS can make it tolerate signers on hold; the warning is then all that says so. */
  warnings: z.enum(['reject', 'allow']).default('reject'),
})

/**
 * What a relying party wants of a verdict of NRAS. Every member has a value; "not checked" is the named value `off`,
 * `allow` or `recorded`, never an absent member.
 */
export type NrasPolicy = z.output<typeof nrasPolicySchema>

/** Reads a policy document. A rule left out takes its strictest value, `jwks_pin` is `warn`. Throws `policy_malformed`. */
export function parseNrasPolicy(value: unknown): NrasPolicy {
  const parsed = nrasPolicySchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('policy_malformed')
  return parsed.data
}

/** Production, tokens of the last ten minutes, no warning, no expired signer; an unpinned key is reported. */
export const DEFAULT_NRAS_POLICY: NrasPolicy = parseNrasPolicy({})
