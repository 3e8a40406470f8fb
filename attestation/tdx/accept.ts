import { isZero, toHex, type Bytes } from '../bytes.ts'
import { PolicyError } from '../errors.ts'
import type { Policy, WorkloadRow } from '../policy.ts'
import type { TdReport } from './body.ts'
import { AcceptedQuote, GenuineQuote } from './verdict.ts'

const SEPT_VE_DISABLE = 1n << 28n
const MIGRATABLE = 1n << 29n
/** ICSSD 16, LASS 27, PKS 30, KL 31, TPA 62, PERFMON 63; DEBUG and the two above have rules of their own. */
const KNOWN_ATTRIBUTES =
  1n | (1n << 16n) | (1n << 27n) | SEPT_VE_DISABLE | MIGRATABLE | (3n << 30n) | (3n << 62n)
/** x87 and SSE, without which no TD runs. */
const REQUIRED_XFAM = 0x3n
const KNOWN_XFAM = 0x6dbe7n

/**
 * Decides whether a genuine quote is a wanted one (tdx.md §4 step 11).
 *
 * @param configDigest the configuration digest that the quote binds, where a caller has proven one.
 * @throws PolicyError naming the rule, what was seen and what would have passed.
 */
export function acceptQuote(
  quote: GenuineQuote,
  policy: Policy,
  configDigest: string | null = null,
): AcceptedQuote {
  if (!GenuineQuote.is(quote)) throw new TypeError('not a GenuineQuote')
  checkTcb(quote, policy.tcb)
  if (quote.debug && policy.tee.debug === 'reject') {
    throw new PolicyError('debug_enabled', 'debug', 'production')
  }
  if (quote.body.tee === 'tdx') checkTd(quote.body.report, policy.tee)
  const workload = checkWorkload(quote, policy.workload, configDigest)
  const { root, quoteVersion, body, tcb, fmspc, ppid, expiresAt } = quote
  return new AcceptedQuote({ root, quoteVersion, body, tcb, fmspc, ppid, expiresAt }, workload)
}

function checkTcb({ tcb }: GenuineQuote, policy: Policy['tcb']): void {
  const accepted: readonly string[] = policy.accept
  if (!accepted.includes(tcb.status)) {
    throw new PolicyError('tcb_status_not_accepted', tcb.status, accepted.join(', '))
  }
  const minimum = policy.min_evaluation_data_number
  if (minimum !== 'any' && tcb.evaluationDataNumber < minimum) {
    throw new PolicyError(
      'tcb_evaluation_too_old',
      String(tcb.evaluationDataNumber),
      `at least ${minimum}`,
    )
  }
}

const bits = (bytes: Bytes): bigint => new DataView(bytes.buffer).getBigUint64(0, true)

function checkTd(report: TdReport, policy: Policy['tee']): void {
  checkAttributes(bits(report.tdAttributes), toHex(report.tdAttributes), policy)
  const xfam = bits(report.xfam)
  const xfamKnown = (xfam & REQUIRED_XFAM) === REQUIRED_XFAM && (xfam & ~KNOWN_XFAM) === 0n
  if (!xfamKnown && policy.unknown_xfam === 'reject') {
    throw new PolicyError('xfam_unknown', toHex(report.xfam), 'known XFAM bits only')
  }
  const { mrServiceTd } = report
  if (mrServiceTd !== null && !isZero(mrServiceTd) && policy.service_td === 'reject') {
    throw new PolicyError('service_td_present', toHex(mrServiceTd), 'no service TD')
  }
}

function checkAttributes(attributes: bigint, seen: string, policy: Policy['tee']): void {
  if ((attributes & ~KNOWN_ATTRIBUTES) !== 0n && policy.unknown_attributes === 'reject') {
    throw new PolicyError('attributes_unknown', seen, 'known attribute bits only')
  }
  if ((attributes & SEPT_VE_DISABLE) === 0n && policy.sept_ve_disable === 'require') {
    throw new PolicyError('sept_ve_not_disabled', seen, 'bit 28 set')
  }
  if ((attributes & MIGRATABLE) !== 0n && policy.migratable === 'reject') {
    throw new PolicyError('migratable', seen, 'bit 29 clear')
  }
}

function checkWorkload(
  quote: GenuineQuote,
  workload: Policy['workload'],
  configDigest: string | null,
): 'pinned' | 'any' {
  if (workload === 'any') return 'any'
  const seen = workloadRow(quote, configDigest)
  if (seen === null || !workload.some((row) => rowMatches(row, seen))) {
    const shown = seen === null ? 'an SGX enclave' : `mrtd ${seen.mrtd}`
    throw new PolicyError('workload_not_expected', shown, `one of ${workload.length} rows`)
  }
  return 'pinned'
}

/** The row of a policy's `workload` that expects exactly what this quote shows; null for SGX. */
export function workloadRow(quote: GenuineQuote, configDigest: string | null): WorkloadRow | null {
  if (quote.body.tee !== 'tdx') return null
  const { report } = quote.body
  return {
    mrtd: toHex(report.mrtd),
    rtmr0: toHex(report.rtmr0),
    rtmr1: toHex(report.rtmr1),
    rtmr2: toHex(report.rtmr2),
    rtmr3: toHex(report.rtmr3),
    mr_config_id: toHex(report.mrConfigId),
    config_digest: configDigest ?? 'any',
  }
}

const ROW_MEMBERS = [
  'mrtd',
  'rtmr0',
  'rtmr1',
  'rtmr2',
  'rtmr3',
  'mr_config_id',
  'config_digest',
] as const

/** An expected digest where none was proven is a mismatch: `seen` then holds `any`, which no pin equals. */
const rowMatches = (row: WorkloadRow, seen: WorkloadRow): boolean =>
  ROW_MEMBERS.every((member) => row[member] === 'any' || row[member] === seen[member])
