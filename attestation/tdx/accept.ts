import { isZero, toHex, type Bytes } from '../bytes.ts'
import { PolicyError, type PolicyErrorCode } from '../errors.ts'
import type { Policy } from '../policy.ts'
import type { TdReport } from './body.ts'
import { AcceptedQuote, GenuineQuote } from './verdict.ts'
import { checkWorkload } from './workload.ts'

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
  checkListed('platform_not_expected', quote.fmspc, policy.platform.fmspc)
  checkListed('platform_not_expected', quote.ppid, policy.platform.ppid)
  if (quote.debug && policy.tee.debug === 'reject') {
    throw new PolicyError('debug_enabled', 'debug', 'production')
  }
  if (quote.body.tee === 'tdx') {
    checkModule(quote.body.report, policy.platform)
    checkTd(quote.body.report, policy.tee)
  }
  const reportData = policy.report_data
  checkListed('report_data_not_expected', toHex(quote.reportData), listed(reportData))
  const workload = checkWorkload(quote, policy.workload, configDigest)
  return new AcceptedQuote(quote, workload)
}

const listed = (value: string): 'any' | readonly string[] => (value === 'any' ? 'any' : [value])

/** An empty list would mean "nothing is allowed"; the policy's own shape rules it out. */
function checkListed(code: PolicyErrorCode, seen: string, wanted: 'any' | readonly string[]): void {
  if (wanted !== 'any' && !wanted.includes(seen)) {
    throw new PolicyError(code, seen, wanted.join(', '))
  }
}

function checkTcb(quote: GenuineQuote, policy: Policy['tcb']): void {
  const { tcb } = quote
  if (tcb.tcbInfoVersion === 2 && policy.retired_tcb_info === 'reject') {
    throw new PolicyError('tcb_info_retired', '2', '3')
  }
  const minimum = policy.min_evaluation_data_number
  if (minimum !== 'any' && tcb.evaluationDataNumber < minimum) {
    const seen = String(tcb.evaluationDataNumber)
    throw new PolicyError('tcb_evaluation_too_old', seen, `at least ${minimum}`)
  }
  const accepted: readonly string[] = policy.accept
  if (!accepted.includes(tcb.status) && !inGrace(quote, policy)) {
    throw new PolicyError('tcb_status_not_accepted', tcb.status, accepted.join(', '))
  }
  if (tcb.status !== 'UpToDate') checkAdvisories(tcb.advisoryIds, policy.tolerated_advisories)
}

/** A platform needs some time to be updated after Intel has published a new baseline. */
const inGrace = ({ tcb, verifiedAt }: GenuineQuote, policy: Policy['tcb']): boolean =>
  tcb.status === 'OutOfDate' && verifiedAt < tcb.baselineDate + policy.out_of_date_grace_seconds

function checkAdvisories(
  seen: readonly string[],
  tolerated: Policy['tcb']['tolerated_advisories'],
): void {
  if (tolerated === 'any') return
  const others = seen.filter((id) => !tolerated.includes(id))
  if (others.length > 0) {
    throw new PolicyError('advisory_not_tolerated', others.join(', '), tolerated.join(', '))
  }
}

function checkModule(report: TdReport, policy: Policy['platform']): void {
  checkListed('seam_not_expected', toHex(report.mrSeam), policy.mrseam)
  checkListed('seam_not_expected', toHex(report.mrSignerSeam), policy.mrsignerseam)
  const minimum = policy.min_tee_tcb_svn
  if (minimum === 'any') return
  const enough = report.teeTcbSvn.every(
    (svn, index) => svn >= Number.parseInt(minimum.slice(2 * index, 2 * index + 2), 16),
  )
  if (!enough) {
    throw new PolicyError('tee_tcb_svn_too_low', toHex(report.teeTcbSvn), `at least ${minimum}`)
  }
}

const bits = (bytes: Bytes): bigint => new DataView(bytes.buffer).getBigUint64(0, true)

function checkTd(report: TdReport, policy: Policy['tee']): void {
  checkAttributes(bits(report.tdAttributes), toHex(report.tdAttributes), policy)
  checkMasked('attributes_not_expected', report.tdAttributes, policy.attributes)
  const xfam = bits(report.xfam)
  const xfamKnown = (xfam & REQUIRED_XFAM) === REQUIRED_XFAM && (xfam & ~KNOWN_XFAM) === 0n
  if (!xfamKnown && policy.unknown_xfam === 'reject') {
    throw new PolicyError('xfam_unknown', toHex(report.xfam), 'known XFAM bits only')
  }
  checkMasked('xfam_not_expected', report.xfam, policy.xfam)
  const { mrServiceTd } = report
  if (mrServiceTd !== null && !isZero(mrServiceTd) && policy.service_td === 'reject') {
    throw new PolicyError('service_td_present', toHex(mrServiceTd), 'no service TD')
  }
}

function checkMasked(
  code: PolicyErrorCode,
  seen: Bytes,
  wanted: Policy['tee']['attributes'],
): void {
  if (wanted === 'any') return
  const [value, mask] = [BigInt(`0x${wanted.value}`), BigInt(`0x${wanted.mask}`)]
  // Both are written in the byte order of the quote, so they are read in that order here.
  if ((BigInt(`0x${toHex(seen)}`) & mask) !== (value & mask)) {
    throw new PolicyError(code, toHex(seen), `${wanted.value} under ${wanted.mask}`)
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
