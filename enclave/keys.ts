import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto'
import { toHex, type Bytes, type PublicKey } from '@vouchgate/attestation'

/**
 * The keys of one generation. They are made here, stay in `#private` fields of this gateway's memory, and are
 * never written; one key per role (ACI §3.1), so that no signature of one role can pass for another's. A worker of the
 * gateway is given them as PEM, through the pipe to the process that made them.
 */

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' })

const spkiOf = (key: KeyObject): Bytes =>
  Uint8Array.from(key.export({ type: 'spki', format: 'der' }))

const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** An Ed25519 or X25519 SubjectPublicKeyInfo ends with the 32 bytes of the key (RFC 8410 §4). */
const RAW_KEY_LENGTH = 32
const ID_LENGTH = 16

function publicEntry(role: string, algo: string, publicKey: KeyObject): PublicKey {
  const raw = spkiOf(publicKey).slice(-RAW_KEY_LENGTH)
  return { key_id: `${role}-${sha256Hex(raw).slice(0, ID_LENGTH)}`, algo, public_key: toHex(raw) }
}

/** The private key of the TLS server: ECDSA P-256. */
export class ServerKey {
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Bytes
  /** Hex. */
  readonly spkiSha256: string
  readonly #privateKey: KeyObject

  constructor(
    privateKey: KeyObject = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  ) {
    this.#privateKey = privateKey
    this.spki = spkiOf(createPublicKey(privateKey))
    this.spkiSha256 = sha256Hex(this.spki)
  }

  static fromPem(pem: string): ServerKey {
    return new ServerKey(createPrivateKey(pem))
  }

  /** For `node:tls`, which takes nothing else, and for workers. */
  pem(): string {
    return pemOf(this.#privateKey)
  }

  /** A handle that can sign the certificate and cannot be exported. */
  certificateSigner(): CryptoKey {
    return this.#privateKey.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
  }
}

/** Signs receipts: Ed25519 (RFC 8032). */
export class ReceiptKey {
  readonly entry: PublicKey
  readonly #privateKey: KeyObject

  constructor(privateKey: KeyObject = generateKeyPairSync('ed25519').privateKey) {
    this.#privateKey = privateKey
    this.entry = publicEntry('receipt', 'ed25519', createPublicKey(privateKey))
  }

  static fromPem(pem: string): ReceiptKey {
    return new ReceiptKey(createPrivateKey(pem))
  }

  /** For workers. */
  pem(): string {
    return pemOf(this.#privateKey)
  }

  sign(message: Uint8Array): Bytes {
    return Uint8Array.from(sign(null, message, this.#privateKey))
  }
}

/** X25519 SubjectPublicKeyInfo up to the key (RFC 8410 §4). */
const X25519_SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

/** Receives end-to-end encrypted requests: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180). */
export class HpkeKey {
  readonly entry: PublicKey
  readonly #privateKey: KeyObject

  constructor(privateKey: KeyObject = generateKeyPairSync('x25519').privateKey) {
    this.#privateKey = privateKey
    const publicKey = createPublicKey(privateKey)
    this.entry = publicEntry('e2ee', 'hpke-x25519-hkdfsha256-aes256gcm', publicKey)
  }

  static fromPem(pem: string): HpkeKey {
    return new HpkeKey(createPrivateKey(pem))
  }

  /** For workers. */
  pem(): string {
    return pemOf(this.#privateKey)
  }

  /** The DH of RFC 9180 §4.1 with a sender's 32-byte encapsulated key. Throws where the result is zero (§7.1.4). */
  agree(encapsulated: Uint8Array): Bytes {
    if (encapsulated.length !== RAW_KEY_LENGTH) throw new TypeError('an X25519 key is 32 bytes')
    const key = Buffer.concat([X25519_SPKI_PREFIX, encapsulated])
    const publicKey = createPublicKey({ key, format: 'der', type: 'spki' })
    return Uint8Array.from(diffieHellman({ privateKey: this.#privateKey, publicKey }))
  }
}
