import {
  equalBytes,
  fromBase64,
  ownBuffer,
  sha256,
  toHex,
  type Bytes,
  type UnixSeconds,
} from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import { Memo } from '../../memo.ts'
import { signedParts } from '../../x509-signed.ts'
import { certificateBody, p384Point } from '../../x509.ts'
import type { NrasJwk } from './jwks.ts'

/** Content of the AlgorithmIdentifier sha256WithRSAEncryption (RFC 4055 §5). */
const SHA256_WITH_RSA = '06092a864886f70d01010b0500'
const RSA = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const
const CODE = 'certificate_malformed'

/** What an authority's key certified. */
interface Certified {
  /** x ‖ y */
  readonly key: Bytes
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  /** SHA-256 of the authority's SubjectPublicKeyInfo, hex. */
  readonly authority: string
}

/** One key signs the tokens of hours. Times and pins are judged anew each time. */
const chains = new Memo<Promise<Certified | null>>(64)

/**
 * Whether the key is certified by one of these authorities, which are named by the SHA-256 of their
 * SubjectPublicKeyInfo. Of the authority's certificate nothing but the key is looked at: its own issuer is not
 * delivered, so nothing else in it is proven.
 *
 * @param at When the token was issued: the certificates of keys are valid for two days.
 */
export async function pinOf(
  { x, y, x5c = [] }: NrasJwk,
  at: UnixSeconds,
  authorities: readonly string[],
): Promise<'pinned' | 'unpinned'> {
  const certified = await chains.get(JSON.stringify(x5c), () => readChain(x5c))
  const isPinned =
    certified !== null &&
    equalBytes(certified.key, coordinates(x, y)) &&
    certified.notBefore <= at &&
    at <= certified.notAfter &&
    authorities.includes(certified.authority)
  return isPinned ? 'pinned' : 'unpinned'
}

const coordinates = (x: string, y: string): Bytes =>
  fromBase64(`${x}${y}`.replaceAll('-', '+').replaceAll('_', '/'))

/** Null for anything but a P-384 key's certificate that is signed by the key of the one after it. */
async function readChain(x5c: readonly string[]): Promise<Certified | null> {
  try {
    const [leaf, authority] = x5c.map(readCertificate)
    if (leaf === undefined || authority === undefined) return null
    const key = p384Point(leaf.spki)?.subarray(1)
    if (key === undefined || !(await leaf.isSignedBy(authority.spki))) return null
    const { notBefore, notAfter } = leaf
    return { key, notBefore, notAfter, authority: toHex(await sha256(authority.spki)) }
  } catch (error) {
    if (error instanceof EvidenceError) return null
    throw error
  }
}

function readCertificate(base64: string) {
  const der = fromBase64(base64)
  const { fields, tbs, signature, isAlgorithm } = signedParts(der, 2, CODE)
  return {
    ...certificateBody(der, fields),
    isSignedBy: async (spki: Bytes): Promise<boolean> => {
      if (!isAlgorithm(SHA256_WITH_RSA) || signature[0] !== 0) return false
      const key = await importRsa(spki)
      const [bits, message] = [ownBuffer(signature.subarray(1)), ownBuffer(tbs)]
      return key !== null && crypto.subtle.verify(RSA, key, bits, message)
    },
  }
}

async function importRsa(spki: Bytes): Promise<CryptoKey | null> {
  try {
    return await crypto.subtle.importKey('spki', spki, RSA, false, ['verify'])
  } catch {
    return null
  }
}
