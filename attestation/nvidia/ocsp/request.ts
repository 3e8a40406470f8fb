import type { Bytes } from '../../bytes.ts'
import { DER, derEncode } from '../../der.ts'
import type { Issued } from '../chain.ts'
import { certId } from './cert-id.ts'

export interface OcspRequestInput extends Issued {
  /** 32 fresh random bytes, or null to ask for an answer that anyone can be given. */
  readonly nonce: Bytes | null
}

/** id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2 */
const NONCE_OID = Uint8Array.of(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02)
/** The longest that responders accept (RFC 8954 §2.1). */
const NONCE_LENGTH = 32

/** Value of the nonce extension: an OCTET STRING in the extension's own (RFC 8954 §2.1). */
export const nonceValue = (nonce: Uint8Array): Bytes => derEncode(DER.octetString, nonce)

/**
 * An OCSPRequest for one certificate (RFC 6960 §4.1), in DER: SHA-384 CertID, unsigned, the nonce not critical.
 * A nonce of another length than 32 bytes is a `TypeError`.
 */
export async function ocspRequest(input: OcspRequestInput): Promise<Bytes> {
  const { nonce } = input
  if (nonce !== null && nonce.length !== NONCE_LENGTH) throw new TypeError('a nonce has 32 bytes')
  const requests = derEncode(DER.sequence, derEncode(DER.sequence, await certId(input)))
  const extensions = nonce === null ? [] : [derEncode(DER.context2, extension(nonce))]
  return derEncode(DER.sequence, derEncode(DER.sequence, requests, ...extensions))
}

const extension = (nonce: Uint8Array): Bytes =>
  derEncode(
    DER.sequence,
    derEncode(
      DER.sequence,
      derEncode(DER.oid, NONCE_OID),
      derEncode(DER.octetString, nonceValue(nonce)),
    ),
  )
