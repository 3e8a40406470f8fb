import { equalBytes, type UnixSeconds } from '../bytes.ts'
import { EvidenceError, type EvidenceErrorCode } from '../errors.ts'
import { pemBlocks } from '../x509.ts'
import {
  parseAmdCertificate,
  parseAmdCrl,
  type AmdCertificate,
  type AmdCrl,
} from './certificate.ts'
import type { SnpProduct } from './product.ts'
import { pinnedProduct, type SnpRoots } from './root.ts'

export interface SnpChain {
  readonly product: SnpProduct
  /** VCEK: one chip's key. VLEK: a key that AMD lent to a cloud operator. */
  readonly kind: 'vcek' | 'vlek'
  readonly leaf: AmdCertificate
  /** ASK for a VCEK, ASVK for a VLEK. */
  readonly signer: AmdCertificate
  readonly root: AmdCertificate
}

/**
 * Leaf, then ASK or ASVK, then the pinned ARK of a product.
 *
 * @param leaf DER of the VCEK or VLEK. Its serial number may be 0.
 * @param pem ASK or ASVK and ARK, in this order and nothing else, as AMD's `cert_chain` gives them.
 */
export async function verifySnpChain(
  leaf: Uint8Array,
  pem: string,
  roots: SnpRoots,
  now: UnixSeconds,
): Promise<SnpChain> {
  const [signerDer, rootDer, ...rest] = pemBlocks(pem)
  if (signerDer === undefined || rootDer === undefined || rest.length > 0) {
    return refuse('certificate_chain_length')
  }
  const root = readCertificate(rootDer)
  const product = await pinnedProduct(root, roots)
  checkValidity(root, now)
  const signer = readCertificate(signerDer)
  await checkLink(signer, root, now)
  checkAuthority(signer)
  const endorsement = readCertificate(leaf)
  await checkLink(endorsement, signer, now)
  return { product, kind: leafKind(endorsement, signer, product), leaf: endorsement, signer, root }
}

function refuse(code: EvidenceErrorCode): never {
  throw new EvidenceError(code, 'snp_chain')
}

/** The codes are shared with other chains; the step says which chain it was. */
function readCertificate(der: Uint8Array): AmdCertificate {
  try {
    return parseAmdCertificate(der)
  } catch (error) {
    throw error instanceof EvidenceError ? new EvidenceError(error.code, 'snp_chain') : error
  }
}

async function checkLink(
  subject: AmdCertificate,
  issuer: AmdCertificate,
  now: UnixSeconds,
): Promise<void> {
  if (!equalBytes(subject.issuer, issuer.subject)) refuse('certificate_name_mismatch')
  if (!(await subject.isSignedBy(issuer.rsa))) refuse('certificate_signature_invalid')
  if (subject.unknownCritical) refuse('certificate_critical_extension')
  checkValidity(subject, now)
}

function checkValidity({ notBefore, notAfter }: AmdCertificate, now: UnixSeconds): void {
  if (now < notBefore || notAfter < now) refuse('certificate_not_valid_now')
}

const KEY_USAGE = '2.5.29.15'

/** Without the CA flag check the owner of any certificate under the ARK could endorse chips of their own. */
function checkAuthority({ constraints, mayCertify, extension }: AmdCertificate): void {
  const certifies = mayCertify || extension(KEY_USAGE) === null
  if (constraints?.ca !== true || !certifies) refuse('certificate_role_invalid')
}

/** An ASK endorses VCEKs and an ASVK endorses VLEKs; the names are what tells them apart. */
function leafKind(
  leaf: AmdCertificate,
  signer: AmdCertificate,
  product: SnpProduct,
): 'vcek' | 'vlek' {
  if (leaf.p384 === null || leaf.constraints?.ca === true) refuse('certificate_role_invalid')
  const names = [signer.commonName, leaf.commonName].join()
  if (names === `SEV-${product},SEV-VCEK`) return 'vcek'
  if (names === `SEV-VLEK-${product},SEV-VLEK`) return 'vlek'
  return refuse('certificate_name_mismatch')
}

/**
 * The ARK's CRL, which revokes ASKs and ASVKs: leaf certificates all have serial 0 and cannot be revoked
 * one by one.
 */
export async function verifySnpRevocation(
  der: Uint8Array,
  { root, signer }: SnpChain,
  now: UnixSeconds,
): Promise<AmdCrl> {
  const crl = parseAmdCrl(der)
  const named =
    equalBytes(crl.issuer, root.subject) &&
    (crl.authorityKeyId === null || crl.authorityKeyId === root.subjectKeyId)
  if (!named) throw new EvidenceError('crl_issuer_mismatch')
  if (!(await crl.isSignedBy(root.rsa))) throw new EvidenceError('crl_signature_invalid')
  // A critical extension marks a delta or indirect CRL, whose silence does not mean "not revoked".
  if (crl.unknownCritical) throw new EvidenceError('crl_extension_unsupported')
  const fresh = crl.thisUpdate <= now && crl.nextUpdate !== null && now <= crl.nextUpdate
  if (!fresh) throw new EvidenceError('crl_not_valid_now')
  if (crl.revokedSerials.has(signer.serial)) throw new EvidenceError('certificate_revoked', 'crl')
  return crl
}
