import { concatBytes, ownBuffer, type Bytes } from './bytes.ts'

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const
const P256_SHA256 = { name: 'ECDSA', hash: 'SHA-256' } as const
const P384 = { name: 'ECDSA', namedCurve: 'P-384' } as const
const P384_SHA384 = { name: 'ECDSA', hash: 'SHA-384' } as const

/** An ECDSA P-256 public key as x ‖ y. Gives null for a point that is not on the curve. */
export async function importP256(point: Uint8Array): Promise<CryptoKey | null> {
  try {
    const raw = concatBytes(Uint8Array.of(4), point)
    return await crypto.subtle.importKey('raw', raw, P256, false, ['verify'])
  } catch {
    return null
  }
}

/** ECDSA P-256 over SHA-256 with a raw r ‖ s signature. A malleated (high) s is valid. */
export async function verifyP256(
  key: CryptoKey | null,
  signature: Uint8Array,
  message: Uint8Array,
): Promise<boolean> {
  if (key === null || signature.length !== 64) return false
  return crypto.subtle.verify(P256_SHA256, key, ownBuffer(signature), ownBuffer(message))
}

/**
 * ECDSA P-384 over SHA-384 with an uncompressed point (97 bytes) and a raw r ‖ s signature (96 bytes). Gives
 * false for anything of another length and for a point that is not on the curve.
 */
export async function verifyP384(
  point: Uint8Array,
  signature: Uint8Array,
  message: Uint8Array,
): Promise<boolean> {
  if (signature.length !== 96) return false
  try {
    const key = await crypto.subtle.importKey('raw', ownBuffer(point), P384, false, ['verify'])
    return await crypto.subtle.verify(P384_SHA384, key, ownBuffer(signature), ownBuffer(message))
  } catch {
    return false
  }
}

/** RFC 8032 Ed25519. Gives false for a key or signature of the wrong form. */
export async function verifyEd25519(
  publicKey: Bytes,
  signature: Bytes,
  message: Uint8Array,
): Promise<boolean> {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  try {
    const key = await crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify'])
    return await crypto.subtle.verify('Ed25519', key, signature, ownBuffer(message))
  } catch {
    return false
  }
}
