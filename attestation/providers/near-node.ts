import { concatBytes, equalBytes, fromHex, sha256, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { acceptTdx } from './cpu.ts'
import { checkComposeManager } from './near-compose.ts'
import { verifyLaunch, type DstackLaunch } from './dstack.ts'
import { acceptGpus, type BoundGpus } from './gpus.ts'
import type { KindInput } from './kind.ts'
import { imageNameOf, type NearReport } from './near-report.ts'

/** A model node whose report holds. */
export interface NearNode {
  readonly quote: AcceptedQuote
  /** The Ed25519 key that requests can be encrypted to: it is in the report data. */
  readonly signingKey: Bytes
  /** SHA-256 of the node's TLS SPKI. */
  readonly tlsFingerprint: Bytes
  readonly gpus: BoundGpus | null
  readonly launch: DstackLaunch
  /** SHA-256 of the log of what was started after boot; null where the node shows none. */
  readonly actionsHash: string | null
}

/**
 * Proves what the report of a model node says (providers.md §1.3).
 *
 * @param nonce 64 hex digits
 * @throws EvidenceError, PolicyError
 */
export async function verifyNearNode(
  report: NearReport,
  nonce: string,
  input: KindInput,
): Promise<NearNode> {
  // 1. The quote is genuine and of a wanted workload.
  const quote = await acceptTdx(fromHex(report.intel_quote), input)
  // 2. It commits to the node's keys and to this challenge.
  const { signingKey, tlsFingerprint } = keysOf(report)
  await checkReportData(quote, [signingKey, tlsFingerprint], nonce)
  // 3. The event log replays to it, and the published configuration is the measured one.
  const launch = await launchOf(report, quote, input)
  // 4. The GPUs are genuine and answered the same challenge.
  const gpus = await gpusOf(report, nonce, quote, input)
  // 5. What was started after boot is logged, and the same TD says so.
  const actionsHash = await checkComposeManager(report, nonce, quote, input)
  return { quote, signingKey, tlsFingerprint, gpus, launch, actionsHash }
}

interface NodeKeys {
  readonly signingKey: Bytes
  readonly tlsFingerprint: Bytes
}

/** Without the fingerprint the quote binds no TLS key (report data of version 1). */
function keysOf({
  signing_algo: algo,
  signing_address,
  tls_cert_fingerprint: tls,
}: NearReport): NodeKeys {
  const isKey = algo === 'ed25519' && /^[0-9a-fA-F]{64}$/.test(signing_address)
  if (!isKey || tls === null || tls === undefined)
    throw new EvidenceError('provider_keys_not_bound')
  return { signingKey: fromHex(signing_address.toLowerCase()), tlsFingerprint: fromHex(tls) }
}

/** SHA-256 over the keys in the first half, the challenge in the second. */
export async function checkReportData(
  quote: AcceptedQuote,
  keys: readonly Bytes[],
  nonce: string,
): Promise<void> {
  const [first, second] = [quote.reportData.subarray(0, 32), quote.reportData.subarray(32)]
  if (!equalBytes(second, fromHex(nonce))) throw new EvidenceError('nonce_mismatch')
  if (!equalBytes(first, await sha256(concatBytes(...keys)))) {
    throw new EvidenceError('provider_keys_not_bound')
  }
}

export const launchOf = (
  report: NearReport,
  quote: AcceptedQuote,
  input: KindInput,
): Promise<DstackLaunch> =>
  verifyLaunch(
    {
      eventLog: report.event_log,
      appCompose: report.info.tcb_info.app_compose,
      composeHash: report.info.compose_hash ?? null,
      osImageHash: report.info.os_image_hash ?? null,
      imageName: imageNameOf(report),
    },
    quote,
    input,
  )

export async function gpusOf(
  { nvidia_payload: payload }: NearReport,
  nonce: string,
  quote: AcceptedQuote,
  input: KindInput,
): Promise<BoundGpus | null> {
  if (input.policy.gpu === 'unchecked') return null
  if (payload === null || payload === undefined) throw new EvidenceError('gpu_evidence_count')
  return acceptGpus(
    { json: payload, nonce: fromHex(nonce), cpu: quote, rule: { kind: 'shared-nonce' } },
    input,
  )
}
