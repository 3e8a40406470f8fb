import { equalBytes, type UnixSeconds } from '../bytes.ts'
import { EvidenceError, type EvidenceErrorCode, type Step } from '../errors.ts'
import type { NvidiaCertificate } from './certificate.ts'

/** Leaf first, pinned root last; every certificate is issued by the next one. */
export interface NvidiaChain {
  readonly leaf: NvidiaCertificate
  readonly root: NvidiaCertificate
  /** Everything from the leaf to the root, both included. */
  readonly certificates: readonly NvidiaCertificate[]
}

/** `subject` is issued by `issuer`; the pairs of which a chain consists, without the root's own. */
export interface Issued {
  readonly subject: NvidiaCertificate
  readonly issuer: NvidiaCertificate
}

/**
 * A chain in which every certificate but the root is signed by the next, and the root is the pinned one.
 *
 * Validity in time is a check of its own ({@link checkValidNow}): signers of reference values expire while the
 * values stay in use, and whether that is accepted is a policy.
 *
 * @param rootSha256 SHA-256 of the pinned root's DER, hex.
 * @throws EvidenceError `certificate_*` with the given step.
 */
export async function verifyNvidiaChain(
  certificates: readonly NvidiaCertificate[],
  rootSha256: string,
  step: Step,
): Promise<NvidiaChain> {
  const refuse = refusal(step)
  const leaf = certificates[0]
  const root = certificates.at(-1)
  if (leaf === undefined || root === undefined || certificates.length < 2) {
    return refuse('certificate_chain_length')
  }
  if (root.sha256 !== rootSha256) return refuse('certificate_root_untrusted')
  const links = issuedPairs(certificates)
  for (const [depth, { subject, issuer }] of links.entries()) {
    if (subject.unknownCritical) refuse('certificate_critical_extension')
    if (!equalBytes(subject.issuer, issuer.subject)) refuse('certificate_name_mismatch')
    checkAuthority(issuer, depth, refuse)
  }
  checkLeaf(leaf, refuse)
  const signed = await Promise.all(
    links.map(({ subject, issuer }) => subject.isSignedBy(issuer.p384)),
  )
  if (signed.includes(false)) return refuse('certificate_signature_invalid')
  return { leaf, root, certificates }
}

/** Leaf and its issuer first. */
export const issuedPairs = (certificates: readonly NvidiaCertificate[]): Issued[] =>
  certificates.slice(1).map((issuer, index) => {
    const subject = certificates[index] ?? issuer
    return { subject, issuer }
  })

/** Every certificate is valid at this time, the root included. Throws `certificate_not_valid_now`. */
export function checkValidNow(
  certificates: readonly NvidiaCertificate[],
  now: UnixSeconds,
  step: Step,
): void {
  const valid = certificates.every(({ notBefore, notAfter }) => notBefore <= now && now <= notAfter)
  if (!valid) throw new EvidenceError('certificate_not_valid_now', step)
}

type Refuse = (code: EvidenceErrorCode) => never

const refusal =
  (step: Step): Refuse =>
  (code) => {
    throw new EvidenceError(code, step)
  }

/** Device leaves state no basic constraints at all; a CA's key must not sign reports or reference values. */
function checkLeaf({ constraints, maySignData, p384 }: NvidiaCertificate, refuse: Refuse): void {
  if (constraints?.ca === true || !maySignData || p384 === null) refuse('certificate_role_invalid')
}

/**
 * Without the CA flag check the owner of any device could issue further ones.
 *
 * @param below How many authorities stand between this one and the leaf.
 */
function checkAuthority(
  { constraints, mayCertify }: NvidiaCertificate,
  below: number,
  refuse: Refuse,
): void {
  const allowed = constraints?.ca === true && mayCertify && constraints.pathLength >= below
  if (!allowed) refuse('certificate_role_invalid')
}
