import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
  type RecipientContext,
} from 'hpke'
import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Bytes } from '@vouchgate/attestation'

/** The server's side of the Encrypted HTTP Body Protocol; the npm client `ehbp` judges it in its test. */
export interface EhbpKey {
  readonly publicKey: Bytes
  /** `undecryptable` where the body is for another key or is not whole. */
  open(encapsulated: string, body: Buffer): Promise<EhbpExchange>
}

interface EhbpExchange {
  readonly body: Buffer
  /** A fresh reply: the header's value, and a frame per piece. */
  reply(): EhbpReply
}

export interface EhbpReply {
  readonly nonce: string
  frame(piece: Uint8Array): Buffer
}

class EhbpRefused extends Error {
  override readonly name = 'EhbpRefused'
}

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)
const text = (value: string): Uint8Array => Buffer.from(value)

export async function newEhbpKey(): Promise<EhbpKey> {
  const pair = await suite.GenerateKeyPair(true)
  const publicKey = Uint8Array.from(await suite.SerializePublicKey(pair.publicKey))
  return {
    publicKey,
    open: async (encapsulated, body) => {
      const enc = Buffer.from(encapsulated, 'hex')
      try {
        const context = await suite.SetupRecipient(pair, enc, { info: text('ehbp request') })
        const plaintext = await openFrames(context, body)
        const secret = Buffer.from(await context.Export(text('ehbp response'), 32))
        return { body: plaintext, reply: () => newReply(secret, enc) }
      } catch {
        throw new EhbpRefused('the body is for another key or is not whole')
      }
    },
  }
}

async function openFrames(context: RecipientContext, body: Buffer): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < body.length;) {
    const length = body.readUInt32BE(at)
    if (at + 4 + length > body.length) throw new EhbpRefused('a frame is cut')
    if (length > 0) pieces.push(await context.Open(body.subarray(at + 4, at + 4 + length)))
    at += 4 + length
  }
  return Buffer.concat(pieces)
}

function newReply(secret: Buffer, enc: Buffer): EhbpReply {
  const nonce = randomBytes(32)
  const salt = Buffer.concat([enc, nonce])
  const key = Buffer.from(hkdfSync('sha256', secret, salt, 'key', 32))
  const base = Buffer.from(hkdfSync('sha256', secret, salt, 'nonce', 12))
  let sequence = 0n
  return {
    nonce: nonce.toString('hex'),
    frame: (piece) => {
      const iv = Buffer.from(base)
      iv.writeBigUInt64BE(iv.readBigUInt64BE(4) ^ sequence, 4)
      sequence += 1n
      const cipher = createCipheriv('aes-256-gcm', key, iv)
      const sealed = Buffer.concat([cipher.update(piece), cipher.final(), cipher.getAuthTag()])
      const length = Buffer.alloc(4)
      length.writeUInt32BE(sealed.length)
      return Buffer.concat([length, sealed])
    },
  }
}
