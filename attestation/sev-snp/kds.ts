import { toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { decodeTcb, productOfCpuid } from './product.ts'
import { parseSnpReport } from './report.ts'

/** Where AMD's key distribution service has what a report's signature chains to: paths with queries. */
export interface KdsRoutes {
  /** DER of the VCEK. */
  readonly leaf: string
  /** PEM of ASK and ARK. */
  readonly chain: string
  /** DER of the ARK's CRL. */
  readonly crl: string
}

/** Of a Turin's chip id only so many bytes are one. */
const TURIN_ID = 8

/**
 * The routes for a report that a VCEK signed; nothing of it is verified (AMD 57230, section 3).
 *
 * @throws EvidenceError `snp_report_malformed`, `snp_product_unknown`, `snp_tcb_mismatch`
 */
export function kdsRoutes(bytes: Bytes): KdsRoutes {
  const report = parseSnpReport(bytes)
  const { cpuid, chipId, reportedTcb } = report
  const product = cpuid === null ? null : productOfCpuid(cpuid.family, cpuid.model)
  if (product === null || report.signingKey !== 'vcek') {
    throw new EvidenceError('snp_product_unknown')
  }
  const tcb = decodeTcb(reportedTcb, product)
  if (tcb === null) throw new EvidenceError('snp_tcb_mismatch')
  const id = toHex(product === 'Turin' ? chipId.subarray(0, TURIN_ID) : chipId)
  const levels = [
    ['blSPL', tcb.bootloader],
    ['teeSPL', tcb.tee],
    ['snpSPL', tcb.snp],
    ['ucodeSPL', tcb.microcode],
    ...(tcb.fmc === null ? [] : [['fmcSPL', tcb.fmc]]),
  ]
  const query = levels.map(([name, level]) => `${name}=${level}`).join('&')
  const root = `/vcek/v1/${product}`
  return { leaf: `${root}/${id}?${query}`, chain: `${root}/cert_chain`, crl: `${root}/crl` }
}
