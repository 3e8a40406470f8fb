import {
  encodeCollateral,
  encodeProviderEvidence,
  fromHex,
  readVllmReport,
  TDX_COLLATERAL,
  toHex,
  VLLM_REPORT,
} from '@vouchgate/attestation'
import type { Collect } from './collect.ts'

/** One GPU makes 180 KB, eight of them 350 KB; the rest is room for longer event logs. */
const MAX_REPORT = 4 << 20

/** The report of the node that the connection reached, over a fresh nonce. Most nodes want a key. */
export const collectDstackVllm: Collect = async (provider, deps) => {
  const { origin, model, policy } = provider
  const { nonce, clock, authorization } = deps
  // Version 1 binds no TLS key. A node that knows no other answers with it, and is refused.
  const query = new URLSearchParams({ nonce, signing_algo: 'ecdsa', version: '2' })
  const { body, spkiSha256 } = await deps.attested({
    origin,
    path: `/v1/attestation/report?${query.toString()}`,
    headers: { authorization },
    maxBytes: MAX_REPORT,
  })
  const report = readVllmReport(body, nonce)
  const [collateral, gpus] = await Promise.all([
    deps.pcs(fromHex(report.intel_quote)),
    deps.gpus({
      json: report.nvidia_payload ?? '',
      nonce: fromHex(nonce),
      policy: policy.gpu,
    }),
  ])
  return encodeProviderEvidence({
    kind: 'dstack-vllm',
    collectedAt: clock.now(),
    origin,
    model,
    nonce,
    observedSpkiSha256: spkiSha256 === null ? null : toHex(spkiSha256),
    documents: new Map([
      [VLLM_REPORT, body],
      [TDX_COLLATERAL, encodeCollateral(collateral)],
      ...gpus,
    ]),
  })
}
