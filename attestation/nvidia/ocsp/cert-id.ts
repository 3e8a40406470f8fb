import { fromHex, ownBuffer, type Bytes } from '../../bytes.ts'
import { DER, derContent, derElements, derEncode } from '../../der.ts'
import { Memo } from '../../memo.ts'
import type { NvidiaCertificate } from '../certificate.ts'
import type { Issued } from '../chain.ts'

interface Hash {
  readonly name: 'SHA-1' | 'SHA-256' | 'SHA-384'
  /** The OBJECT IDENTIFIER as DER. */
  readonly oid: Bytes
}

const SHA384: Hash = { name: 'SHA-384', oid: fromHex('0609608648016503040202') }
/** SHA-1 too: the hashes only name a certificate, the signature and its issuer prove the answer. */
const HASHES: readonly Hash[] = [
  SHA384,
  { name: 'SHA-256', oid: fromHex('0609608648016503040201') },
  { name: 'SHA-1', oid: fromHex('06052b0e03021a') },
]
const NULL = derEncode(DER.null)

/** What asks for a certificate: CertID with SHA-384 (RFC 6960 §4.1.1). */
export const certId = (pair: Issued): Promise<Bytes> => encode(pair, SHA384, NULL)

/** Every response of a set is compared with every certificate of a set of chains. */
const known = new Memo<Promise<Bytes[]>>(256)

/** Every way to write the CertID of a certificate: three hashes, their parameters NULL or absent. */
export const certIds = async (pair: Issued): Promise<Bytes[]> =>
  known.get(`${pair.issuer.sha256} ${pair.subject.serial}`, () =>
    Promise.all(
      HASHES.flatMap((hash) => [encode(pair, hash, NULL), encode(pair, hash, new Uint8Array(0))]),
    ),
  )

async function encode(
  { subject, issuer }: Issued,
  { name, oid }: Hash,
  parameters: Uint8Array,
): Promise<Bytes> {
  const hashed = async (bytes: Uint8Array): Promise<Bytes> =>
    derEncode(DER.octetString, new Uint8Array(await crypto.subtle.digest(name, ownBuffer(bytes))))
  return derEncode(
    DER.sequence,
    derEncode(DER.sequence, oid, parameters),
    await hashed(issuer.subject),
    await hashed(keyBits(issuer)),
    serialInteger(subject),
  )
}

/** Serial numbers are positive (RFC 5280 §4.1.2.2), so that a set high bit needs a zero byte in front. */
function serialInteger({ serial }: NvidiaCertificate): Bytes {
  const magnitude = fromHex(serial)
  return derEncode(DER.integer, fromHex((magnitude[0] ?? 0) >= 0x80 ? '00' : ''), magnitude)
}

/** Content of the subjectPublicKey BIT STRING without its count of unused bits: what key hashes are made of. */
export function keyBits({ spki }: NvidiaCertificate): Uint8Array {
  const code = 'ocsp_malformed'
  const [info] = derElements(spki, code)
  const [, key] = derElements(derContent(info, DER.sequence, code), code)
  return derContent(key, DER.bitString, code).subarray(1)
}
