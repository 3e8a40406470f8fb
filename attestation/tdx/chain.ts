import { equalBytes, type UnixSeconds } from '../bytes.ts'
import { EvidenceError, type EvidenceErrorCode, type Step } from '../errors.ts'
import type { Crl } from '../x509-crl.ts'
import { parsePemChain, type Certificate } from '../x509.ts'
import { isTrusted, type TrustedRoot } from './root.ts'

const ROOT_NAME = 'Intel SGX Root CA'
export const PLATFORM_CA_NAME = 'Intel SGX PCK Platform CA'
export const PROCESSOR_CA_NAME = 'Intel SGX PCK Processor CA'
const PCK_CA_NAMES = [PLATFORM_CA_NAME, PROCESSOR_CA_NAME]
const PCK_NAME = 'Intel SGX PCK Certificate'
const TCB_SIGNING_NAME = 'Intel SGX TCB Signing'

export interface PckChain {
  readonly leaf: Certificate
  readonly intermediate: Certificate
  readonly root: Certificate
}

/** Leaf, PCK CA, root, in this order and nothing else. */
export async function verifyPckChain(
  pem: string,
  trusted: TrustedRoot,
  now: UnixSeconds,
): Promise<PckChain> {
  const [leaf, intermediate, root, ...rest] = parsePemChain(pem)
  if (leaf === undefined || intermediate === undefined || root === undefined || rest.length > 0) {
    throw new EvidenceError('certificate_chain_length')
  }
  const refuse = refusal('pck_chain')
  checkNames([leaf, [PCK_NAME]], [intermediate, PCK_CA_NAMES], refuse)
  checkAuthority(intermediate, 0, refuse)
  await checkLink(leaf, intermediate, now, refuse)
  await checkLink(intermediate, root, now, refuse)
  checkLeaf(leaf, refuse)
  await checkRoot(root, trusted, now, refuse)
  return { leaf, intermediate, root }
}

/**
 * The chain that signs TCB info and QE identity: exactly [TCB Signing, root].
 *
 * The role check is essential: a PCK leaf also chains to the root, and anyone can own one.
 */
export async function verifyTcbSigningChain(
  pem: string,
  trusted: TrustedRoot,
  now: UnixSeconds,
  rootCrl: Crl,
): Promise<Certificate> {
  const [signer, root, ...rest] = parsePemChain(pem)
  const refuse = refusal('tcb_signing_chain')
  if (signer === undefined || root === undefined || rest.length > 0) {
    return refuse('certificate_chain_length')
  }
  checkNames([signer, [TCB_SIGNING_NAME]], [root, [ROOT_NAME]], refuse)
  await checkLink(signer, root, now, refuse)
  checkLeaf(signer, refuse)
  await checkRoot(root, trusted, now, refuse)
  if (rootCrl.revokedSerials.has(signer.serial)) return refuse('certificate_revoked')
  return signer
}

/**
 * The chain that comes along with a PCK CRL: exactly [PCK CA of this name, root]. Good for judging collateral
 * without a quote; with one, the CA of the quote's own chain is the authority.
 */
export async function verifyPckCaChain(
  pem: string,
  name: string,
  trusted: TrustedRoot,
  now: UnixSeconds,
): Promise<{ readonly ca: Certificate; readonly root: Certificate }> {
  const [ca, root, ...rest] = parsePemChain(pem)
  const refuse = refusal('pck_crl_chain')
  if (ca === undefined || root === undefined || rest.length > 0) {
    return refuse('certificate_chain_length')
  }
  checkNames([ca, [name]], [root, [ROOT_NAME]], refuse)
  checkAuthority(ca, 0, refuse)
  await checkLink(ca, root, now, refuse)
  await checkRoot(root, trusted, now, refuse)
  return { ca, root }
}

type Refuse = (code: EvidenceErrorCode) => never

const refusal =
  (step: Step): Refuse =>
  (code) => {
    throw new EvidenceError(code, step)
  }

type Named = readonly [Certificate, readonly string[]]

function checkNames(first: Named, second: Named, refuse: Refuse): void {
  for (const [certificate, names] of [first, second]) {
    if (!names.includes(certificate.commonName ?? '')) refuse('certificate_name_mismatch')
  }
}

async function checkLink(
  subject: Certificate,
  issuer: Certificate,
  now: UnixSeconds,
  refuse: Refuse,
): Promise<void> {
  if (!equalBytes(subject.issuer, issuer.subject)) refuse('certificate_name_mismatch')
  if (!(await subject.isSignedBy(issuer.p256))) refuse('certificate_signature_invalid')
  checkCommon(subject, now, refuse)
}

function checkCommon(certificate: Certificate, now: UnixSeconds, refuse: Refuse): void {
  if (certificate.p256 === null) refuse('certificate_role_invalid')
  if (certificate.unknownCritical) refuse('certificate_critical_extension')
  const valid = certificate.notBefore <= now && now <= certificate.notAfter
  if (!valid) refuse('certificate_not_valid_now')
}

function checkLeaf(leaf: Certificate, refuse: Refuse): void {
  if (leaf.constraints?.ca !== false || !leaf.maySignData) refuse('certificate_role_invalid')
}

/** Without the CA flag check anyone with a leaf certificate could issue further ones. */
function checkAuthority(authority: Certificate, minPathLength: number, refuse: Refuse): void {
  const { constraints, mayCertify } = authority
  const allowed = constraints?.ca === true && mayCertify && constraints.pathLength >= minPathLength
  if (!allowed) refuse('certificate_role_invalid')
}

async function checkRoot(
  root: Certificate,
  trusted: TrustedRoot,
  now: UnixSeconds,
  refuse: Refuse,
): Promise<void> {
  if (!(await isTrusted(root, trusted))) refuse('certificate_root_untrusted')
  if (root.commonName !== ROOT_NAME) refuse('certificate_name_mismatch')
  checkAuthority(root, 1, refuse)
  await checkLink(root, root, now, refuse)
}
