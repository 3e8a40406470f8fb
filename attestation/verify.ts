import { bootSubject, type BootDocument } from './aci/boot.ts'
import { decodeAciEvidence, type AciEvidence } from './aci/evidence.ts'
import { keysetDigest, reportDataFor, statement, type Keyset } from './aci/keyset.ts'
import { parseReport, type ParsedReport } from './aci/report.ts'
import { VerifiedAciService, type EndpointEventLog } from './aci/service.ts'
import { equalBytes, fromHex, toHex, type Bytes, type UnixSeconds } from './bytes.ts'
import { EvidenceError } from './errors.ts'
import { parseDstackLog } from './eventlog/dstack.ts'
import { launchClaims } from './eventlog/launch.ts'
import { verifyEventLog } from './eventlog/replay.ts'
import { trustedRoot, type Policy } from './policy.ts'
import { acceptQuote } from './tdx/accept.ts'
import type { AcceptedQuote } from './tdx/verdict.ts'
import { verifyQuote } from './tdx/verify.ts'

export interface EndpointInput {
  /** The bytes of `encodeAciEvidence`. */
  readonly evidence: Uint8Array
  /** The nonce the caller sent, or `recorded` to re-appraise kept evidence, which proves no freshness. */
  readonly challenge: string
  /** The time to judge at, or `recorded` for the moment of collection. */
  readonly now: UnixSeconds | 'recorded'
  readonly policy: Policy
}

const MAX_KEYSET_LIFETIME = 7 * 86_400

/**
 * Proves that the key on the other end of a connection belongs to the wanted workload in a genuine TEE
 * (ACI §9.1). The only maker of a `VerifiedAciService`.
 *
 * @throws EvidenceError where something does not hold, PolicyError where it holds and is not wanted.
 */
export async function verifyEndpoint(input: EndpointInput): Promise<VerifiedAciService> {
  const evidence = decodeAciEvidence(input.evidence)
  const now = input.now === 'recorded' ? evidence.collected_at : input.now
  const report = parseReport(evidence.report)
  const keyset: Keyset = report.attestation.workload_keyset
  // 1. The evidence answers this caller's challenge, so it is not a replay.
  checkChallenge(evidence, input.challenge)
  // 2. The keyset has the digest it is published under.
  const digest = await checkKeysetDigest(report, keyset)
  // 3. The keyset is in force, and for no longer than keys in memory should live.
  checkExpiry(keyset, now)
  // 4. The quote is genuine: vendor root, collateral, quoting enclave, signature, TCB.
  const genuine = await verifyQuote({
    quote: fromHex(report.attestation.evidence.quote),
    collateral: evidence.collateral,
    now,
    trustedRoot: await trustedRoot(input.policy),
  })
  // 5. The quote commits to this keyset and this challenge.
  await checkReportData(
    report,
    await reportDataFor(statement(digest, evidence.nonce)),
    genuine.reportData,
  )
  // 6. The boot document is the one the keyset names, so the quote commits to it too.
  const boot = await checkBoot(report, keyset)
  // 7. The genuine workload is a wanted one.
  const quote = acceptQuote(genuine, input.policy, boot?.config_digest ?? null)
  // 8. The event log, where there is one, replays to the quote; what it shows stands only on a wanted platform.
  const eventLog = await checkEventLog(report, quote, input.policy)
  // 9. The connection ends in that workload: its key is in the keyset.
  const binding = checkChannel(evidence, keyset)
  return new VerifiedAciService({
    origin: evidence.origin,
    binding: { kind: 'tls-spki-sha256', digest: binding },
    verifiedAt: now,
    expiresAt: Math.min(keyset.not_after, genuine.expiresAt),
    keyset,
    keysetDigest: digest,
    quote,
    boot,
    eventLog,
  })
}

function checkChallenge(evidence: AciEvidence, challenge: string): void {
  if (challenge !== 'recorded' && evidence.nonce !== challenge) {
    throw new EvidenceError('nonce_mismatch')
  }
}

async function checkKeysetDigest(report: ParsedReport, keyset: Keyset): Promise<string> {
  const digest = await keysetDigest(keyset)
  if (digest !== report.workload_keyset_digest) throw new EvidenceError('keyset_digest_mismatch')
  return digest
}

function checkExpiry(keyset: Keyset, now: UnixSeconds): void {
  if (now >= keyset.not_after) throw new EvidenceError('keyset_expired')
  if (keyset.not_after - now > MAX_KEYSET_LIFETIME) {
    throw new EvidenceError('keyset_lifetime_implausible')
  }
}

/** All 64 bytes of the slot count, the zero tail included; restated copies must agree as well. */
async function checkReportData(
  report: ParsedReport,
  expected: Bytes,
  quoted: Bytes,
): Promise<void> {
  const { report_data: stated, evidence } = report.attestation
  const slot = evidence.quote_report_data
  const holds =
    equalBytes(quoted, expected) &&
    stated === toHex(expected.subarray(0, 32)) &&
    (slot === undefined || slot === toHex(expected))
  if (!holds) throw new EvidenceError('report_data_mismatch')
}

async function checkBoot(report: ParsedReport, keyset: Keyset): Promise<BootDocument | null> {
  const { boot } = report.attestation.evidence
  if (boot === undefined) return null
  if ((await bootSubject(boot)) !== keyset.subject) {
    throw new EvidenceError('boot_document_mismatch')
  }
  return boot
}

async function checkEventLog(
  report: ParsedReport,
  quote: AcceptedQuote,
  policy: Policy,
): Promise<EndpointEventLog | null> {
  const { event_log: text, app_compose: appCompose } = report.attestation.evidence
  if (text === undefined) return null
  const log = await verifyEventLog(await parseDstackLog(text), quote)
  const claims = await launchClaims({ log, platforms: policy.workload, appCompose })
  return { log, claims }
}

/** An entry with a domain counts for that host alone (ACI §3.1). */
function checkChannel(evidence: AciEvidence, keyset: Keyset): Bytes {
  const host = evidence.origin.slice('https://'.length).replace(/:\d+$/, '').toLowerCase()
  const listed = keyset.tls_public_keys.some(
    ({ spki_sha256, domain }) =>
      spki_sha256 === evidence.observed_spki_sha256 &&
      (domain === undefined || domain.toLowerCase() === host),
  )
  if (!listed) throw new EvidenceError('channel_not_attested')
  return fromHex(evidence.observed_spki_sha256)
}
