import { equalBytes, type UnixSeconds } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { Crl } from '../x509-crl.ts'
import type { Certificate } from '../x509.ts'
import type { PckChain } from './chain.ts'

/**
 * Authenticates a CRL with the key of a certificate that the quote's own chain proved. A chain that comes
 * along with the CRL is no authority: a look-alike CA could hide a revocation.
 */
export async function verifyCrl(crl: Crl, issuer: Certificate, now: UnixSeconds): Promise<void> {
  const named =
    equalBytes(crl.issuer, issuer.subject) &&
    (crl.authorityKeyId === null || crl.authorityKeyId === issuer.subjectKeyId)
  if (!named) throw new EvidenceError('crl_issuer_mismatch')
  if (!(await crl.isSignedBy(issuer.p256))) throw new EvidenceError('crl_signature_invalid')
  // A critical extension marks a delta or indirect CRL, whose silence does not mean "not revoked".
  if (crl.unknownCritical) throw new EvidenceError('crl_extension_unsupported')
  const fresh = crl.thisUpdate <= now && crl.nextUpdate !== null && now <= crl.nextUpdate
  if (!fresh) throw new EvidenceError('crl_not_valid_now')
}

export function checkNotRevoked(chain: PckChain, rootCrl: Crl, pckCrl: Crl): void {
  const revoked =
    rootCrl.revokedSerials.has(chain.intermediate.serial) ||
    pckCrl.revokedSerials.has(chain.leaf.serial)
  if (revoked) throw new EvidenceError('certificate_revoked')
}
