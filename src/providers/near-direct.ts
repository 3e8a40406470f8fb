import {
  encodeCollateral,
  encodeProviderEvidence,
  fromHex,
  NEAR_REPORT,
  readNearReport,
  TDX_COLLATERAL,
  toHex,
} from '@vouchgate/attestation'
import type { Collect } from './collect.ts'

/** 8 GPUs make 350 KB; the rest is room for longer event logs. */
const MAX_REPORT = 4 << 20

/** The report of the node that the connection reached, over a fresh nonce. It needs no key. */
export const collectNearDirect: Collect = async (provider, deps) => {
  const { origin, model, policy } = provider
  const { nonce, clock } = deps
  const query = new URLSearchParams({
    nonce,
    signing_algo: 'ed25519',
    include_tls_fingerprint: 'true',
  })
  const path = `/v1/attestation/report?${query.toString()}`
  const { body, spkiSha256 } = await deps.attested({ origin, path, maxBytes: MAX_REPORT })
  const report = readNearReport(body)
  const [collateral, gpus] = await Promise.all([
    deps.pcs(fromHex(report.intel_quote)),
    deps.gpus({
      json: report.nvidia_payload ?? '',
      nonce: fromHex(nonce),
      policy: policy.gpu,
    }),
  ])
  return encodeProviderEvidence({
    kind: 'near-direct',
    collectedAt: clock.now(),
    origin,
    model,
    nonce,
    observedSpkiSha256: spkiSha256 === null ? null : toHex(spkiSha256),
    documents: new Map([
      [NEAR_REPORT, body],
      [TDX_COLLATERAL, encodeCollateral(collateral)],
      ...gpus,
    ]),
  })
}
