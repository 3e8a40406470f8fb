import { encodeUtf8, sha256, toHex } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import { isJsonObject } from './json.ts'
import type { NrasToken } from './token.ts'

export type NrasClaimsVersion = '2.0' | '3.0'

const DIGEST = /^[0-9a-f]{64}$/

/**
 * What an overall token says of itself: that it is about a platform, and in which vocabulary.
 *
 * @throws EvidenceError `nras_subject_mismatch`, `nras_claims_version_unsupported`
 */
export function claimsVersion({ claims }: NrasToken): NrasClaimsVersion {
  if (claims['sub'] !== 'NVIDIA-PLATFORM-ATTESTATION') {
    throw new EvidenceError('nras_subject_mismatch')
  }
  const version = claims['x-nvidia-ver']
  if (version !== '2.0' && version !== '3.0') {
    throw new EvidenceError('nras_claims_version_unsupported')
  }
  return version
}

/**
 * The overall token was made for exactly these device tokens, by name and digest. Without it, a good device token
 * of another day could stand beside it.
 *
 * @param names Which devices there must be.
 * @throws EvidenceError `nras_submods_mismatch`, `nras_digest_unsupported`, `nras_digest_mismatch`
 */
export async function checkSubmods(
  { claims }: NrasToken,
  devices: ReadonlyMap<string, string>,
  names: readonly string[],
): Promise<void> {
  const { submods } = claims
  const listed = new Map(isJsonObject(submods) ? Object.entries(submods) : [])
  const areNamed = (found: ReadonlyMap<string, unknown>): boolean =>
    found.size === names.length && names.every((name) => found.has(name))
  if (!areNamed(listed) || !areNamed(devices)) throw new EvidenceError('nras_submods_mismatch')
  for (const [name, token] of devices) {
    const digest = toHex(await sha256(encodeUtf8(token)))
    if (digestOf(listed.get(name)) !== digest) throw new EvidenceError('nras_digest_mismatch')
  }
}

/** `["DIGEST", ["SHA-256", <64 lower-case hex digits>]]`; local tokens of NVIDIA's SDK, which prove nothing, write `SHA256`. */
function digestOf(submod: unknown): string {
  const [kind, entry, ...rest]: unknown[] = Array.isArray(submod) ? submod : []
  const [algorithm, digest, ...more]: unknown[] = Array.isArray(entry) ? entry : []
  const isForm =
    kind === 'DIGEST' && algorithm === 'SHA-256' && rest.length === 0 && more.length === 0
  if (!isForm || typeof digest !== 'string' || !DIGEST.test(digest)) {
    throw new EvidenceError('nras_digest_unsupported')
  }
  return digest
}
