import { equalBytes, fromHex, ownBuffer, type Bytes } from '../bytes.ts'
import { crlBody, type CrlBody } from '../x509-crl.ts'
import { signedParts, type SignedParts } from '../x509-signed.ts'
import { certificateBody, p384Point, type CertificateBody } from '../x509.ts'

/** A certificate of AMD's: signed with RSASSA-PSS, over an RSA-4096 (ARK, ASK) or P-384 (VCEK, VLEK) key. */
export interface AmdCertificate extends CertificateBody {
  /** DER SubjectPublicKeyInfo of an RSA-4096 key, or null. */
  readonly rsa: Bytes | null
  /** Uncompressed point of an ECDSA P-384 key, or null. */
  readonly p384: Bytes | null
  readonly isSignedBy: (rsa: Bytes | null) => Promise<boolean>
}

export interface AmdCrl extends CrlBody {
  readonly isSignedBy: (rsa: Bytes | null) => Promise<boolean>
}

/**
 * RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes (RFC 4055 §3.1), without and with the
 * default trailer field spelled out: AMD has issued both.
 */
const PSS_SHA384 =
  '06092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130'
const PSS_SHA384_TRAILER =
  '06092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101'
const PSS = { name: 'RSA-PSS', saltLength: 48 } as const
const RSA_PSS_SHA384 = { name: 'RSA-PSS', hash: 'SHA-384' } as const

const RSA4096_PREFIX = fromHex('30820222300d06092a864886f70d01010105000382020f003082020a0282020100')
/** Modulus and an exponent of three bytes. */
const RSA4096_LENGTH = RSA4096_PREFIX.length + 512 + 5

/** An X.509 certificate in DER. Throws `certificate_malformed`. */
export function parseAmdCertificate(der: Uint8Array): AmdCertificate {
  const parts = signedParts(der, 2, 'certificate_malformed')
  const body = certificateBody(der, parts.fields)
  return {
    ...body,
    rsa: isRsa4096(body.spki) ? body.spki : null,
    p384: p384Point(body.spki),
    isSignedBy: signatureCheck(parts),
  }
}

/** A CRL in DER. Throws `crl_malformed`. */
export function parseAmdCrl(der: Uint8Array): AmdCrl {
  const parts = signedParts(der, 1, 'crl_malformed')
  return { ...crlBody(parts.fields), isSignedBy: signatureCheck(parts) }
}

const signatureCheck =
  ({ tbs, signature, isAlgorithm }: SignedParts) =>
  async (rsa: Bytes | null): Promise<boolean> => {
    const pss = isAlgorithm(PSS_SHA384) || isAlgorithm(PSS_SHA384_TRAILER)
    if (!pss || rsa === null || signature[0] !== 0) return false
    const key = await crypto.subtle.importKey('spki', rsa, RSA_PSS_SHA384, false, ['verify'])
    return crypto.subtle.verify(PSS, key, ownBuffer(signature.subarray(1)), ownBuffer(tbs))
  }

const isRsa4096 = (spki: Bytes): boolean =>
  spki.length === RSA4096_LENGTH &&
  equalBytes(spki.subarray(0, RSA4096_PREFIX.length), RSA4096_PREFIX)
