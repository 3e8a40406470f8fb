import { toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { ProviderEvidence } from './evidence.ts'

/** The connection that the evidence came over ends in the attested key. Throws `provider_channel_not_attested`. */
export function checkObserved(
  attested: Bytes,
  { observedSpkiSha256 }: Pick<ProviderEvidence, 'observedSpkiSha256'>,
): void {
  if (observedSpkiSha256 !== null && observedSpkiSha256 !== toHex(attested)) {
    throw new EvidenceError('provider_channel_not_attested')
  }
}
