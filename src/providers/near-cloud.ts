import {
  encodeCollateral,
  fromHex,
  NEAR_CLOUD_DOCUMENTS,
  readNearCloudReport,
} from '@vouchgate/attestation'
import type { Collect } from './collect.ts'
import { MAX_NODE_REPORT, nodeEndorsements, nodeEvidence } from './node-report.ts'

/** The report of the router, with that of the node behind it, over a fresh nonce. It wants a key. */
export const collectNearCloud: Collect = async (provider, deps) => {
  const { origin, model } = provider
  const { nonce, authorization } = deps
  const query = new URLSearchParams({
    model: model ?? '',
    nonce,
    signing_algo: 'ed25519',
    include_tls_fingerprint: 'true',
  })
  const { body, spkiSha256 } = await deps.attested({
    origin,
    path: `/v1/attestation/report?${query.toString()}`,
    // An alias would name another model in the report than the one asked for.
    headers: { authorization, 'x-no-aliasing': 'true' },
    maxBytes: MAX_NODE_REPORT,
  })
  const { gateway, node } = readNearCloudReport(body)
  const [collateral, endorsements] = await Promise.all([
    deps.pcs(fromHex(gateway.intel_quote)),
    nodeEndorsements(node, provider, deps),
  ])
  return nodeEvidence(provider, deps, {
    kind: 'near-cloud',
    spkiSha256,
    documents: [
      [NEAR_CLOUD_DOCUMENTS.report, body],
      [NEAR_CLOUD_DOCUMENTS.gatewayCollateral, encodeCollateral(collateral)],
      ...endorsements,
    ],
  })
}
