import { EvidenceError } from '../errors.ts'
import type { ProviderEvidence } from './evidence.ts'

/** The challenge that was sent: 64 hex digits. Throws `nonce_mismatch` where none was. */
export function challengeOf({ nonce }: ProviderEvidence): string {
  if (nonce === null) throw new EvidenceError('nonce_mismatch')
  return nonce
}
