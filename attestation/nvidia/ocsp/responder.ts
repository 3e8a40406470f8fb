import { equalBytes, ownBuffer, type UnixSeconds } from '../../bytes.ts'
import { DER, derContent, derElements, derOid } from '../../der.ts'
import { EvidenceError } from '../../errors.ts'
import type { NvidiaCertificate } from '../certificate.ts'
import { keyBits } from './cert-id.ts'
import type { OcspResponse } from './response.ts'

const OID = {
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  ocspSigning: '1.3.6.1.5.5.7.3.9',
} as const
const KNOWN_CRITICAL: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.basicConstraints,
  OID.extendedKeyUsage,
])

/**
 * Who signed a response about a certificate of `issuer`: the issuer itself, or a responder that it issued for this
 * (RFC 6960 §4.2.2.2). Whether the responder is revoked is not asked: those of NVIDIA say `nocheck`.
 *
 * @throws EvidenceError `ocsp_responder_*`, `certificate_critical_extension`.
 */
export async function verifyResponder(
  response: OcspResponse,
  issuer: NvidiaCertificate,
  now: UnixSeconds,
): Promise<NvidiaCertificate> {
  const responder = await namedResponder(response, issuer)
  if (responder.sha256 !== issuer.sha256) await checkDelegation(responder, issuer)
  const { notBefore, notAfter } = responder
  const valid = [response.producedAt, now].every((at) => notBefore <= at && at <= notAfter)
  if (!valid) throw new EvidenceError('ocsp_responder_not_valid')
  return responder
}

async function namedResponder(
  { responder, certificates }: OcspResponse,
  issuer: NvidiaCertificate,
): Promise<NvidiaCertificate> {
  for (const certificate of [issuer, ...certificates]) {
    const named =
      'name' in responder
        ? equalBytes(responder.name, certificate.subject)
        : equalBytes(responder.keySha1, await keySha1(certificate))
    if (named) return certificate
  }
  throw new EvidenceError('ocsp_responder_unknown')
}

const keySha1 = async (certificate: NvidiaCertificate): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-1', ownBuffer(keyBits(certificate))))

/**
 * Without the key check anyone could answer; without the usage check every device and every signer of reference
 * values could answer for its siblings. NVIDIA marks neither usage as critical everywhere.
 */
async function checkDelegation(
  responder: NvidiaCertificate,
  issuer: NvidiaCertificate,
): Promise<void> {
  const issued =
    equalBytes(responder.issuer, issuer.subject) && (await responder.isSignedBy(issuer.p384))
  if (!issued) throw new EvidenceError('ocsp_responder_untrusted')
  const maySign = responder.extension(OID.keyUsage) === null || responder.maySignData
  if (!maySign || !usages(responder).includes(OID.ocspSigning)) {
    throw new EvidenceError('ocsp_responder_role_invalid')
  }
  if ([...responder.critical].some((oid) => !KNOWN_CRITICAL.has(oid))) {
    throw new EvidenceError('certificate_critical_extension', 'gpu_revocation')
  }
}

/** The OIDs of extendedKeyUsage; none where there is no such extension. */
function usages(responder: NvidiaCertificate): string[] {
  const value = responder.extension(OID.extendedKeyUsage)
  if (value === null) return []
  const code = 'ocsp_malformed'
  const [list] = derElements(value, code)
  return derElements(derContent(list, DER.sequence, code), code).map((usage) =>
    derOid(derContent(usage, DER.oid, code), code),
  )
}
