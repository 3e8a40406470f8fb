import { concatBytes, ownBuffer, toHex, type Bytes } from './bytes.ts'
import { Memo } from './memo.ts'

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const
const P256_SHA256 = { name: 'ECDSA', hash: 'SHA-256' } as const
const P384 = { name: 'ECDSA', namedCurve: 'P-384' } as const
const P384_SHA384 = { name: 'ECDSA', hash: 'SHA-384' } as const

/** Whether a point is on the curve is found out once: that takes a third as long as a signature. */
const keys = new Memo<Promise<CryptoKey | null>>(256)

/** An ECDSA P-256 public key as x ‖ y. Null for a point that is not on the curve. */
async function importP256(point: Uint8Array): Promise<CryptoKey | null> {
  try {
    const raw = concatBytes(Uint8Array.of(4), point)
    return await crypto.subtle.importKey('raw', raw, P256, false, ['verify'])
  } catch {
    return null
  }
}

/** ECDSA P-256 over SHA-256 with a raw r ‖ s signature by the key x ‖ y. A malleated (high) s is valid. */
async function verifyP256(
  point: Bytes,
  signature: Uint8Array,
  message: Uint8Array,
): Promise<boolean> {
  if (signature.length !== 64) return false
  const key = await keys.get(toHex(point), () => importP256(point))
  if (key === null) return false
  return crypto.subtle.verify(P256_SHA256, key, ownBuffer(signature), ownBuffer(message))
}

/** As many keys as one signature is asked about and a hostile chain cannot make it many. */
const ASKED_KEYS = 4

/** Of one curve: the point as keys are given for it, r ‖ s, and what was signed. */
type Verify = (point: Bytes, signature: Uint8Array, message: Uint8Array) => Promise<boolean>

/**
 * A message and its ECDSA signature (r ‖ s), of P-256 unless another curve's `verify` is given. That a key made it
 * stays true, so it is computed once for each, also for those that ask at the same time.
 */
export class SignedMessage {
  readonly #signature: Bytes
  readonly #message: Uint8Array
  readonly #verify: Verify
  readonly #answers = new Memo<Promise<boolean>>(ASKED_KEYS)

  constructor(signature: Bytes, message: Uint8Array, verify: Verify = verifyP256) {
    this.#signature = signature
    this.#message = message
    this.#verify = verify
  }

  /** `point` is of the curve, x ‖ y for P-256; no other key can have signed it. */
  async isSignedBy(point: Bytes | null): Promise<boolean> {
    if (point === null) return false
    return this.#answers.get(toHex(point), () =>
      this.#verify(point, this.#signature, this.#message),
    )
  }
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
