import { toHex, type Bytes, type GenuineQuote, type TdReport } from '@vouchgate/attestation'
import type { TdxPins } from './tdx-input.ts'

/** A genuine TDX quote, with its bytes for the header fields that need no judging. */
export interface SeenQuote {
  readonly quote: GenuineQuote
  readonly report: TdReport
  readonly bytes: Uint8Array
}

export const bitsOf = (bytes: Bytes): bigint => new DataView(bytes.buffer).getBigUint64(0, true)

const DEBUG = 1n
/** DEBUG, SEPT_VE_DISABLE, PKS and PERFMON: the only attributes a TD may have (clause 4.8.2). */
const ATTRIBUTES_FIXED0 = 1n | (1n << 28n) | (1n << 30n) | (1n << 63n)
/** x87 and SSE, which every TD has, and what it may have at all (clause 4.8.1). */
const XFAM_FIXED1 = 0x3n
const XFAM_FIXED0 = 0x6dbe7n

/**
 * The contract's normative checks. They hold whether or not `enforce_spec_defaults` asks for them, and also
 * without TCB evaluation: a TD that can be debugged proves nothing, whatever a document says.
 */
const SPEC_RULES: readonly (readonly [string, (seen: SeenQuote) => boolean])[] = [
  ['TCB_REVOKED', ({ quote }) => quote.tcb.status !== 'Revoked'],
  ['TD_ATTRIBUTES_DEBUG_SET', ({ report }) => (bitsOf(report.tdAttributes) & DEBUG) === 0n],
  [
    'TD_ATTRIBUTES_RESERVED_BIT_SET',
    ({ report }) => (bitsOf(report.tdAttributes) & ~ATTRIBUTES_FIXED0) === 0n,
  ],
  ['XFAM_REQUIRED_BIT_CLEAR', ({ report }) => (bitsOf(report.xfam) & XFAM_FIXED1) === XFAM_FIXED1],
  ['XFAM_FORBIDDEN_BIT_SET', ({ report }) => (bitsOf(report.xfam) & ~XFAM_FIXED0) === 0n],
]

export const qeVendorId = ({ bytes }: SeenQuote): string => toHex(bytes.subarray(12, 28))

/** Exact pins: where a document has the member, the quote must have the value. */
const PINS: readonly (readonly [string, keyof TdxPins, (seen: SeenQuote) => string])[] = [
  ['PCK_FMSPC_MISMATCH', 'expected_fmspc_hex', ({ quote }) => quote.fmspc],
  ['QE_VENDOR_ID_MISMATCH', 'expected_qe_vendor_id_hex', qeVendorId],
  pinned('TD_ATTRIBUTES_MISMATCH', 'expected_td_attributes_hex', 'tdAttributes'),
  pinned('XFAM_MISMATCH', 'expected_xfam_hex', 'xfam'),
  pinned('MR_SIGNER_SEAM_MISMATCH', 'expected_mr_signer_seam_hex', 'mrSignerSeam'),
  pinned('SEAM_ATTRIBUTES_MISMATCH', 'expected_seam_attributes_hex', 'seamAttributes'),
  pinned('MRTD_MISMATCH', 'expected_mrtd_hex', 'mrtd'),
  pinned('MR_CONFIG_ID_MISMATCH', 'expected_mr_config_id_hex', 'mrConfigId'),
  pinned('MR_OWNER_MISMATCH', 'expected_mr_owner_hex', 'mrOwner'),
  pinned('MR_OWNER_CONFIG_MISMATCH', 'expected_mr_owner_config_hex', 'mrOwnerConfig'),
  pinned('RTMR3_NONZERO', 'expected_rtmr3_hex', 'rtmr3'),
  pinned('REPORT_DATA_MISMATCH', 'expected_report_data_hex', 'reportData'),
]

type ReportField = Exclude<keyof TdReport, 'teeTcbSvn2' | 'mrServiceTd'>

function pinned(
  code: string,
  member: keyof TdxPins,
  field: ReportField,
): readonly [string, keyof TdxPins, (seen: SeenQuote) => string] {
  return [code, member, (seen) => toHex(seen.report[field])]
}

/** The contract's code of the first normative check that does not hold; null where all do. */
export const brokenSpecRule = (seen: SeenQuote): string | null =>
  SPEC_RULES.find(([, holds]) => !holds(seen))?.[0] ?? null

/**
 * The contract's code of the first pin that the quote does not meet; null where it meets all. They are
 * compared here and not by `acceptQuote`, because the contract wants each under a code of its own, and also
 * of quotes whose TCB status no policy of ours can accept.
 */
export function brokenPin(pins: TdxPins, seen: SeenQuote): string | null {
  const mismatch = PINS.find(([, member, value]) => {
    const wanted = pins[member]
    return wanted !== undefined && wanted !== value(seen)
  })
  if (mismatch !== undefined) return mismatch[0]
  const { expected_mrseam_allowlist: allowed, min_tee_tcb_svn_hex: minimum } = pins
  const { mrSeam, teeTcbSvn } = seen.report
  if (allowed !== undefined && !allowed.includes(toHex(mrSeam))) return 'MR_SEAM_NOT_ALLOWED'
  if (minimum !== undefined && !reaches(teeTcbSvn, minimum)) return 'TEE_TCB_SVN_BELOW_MINIMUM'
  return null
}

/** Each byte is a component of its own. */
const reaches = (svns: Bytes, minimum: string): boolean =>
  svns.every((svn, index) => svn >= Number.parseInt(minimum.slice(2 * index, 2 * index + 2), 16))
