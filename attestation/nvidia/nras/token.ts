import { errors, jwtVerify } from 'jose'
import { z } from 'zod'
import { fromBase64, type UnixSeconds } from '../../bytes.ts'
import { EvidenceError, type EvidenceErrorCode } from '../../errors.ts'
import type { JsonValue } from '../../json.ts'
import { isJsonObject, jsonOf, type JsonObject } from './json.ts'
import { importNrasKey, type NrasJwk, type NrasKeys } from './jwks.ts'
import { pinOf } from './pin.ts'
import type { NrasPolicy } from './policy.ts'

/** A token that NRAS signed and that is valid now. */
export interface NrasToken {
  readonly claims: JsonObject
  readonly issuedAt: UnixSeconds
  readonly expiresAt: UnixSeconds
  /** What it is signed with. */
  readonly key: NrasJwk
  /** Whether a pinned authority certified the key when it signed this. */
  readonly pin: 'pinned' | 'unpinned'
}

interface Environment {
  readonly issuer: string
  readonly kid: RegExp
}

const ENVIRONMENTS: Readonly<Record<NrasPolicy['environment'], Environment>> = {
  production: {
    issuer: 'https://nras.attestation.nvidia.com',
    kid: /^nv-eat-kid-prod-[0-9A-Za-z-]{1,96}$/,
  },
  staging: {
    issuer: 'https://nras.attestation-stg.nvidia.com',
    kid: /^nv-eat-kid-stg-[0-9A-Za-z-]{1,96}$/,
  },
}

const MAX_LIFETIME_SECONDS = 3600
/** NVIDIA's clock and ours may differ by this much. */
const CLOCK_TOLERANCE_SECONDS = 60
const REQUIRED = ['iss', 'iat', 'nbf', 'exp', 'jti']

const timesSchema = z.object({ iat: z.number(), exp: z.number(), jti: z.string().min(1) })

export interface TokenContext {
  readonly keys: NrasKeys
  readonly now: UnixSeconds
  readonly policy: NrasPolicy
}

/**
 * Proves that a token is by NRAS and valid now. What it says is for others to judge.
 *
 * @throws EvidenceError `nras_token_malformed`, `nras_header_unexpected`, `nras_algorithm_unsupported`, `nras_kid_*`,
 * `nras_jwks_malformed`, `nras_signature_invalid`, `nras_issuer_mismatch`, `nras_token_*`,
 * `nras_lifetime_implausible`, `nras_key_unpinned`
 */
export async function verifyNrasToken(
  text: string,
  { keys, now, policy }: TokenContext,
): Promise<NrasToken> {
  const environment = ENVIRONMENTS[policy.environment]
  const [header, payload] = text.split('.').map(segment)
  // 1. The header names a key and an algorithm, and nothing that would have to be heeded besides.
  const kid = keyId(header, environment)
  // 2. The key is one that NRAS publishes.
  const key = keys.get(kid)
  if (key === undefined) throw new EvidenceError('nras_key_unknown')
  // 3. Two parsers read the same claims: `JSON.parse` alone would keep the last of two members.
  if (!isJsonObject(payload)) throw new EvidenceError('nras_token_malformed')
  // 4. It is signed, by the right issuer, and valid now.
  await verifySignature(text, key, { issuer: environment.issuer, now, policy })
  const times = timesSchema.safeParse(payload)
  if (!times.success) throw new EvidenceError('nras_token_malformed')
  const { iat: issuedAt, exp: expiresAt } = times.data
  // 5. It does not live longer than NVIDIA lets tokens live.
  if (expiresAt - issuedAt > MAX_LIFETIME_SECONDS) {
    throw new EvidenceError('nras_lifetime_implausible')
  }
  // 6. Its key is certified by an authority of NVIDIA's, as far as the policy asks.
  const { jwks_pin: rule, jwks_authorities: authorities } = policy
  const pin = rule === 'off' ? 'unpinned' : await pinOf(key, issuedAt, authorities)
  if (rule === 'enforce' && pin === 'unpinned') throw new EvidenceError('nras_key_unpinned')
  return { claims: payload, issuedAt, expiresAt, key, pin }
}

/** The JSON value of one base64url segment; null for the signature, and for what is none. */
function segment(text: string, index: number): JsonValue {
  const padded = text.replaceAll('-', '+').replaceAll('_', '/') + '='.repeat(-text.length & 3)
  return index < 2 ? jsonOf(() => fromBase64(padded)) : null
}

/** `jwk`, `jku`, `x5c` or `crit` in a header could make a reader trust another key or skip a check. */
function keyId(header: JsonValue | undefined, { kid: accepted }: Environment): string {
  if (!isJsonObject(header)) throw new EvidenceError('nras_token_malformed')
  const { alg, kid } = header
  if (alg !== 'ES384') throw new EvidenceError('nras_algorithm_unsupported')
  if (typeof kid !== 'string' || Object.keys(header).length !== 2) {
    throw new EvidenceError('nras_header_unexpected')
  }
  if (!accepted.test(kid)) throw new EvidenceError('nras_kid_not_accepted')
  return kid
}

interface Expected {
  readonly issuer: string
  readonly now: UnixSeconds
  readonly policy: NrasPolicy
}

async function verifySignature(text: string, key: NrasJwk, expected: Expected): Promise<void> {
  const { issuer, now, policy } = expected
  const age = policy.max_token_age_seconds
  const imported = await importNrasKey(key)
  try {
    await jwtVerify(text, imported, {
      algorithms: ['ES384'],
      issuer,
      requiredClaims: REQUIRED,
      currentDate: new Date(now * 1000),
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      maxTokenAge: age === 'recorded' ? MAX_LIFETIME_SECONDS : age,
    })
  } catch (error) {
    throw error instanceof errors.JOSEError ? new EvidenceError(refusalOf(error)) : error
  }
}

/** jose's own errors carry the claims, so none of them is passed on. */
function refusalOf(error: errors.JOSEError): EvidenceErrorCode {
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'nras_signature_invalid'
  if (error instanceof errors.JWTExpired) {
    return error.claim === 'iat' ? 'nras_token_too_old' : 'nras_token_not_valid_now'
  }
  const failed = error instanceof errors.JWTClaimValidationFailed && error.reason === 'check_failed'
  if (!failed) return 'nras_token_malformed'
  return error.claim === 'iss' ? 'nras_issuer_mismatch' : 'nras_token_not_valid_now'
}
