import { toBase64, type Bytes } from '../bytes.ts'
import { Memo } from '../memo.ts'
import { SignedMessage, verifyP384 } from '../signature.ts'
import { rawSignature, signedParts } from '../x509-signed.ts'
import { certificateBody, p384Point, type CertificateBody } from '../x509.ts'

/** A certificate of NVIDIA's device, RIM or OCSP hierarchy: ecdsa-with-SHA384 over a P-384 key. */
export interface NvidiaCertificate extends CertificateBody {
  readonly der: Bytes
  /** Of the DER, hex. */
  readonly sha256: string
  /** Uncompressed point (97 bytes) of an ECDSA P-384 key, or null for any other key. */
  readonly p384: Bytes | null
  readonly isSignedBy: (p384: Bytes | null) => Promise<boolean>
}

const CODE = 'certificate_malformed'
/** Content of the AlgorithmIdentifier ecdsa-with-SHA384, without parameters (RFC 5758 §3.2). */
export const ECDSA_WITH_SHA384 = '06082a8648ce3d040303'

/** Authorities recur in every chain; a certificate is read once. */
const certificates = new Memo<Promise<NvidiaCertificate>>(256)

/** An X.509 v3 certificate in DER. Throws `certificate_malformed`. */
export const parseNvidiaCertificate = async (der: Uint8Array): Promise<NvidiaCertificate> =>
  certificates.get(toBase64(der), () => readCertificate(Uint8Array.from(der)))

async function readCertificate(der: Bytes): Promise<NvidiaCertificate> {
  const { fields, tbs, signature, isAlgorithm } = signedParts(der, 2, CODE)
  const body = certificateBody(der, fields)
  const signed = new SignedMessage(rawSignature(signature, 48, CODE), tbs, verifyP384)
  const fits = isAlgorithm(ECDSA_WITH_SHA384)
  return {
    ...body,
    der,
    sha256: await body.fingerprint(),
    p384: p384Point(body.spki),
    isSignedBy: async (p384) => fits && signed.isSignedBy(p384),
  }
}
