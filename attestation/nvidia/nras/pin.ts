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
import { p384Point, certificateBody } from '../../x509.ts'
import { signedParts } from '../../x509-signed.ts'
import type { NrasJwk } from './jwks.ts'

/** Content of the AlgorithmIdentifier sha256WithRSAEncryption (RFC 4055 §5). */
const SHA256_WITH_RSA = '06092a864886f70d01010b0500'
const RSA = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const
const CODE = 'certificate_malformed'

/**
 * Whether the key is certified by one of these authorities, which are named by the SHA-256 of their
 * SubjectPublicKeyInfo. Of the authority's certificate nothing but the key is looked at: its own issuer is not
 * delivered, so nothing else in it is proven.
 *
 * @param at When the token was issued: the certificates of keys are valid for two days.
 */
export async function pinOf(
  jwk: NrasJwk,
  at: UnixSeconds,
  authorities: readonly string[],
): Promise<'pinned' | 'unpinned'> {
  try {
    return (await isCertified(jwk, at, authorities)) ? 'pinned' : 'unpinned'
  } catch (error) {
    if (!(error instanceof EvidenceError)) throw error
    return 'unpinned'
  }
}

async function isCertified(
  { x, y, x5c = [] }: NrasJwk,
  at: UnixSeconds,
  authorities: readonly string[],
): Promise<boolean> {
  const [leaf, authority] = await Promise.all(x5c.map(readCertificate))
  if (leaf === undefined || authority === undefined) return false
  const point = p384Point(leaf.spki)?.subarray(1)
  const isKey = point !== undefined && equalBytes(point, coordinates(x, y))
  const isInForce = leaf.notBefore <= at && at <= leaf.notAfter
  const isPinned = authorities.includes(toHex(await sha256(authority.spki)))
  return isKey && isInForce && isPinned && (await leaf.isSignedBy(authority.spki))
}

const coordinates = (x: string, y: string): Bytes =>
  fromBase64(`${x}${y}`.replaceAll('-', '+').replaceAll('_', '/'))

async function readCertificate(base64: string) {
  const der = fromBase64(base64)
  const { fields, tbs, signature, isAlgorithm } = signedParts(der, 2, CODE)
  return {
    ...(await certificateBody(der, fields)),
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
