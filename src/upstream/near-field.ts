import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { SendError } from './send.ts'

/*
 * NEAR AI's encryption of one string, version 2 with Ed25519 keys: lower-case hex of
 * X25519 ephemeral key (32) ‖ nonce (24) ‖ XChaCha20-Poly1305 ciphertext and tag,
 * under HKDF-SHA256 (no salt) of the X25519 secret with the X25519 form of the recipient's Ed25519 key.
 */

const KEY_LENGTH = 32
const NONCE_LENGTH = 24
const TAG_LENGTH = 16
const HEADER_LENGTH = KEY_LENGTH + NONCE_LENGTH
const INFO = 'ed25519_encryption'
const SEALED = /^(?:[0-9a-f]{2})+$/i

/** The fewest hex digits that a sealed string can have. */
const MIN_SEALED_DIGITS = 2 * (HEADER_LENGTH + TAG_LENGTH)

/** What precedes the 32 bytes of an X25519 key in DER (RFC 8410). */
const SPKI = Buffer.from('302a300506032b656e032100', 'hex')
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')

const publicKeyOf = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' })

const rawOf = (key: KeyObject): Buffer =>
  key.export({ type: 'spki', format: 'der' }).subarray(-KEY_LENGTH)

/** OpenSSL refuses a key of small order, whose shared secret anybody knows. */
function messageKey(privateKey: KeyObject, publicKey: KeyObject): Uint8Array {
  const secret = diffieHellman({ privateKey, publicKey })
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), INFO, KEY_LENGTH))
}

/** Whether a string has the form of a sealed one; plaintext of that form does not open. */
const looksSealed = (text: string): boolean => text.length >= MIN_SEALED_DIGITS && SEALED.test(text)

/** Encrypts to the holder of an Ed25519 key. */
export class NearRecipient {
  readonly #key: KeyObject

  /** Throws `SendError` `key_mismatch` for bytes that are no key: nobody holds it. */
  constructor(ed25519Key: Uint8Array) {
    try {
      this.#key = publicKeyOf(ed25519.utils.toMontgomery(Uint8Array.from(ed25519Key)))
      // A key of small order shows itself in the first exchange.
      this.seal('')
    } catch {
      throw new SendError('key_mismatch')
    }
  }

  /** A fresh key and nonce every time: the provider's protocol has neither counters nor associated data. */
  seal(text: string): string {
    const ephemeral = generateKeyPairSync('x25519')
    const nonce = randomBytes(NONCE_LENGTH)
    const cipher = xchacha20poly1305(messageKey(ephemeral.privateKey, this.#key), nonce)
    const sealed = cipher.encrypt(new TextEncoder().encode(text))
    return Buffer.concat([rawOf(ephemeral.publicKey), nonce, sealed]).toString('hex')
  }
}

/** The key that the reply to one message is encrypted to; it is made for that message and dropped with it. */
export class NearClientKey {
  /** Ed25519, hex. */
  readonly publicKeyHex: string
  readonly #key: KeyObject

  constructor(seed: Uint8Array = randomBytes(KEY_LENGTH)) {
    const secret = Uint8Array.from(seed)
    const scalar = ed25519.utils.toMontgomerySecret(secret)
    this.publicKeyHex = Buffer.from(ed25519.getPublicKey(secret)).toString('hex')
    this.#key = createPrivateKey({
      key: Buffer.concat([PKCS8, scalar]),
      format: 'der',
      type: 'pkcs8',
    })
  }

  /** Throws `SendError`: `not_encrypted` for what nobody sealed, `undecryptable` for what this key does not open. */
  open(sealed: string): string {
    if (!looksSealed(sealed)) throw new SendError('not_encrypted')
    try {
      const bytes = Buffer.from(sealed, 'hex')
      const ephemeral = publicKeyOf(bytes.subarray(0, KEY_LENGTH))
      const nonce = bytes.subarray(KEY_LENGTH, HEADER_LENGTH)
      const cipher = xchacha20poly1305(messageKey(this.#key, ephemeral), nonce)
      const plain = cipher.decrypt(bytes.subarray(HEADER_LENGTH))
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plain)
    } catch {
      throw new SendError('undecryptable')
    }
  }
}
