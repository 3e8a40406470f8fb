import {
  encodeCollateral,
  encodeProviderEvidence,
  fromHex,
  TDX_COLLATERAL,
  toHex,
  type Bytes,
  type ProviderEvidence,
} from '@vouchgate/attestation'
import type { AttestedProvider } from '../config/index.ts'
import type { CollectDeps, NamedDocuments } from './collect.ts'

/** 8 GPUs make 350 KB; the rest is room for longer event logs. */
export const MAX_NODE_REPORT = 4 << 20

/** What the reports of dstack's guests have in common. */
interface NodeReport {
  /** Hex. */
  readonly intel_quote: string
  readonly nvidia_payload?: string | null | undefined
}

/** What the quote in a node's report and its GPUs, which answer the same nonce, are judged by. */
export async function nodeEndorsements(
  report: NodeReport,
  { policy }: AttestedProvider,
  { nonce, pcs, gpus }: CollectDeps,
): Promise<NamedDocuments> {
  const [collateral, devices] = await Promise.all([
    pcs(fromHex(report.intel_quote)),
    gpus({ json: report.nvidia_payload ?? '', nonce: fromHex(nonce), policy: policy.gpu }),
  ])
  return [[TDX_COLLATERAL, encodeCollateral(collateral)], ...devices]
}

interface Collected {
  readonly kind: ProviderEvidence['kind']
  readonly spkiSha256: Bytes | null
  readonly documents: NamedDocuments
}

/** The evidence of one exchange over this challenge, as it is kept. */
export const nodeEvidence = (
  { origin, model }: AttestedProvider,
  { nonce, clock }: CollectDeps,
  { kind, spkiSha256, documents }: Collected,
): Bytes =>
  encodeProviderEvidence({
    kind,
    collectedAt: clock.now(),
    origin,
    model,
    nonce,
    observedSpkiSha256: spkiSha256 === null ? null : toHex(spkiSha256),
    documents: new Map(documents),
  })
