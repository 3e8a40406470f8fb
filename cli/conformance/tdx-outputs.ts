import { toHex } from '@vouchgate/attestation'
import { QV_RESULTS } from './tdx-input.ts'
import { bitsOf, qeVendorId, type SeenQuote } from './tdx-rules.ts'

const MEASUREMENT_TYPE = 'https://tinfoil.sh/predicate/tdx-guest/v2'

/** First and last bit of each group (Intel TDX DCAP library, appendix A.3.4). */
const ATTRIBUTE_GROUPS = {
  tud_debug: [0, 0],
  tud_reserved_nonzero: [1, 7],
  sec_reserved_lower_nonzero: [8, 27],
  sec_sept_ve_disable: [28, 28],
  sec_reserved_bit29: [29, 29],
  sec_pks: [30, 30],
  sec_kl: [31, 31],
  other_reserved_nonzero: [32, 62],
  other_perfmon: [63, 63],
} as const

/**
 * A status that Intel has no result for appears only without TCB evaluation. It is shown as the worst one:
 * nothing that reads this may take it for better than it is.
 */
const qvResultOf = (status: string): string =>
  Object.entries(QV_RESULTS).find(([, known]) => known === status)?.[0] ?? 'OUT_OF_DATE'

export function tdxOutputs(seen: SeenQuote): object {
  const { quote, report, bytes } = seen
  const rtmrs = [report.rtmr0, report.rtmr1, report.rtmr2, report.rtmr3].map(toHex)
  return {
    measurement: { type: MEASUREMENT_TYPE, registers: [toHex(report.mrtd), ...rtmrs] },
    qv_result: qvResultOf(quote.tcb.status),
    tcb_status: quote.tcb.status,
    // Expired collateral is refused, so what is accepted rests on none.
    collateral_expired: false,
    quote_version: quote.quoteVersion,
    tee_type: 'TDX',
    fmspc_hex: quote.fmspc,
    header_fields: {
      // The library reads no other kind of key than ECDSA P-256.
      attestation_key_type: 2,
      qe_vendor_id_hex: qeVendorId(seen),
      user_data_hex: toHex(bytes.subarray(28, 48)),
    },
    body_fields: {
      tee_tcb_svn_hex: toHex(report.teeTcbSvn),
      mrseam_hex: toHex(report.mrSeam),
      mrsignerseam_hex: toHex(report.mrSignerSeam),
      seam_attributes_hex: toHex(report.seamAttributes),
      td_attributes_hex: toHex(report.tdAttributes),
      td_attributes_decoded: decoded(bitsOf(report.tdAttributes)),
      xfam_hex: toHex(report.xfam),
      mrtd_hex: toHex(report.mrtd),
      mrconfigid_hex: toHex(report.mrConfigId),
      mrowner_hex: toHex(report.mrOwner),
      mrownerconfig_hex: toHex(report.mrOwnerConfig),
      rtmrs_hex: rtmrs,
      report_data_hex: toHex(report.reportData),
    },
  }
}

function decoded(attributes: bigint): Record<string, boolean> {
  const groups = Object.entries(ATTRIBUTE_GROUPS).map(([name, [first, last]]) => {
    const group = BigInt.asUintN(last - first + 1, attributes >> BigInt(first))
    return [name, group !== 0n] as const
  })
  return Object.fromEntries(groups)
}
