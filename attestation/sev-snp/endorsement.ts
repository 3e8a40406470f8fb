import { equalBytes, isZero, type Bytes } from '../bytes.ts'
import { DER, derContent, derElements, derUnsigned, type DerElement } from '../der.ts'
import { EvidenceError } from '../errors.ts'
import type { AmdCertificate } from './certificate.ts'
import type { SnpChain } from './chain.ts'
import { decodeTcb, productOfCpuid, type SnpTcb, type SnpTcbComponent } from './product.ts'
import type { SnpReport } from './report.ts'

const CODE = 'snp_extension_malformed'
/** AMD KDS specification, table 8. */
const KDS = '1.3.6.1.4.1.3704.1'
const PRODUCT_NAME = `${KDS}.2`
const HWID = `${KDS}.4`
const SPL: readonly (readonly [SnpTcbComponent, string])[] = [
  ['fmc', `${KDS}.3.9`],
  ['bootloader', `${KDS}.3.1`],
  ['tee', `${KDS}.3.2`],
  ['snp', `${KDS}.3.3`],
  ['microcode', `${KDS}.3.8`],
]
const IA5_STRING = 0x16
/** Turin identifies a chip by 8 bytes and pads CHIP_ID with zeros. */
const TURIN_HWID_LENGTH = 8

/**
 * The endorsement key is for this report: same product, same kind of key, same chip, same TCB. Without
 * these, a key of a platform that was patched later, or of another chip, would vouch for this one.
 */
export function checkEndorsement(report: SnpReport, chain: SnpChain): SnpTcb {
  checkProduct(report, chain)
  if (report.signingKey !== chain.kind) throw new EvidenceError('snp_signing_key_mismatch')
  if (chain.kind === 'vcek') checkChip(report, chain)
  return checkTcb(report, chain)
}

/** Version 2 reports name no CPU: there the product is the one whose root signed the certificate. */
function checkProduct({ cpuid }: SnpReport, { leaf, product }: SnpChain): void {
  const endorsed = productName(leaf)
  const reported = cpuid === null ? product : productOfCpuid(cpuid.family, cpuid.model)
  if (reported === null) throw new EvidenceError('snp_product_unknown', 'snp_endorsement')
  if (endorsed !== product || reported !== product) throw new EvidenceError('snp_product_mismatch')
}

/** `Milan` of `Milan-B0`. */
function productName(leaf: AmdCertificate): string {
  const value = extensionValue(leaf, PRODUCT_NAME, IA5_STRING)
  return new TextDecoder().decode(value ?? undefined).replace(/-.*$/, '')
}

function checkChip({ chipId }: SnpReport, { leaf, product }: SnpChain): void {
  const endorsed = leaf.extension(HWID)
  const length = product === 'Turin' ? TURIN_HWID_LENGTH : chipId.length
  const same =
    endorsed !== null &&
    equalBytes(endorsed, chipId.subarray(0, length)) &&
    isZero(chipId.subarray(length))
  if (!same) throw new EvidenceError('snp_chip_mismatch')
}

function checkTcb({ reportedTcb }: SnpReport, { leaf, product }: SnpChain): SnpTcb {
  const reported = decodeTcb(reportedTcb, product)
  const same = SPL.every(([name, oid]) => (reported?.[name] ?? null) === patchLevel(leaf, oid))
  if (reported === null || !same) throw new EvidenceError('snp_tcb_mismatch')
  return reported
}

function patchLevel(leaf: AmdCertificate, oid: string): number | null {
  const value = extensionValue(leaf, oid, DER.integer)
  return value === null ? null : derUnsigned(value, 255, CODE)
}

/** The content of the one element of this tag that an extension holds; null where there is no extension. */
function extensionValue(leaf: AmdCertificate, oid: string, tag: number): Uint8Array | null {
  const value = leaf.extension(oid)
  if (value === null) return null
  const [element, ...rest]: DerElement[] = derElements(value, CODE)
  if (rest.length > 0) throw new EvidenceError(CODE)
  return derContent(element, tag, CODE)
}

/** A TCB that no certificate vouches for, only the signed report. */
export function signedTcb(raw: Bytes, product: SnpChain['product']): SnpTcb {
  const tcb = decodeTcb(raw, product)
  if (tcb === null) throw new EvidenceError('snp_report_malformed')
  return tcb
}
