import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  decapsulate,
  encapsulate,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto'
import { SendError } from './send.ts'

/** What a key is for; each label gives a key of its own. */
type Label = 'e2e-req-v1' | 'e2e-resp-v1' | 'e2e-stream-v1'

const CIPHER = 'chacha20-poly1305'
const KEM = 'ml-kem-768'
export const PUBLIC_KEY_BYTES = 1184
export const KEM_BYTES = 1088
const NONCE_BYTES = 12
const TAG_BYTES = 16
export const BOX_OVERHEAD = NONCE_BYTES + TAG_BYTES
const SALT_BYTES = 16

const keyOf = (secret: Buffer, ciphertext: Uint8Array, label: Label): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, ciphertext.subarray(0, SALT_BYTES), label, 32))

/**
 * `ciphertext(1088) ‖ nonce(12) ‖ box ‖ tag(16)`: encapsulated to an instance's ML-KEM-768 key, which is 1184 bytes.
 * Throws `key_mismatch` for a key that is none: nothing is encrypted to it.
 */
export function sealTo(publicKey: Uint8Array, plaintext: Uint8Array): Buffer {
  const { ciphertext, sharedKey } = encapsulate(importKey(publicKey))
  const nonce = randomBytes(NONCE_BYTES)
  const key = keyOf(sharedKey, ciphertext, 'e2e-req-v1')
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  return Buffer.concat([
    ciphertext,
    nonce,
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ])
}

/** OpenSSL checks the coefficients (FIPS 203 §7.2); its error is dropped. */
function importKey(raw: Uint8Array): KeyObject {
  try {
    const key = Buffer.from(raw)
    return createPublicKey({ key, format: 'raw-public', asymmetricKeyType: KEM })
  } catch {
    throw new SendError('key_mismatch')
  }
}

/** The key that one reply is encrypted to. It is made for one request, whose ciphertext alone names it. */
export class ReplyKey {
  readonly #privateKey: KeyObject
  /** 1184 bytes. */
  readonly publicKey: Buffer

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync(KEM)
    this.#privateKey = privateKey
    this.publicKey = publicKey.export({ format: 'raw-public' })
  }

  /** The symmetric key behind 1088 bytes of ciphertext. Throws `undecryptable`. */
  open(ciphertext: Buffer, label: 'e2e-resp-v1' | 'e2e-stream-v1'): Buffer {
    if (ciphertext.length !== KEM_BYTES) throw new SendError('undecryptable')
    return keyOf(decapsulate(this.#privateKey, ciphertext), ciphertext, label)
  }
}

/** Opens `nonce(12) ‖ box ‖ tag(16)`. Throws `undecryptable`. */
export function openBox(key: Buffer, box: Buffer): Buffer {
  if (box.length < BOX_OVERHEAD) throw new SendError('undecryptable')
  const tagAt = box.length - TAG_BYTES
  const decipher = createDecipheriv(CIPHER, key, box.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAuthTag(box.subarray(tagAt))
  try {
    return Buffer.concat([decipher.update(box.subarray(NONCE_BYTES, tagAt)), decipher.final()])
  } catch {
    throw new SendError('undecryptable')
  }
}

/** Names a box of a stream: under one key no honest sender uses a nonce twice. */
export const boxId = (box: Buffer): string => box.toString('latin1', 0, NONCE_BYTES)
