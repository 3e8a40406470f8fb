import { equalBytes, fromHex, isZero, sha256, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { EnclaveReport } from './body.ts'
import type { PckChain } from './chain.ts'
import type { QeIdentity } from './collateral.ts'
import { qeBoundBytes, type Quote } from './quote.ts'

const DEBUG = 0x02

/**
 * The quoting enclave signs with a key of its own making; only its report, signed by the platform's PCK
 * key, says that the key belongs to an enclave Intel published. Skipping any part lets anyone who owns one
 * genuine machine run a quoting enclave of their own (CVE-2026-22696).
 */
export async function verifyQeReport(
  quote: Quote,
  chain: PckChain,
  identity: QeIdentity,
): Promise<void> {
  if (!(await quote.qeReportSigned.isSignedBy(chain.leaf.p256))) {
    throw new EvidenceError('qe_report_signature_invalid')
  }
  if (!hasIdentity(quote.qeReport, identity)) throw new EvidenceError('qe_report_mismatch')
  const bound = await sha256(qeBoundBytes(quote))
  const { reportData } = quote.qeReport
  const binds = equalBytes(reportData.subarray(0, 32), bound) && isZero(reportData.subarray(32))
  if (!binds) throw new EvidenceError('qe_key_binding_invalid')
}

function hasIdentity(report: EnclaveReport, identity: QeIdentity): boolean {
  return (
    equalBytes(masked(report.miscSelect, identity.miscselectMask), fromHex(identity.miscselect)) &&
    equalBytes(masked(report.attributes, identity.attributesMask), fromHex(identity.attributes)) &&
    equalBytes(report.mrSigner, fromHex(identity.mrsigner)) &&
    report.isvProdId === identity.isvprodid &&
    ((report.attributes[0] ?? 0) & DEBUG) === 0
  )
}

/** `bytes & mask`; the mask is as long as the bytes. */
export function masked(bytes: Bytes, mask: string): Bytes {
  const maskBytes = fromHex(mask)
  return bytes.map((byte, index) => byte & (maskBytes[index] ?? 0))
}
