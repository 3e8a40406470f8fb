import { NEAR_REPORT, readNearReport } from '@vouchgate/attestation'
import type { Collect } from './collect.ts'
import { MAX_NODE_REPORT, nodeEndorsements, nodeEvidence } from './node-report.ts'

/** The report of the node that the connection reached, over a fresh nonce. It needs no key. */
export const collectNearDirect: Collect = async (provider, deps) => {
  const query = new URLSearchParams({
    nonce: deps.nonce,
    signing_algo: 'ed25519',
    include_tls_fingerprint: 'true',
  })
  const { body, spkiSha256 } = await deps.attested({
    origin: provider.origin,
    path: `/v1/attestation/report?${query.toString()}`,
    maxBytes: MAX_NODE_REPORT,
  })
  const endorsements = await nodeEndorsements(readNearReport(body), provider, deps)
  return nodeEvidence(provider, deps, {
    kind: 'near-direct',
    spkiSha256,
    documents: [[NEAR_REPORT, body], ...endorsements],
  })
}
