import {
  encodeCollateral,
  encodeProviderEvidence,
  fromHex,
  NEAR_CLOUD_DOCUMENTS,
  readNearCloudReport,
  TDX_COLLATERAL,
  toHex,
} from '@vouchgate/attestation'
import type { Collect } from './collect.ts'

/** Two attestations, one of them with 8 GPUs: 270 KB; the rest is room for longer event logs. */
const MAX_REPORT = 4 << 20

/** The report of the router, with that of the node behind it, over a fresh nonce. It wants a key. */
export const collectNearCloud: Collect = async (provider, deps) => {
  const { origin, model, policy } = provider
  const { nonce, clock, authorization } = deps
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
    maxBytes: MAX_REPORT,
  })
  const { gateway, node } = readNearCloudReport(body)
  const [gatewayCollateral, collateral, gpus] = await Promise.all([
    deps.pcs(fromHex(gateway.intel_quote)),
    deps.pcs(fromHex(node.intel_quote)),
    deps.gpus({
      json: node.nvidia_payload ?? '',
      nonce: fromHex(nonce),
      policy: policy.gpu,
    }),
  ])
  return encodeProviderEvidence({
    kind: 'near-cloud',
    collectedAt: clock.now(),
    origin,
    model,
    nonce,
    observedSpkiSha256: spkiSha256 === null ? null : toHex(spkiSha256),
    documents: new Map([
      [NEAR_CLOUD_DOCUMENTS.report, body],
      [NEAR_CLOUD_DOCUMENTS.gatewayCollateral, encodeCollateral(gatewayCollateral)],
      [TDX_COLLATERAL, encodeCollateral(collateral)],
      ...gpus,
    ]),
  })
}
