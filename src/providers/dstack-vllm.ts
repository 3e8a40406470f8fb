import { readVllmReport, VLLM_REPORT } from '@vouchgate/attestation'
import type { Collect } from './collect.ts'
import { MAX_NODE_REPORT, nodeEndorsements, nodeEvidence } from './node-report.ts'

/** The report of the node that the connection reached, over a fresh nonce. Most nodes want a key. */
export const collectDstackVllm: Collect = async (provider, deps) => {
  const { nonce, authorization } = deps
  // Version 1 binds no TLS key. A node that knows no other answers with it, and is refused.
  const query = new URLSearchParams({ nonce, signing_algo: 'ecdsa', version: '2' })
  const { body, spkiSha256 } = await deps.attested({
    origin: provider.origin,
    path: `/v1/attestation/report?${query.toString()}`,
    headers: { authorization },
    maxBytes: MAX_NODE_REPORT,
  })
  const endorsements = await nodeEndorsements(readVllmReport(body, nonce), provider, deps)
  return nodeEvidence(provider, deps, {
    kind: 'dstack-vllm',
    spkiSha256,
    documents: [[VLLM_REPORT, body], ...endorsements],
  })
}
