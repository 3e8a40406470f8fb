import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  generateKeyPairSync,
  randomBytes,
} from 'node:crypto'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'

/*
 * The provider's half of NEAR AI's field encryption, written apart from the gateway's: HKDF, HChaCha20 and the
 * clamped scalar are made of Node's own hash and ChaCha20, so that a mistake of one half is not repeated here.
 */

const INFO = Buffer.from('ed25519_encryption')
const TAG = 16

const hmac = (key: Uint8Array, data: Uint8Array): Buffer =>
  createHmac('sha256', key).update(data).digest()

const hkdf = (secret: Uint8Array): Buffer =>
  hmac(hmac(Buffer.alloc(32), secret), Buffer.concat([INFO, Buffer.of(1)]))

/** One ChaCha20 block, less the state that was added to it at the end. */
function hchacha(key: Uint8Array, input: Uint8Array): Buffer {
  const block = createCipheriv('chacha20', key, input).update(Buffer.alloc(64))
  const initial = Buffer.concat([Buffer.from('expand 32-byte k'), key, input])
  const words = [0, 1, 2, 3, 12, 13, 14, 15]
  const out = Buffer.alloc(32)
  for (const [at, word] of words.entries()) {
    const value = block.readUInt32LE(4 * word) - initial.readUInt32LE(4 * word)
    out.writeUInt32LE(value >>> 0, 4 * at)
  }
  return out
}

function xchacha(secret: Uint8Array, nonce: Uint8Array) {
  return {
    key: hchacha(hkdf(secret), nonce.subarray(0, 16)),
    iv: Buffer.concat([Buffer.alloc(4), nonce.subarray(16)]),
  }
}

/** The X25519 scalar of an Ed25519 seed. */
export function scalarOf(seed: Uint8Array): Buffer {
  const scalar = createHash('sha512').update(seed).digest().subarray(0, 32)
  scalar[0] = (scalar[0] ?? 0) & 248
  scalar[31] = ((scalar[31] ?? 0) & 127) | 64
  return scalar
}

/** Encrypts a string to an Ed25519 key, as a node does for its client. */
export function nearSeal(text: string, ed25519Key: Uint8Array): string {
  if (text === '') return ''
  const secretKey = randomBytes(32)
  const nonce = randomBytes(24)
  const recipient = ed25519.utils.toMontgomery(ed25519Key)
  const { key, iv } = xchacha(x25519.getSharedSecret(secretKey, recipient), nonce)
  const cipher = createCipheriv('chacha20-poly1305', key, iv, { authTagLength: TAG })
  const sealed = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()])
  return Buffer.concat([x25519.getPublicKey(secretKey), nonce, sealed]).toString('hex')
}

/** Throws where the key does not open it. */
export function nearOpen(hex: string, seed: Uint8Array): string {
  if (hex === '') return ''
  const bytes = Buffer.from(hex, 'hex')
  if (bytes.length < 72 || bytes.toString('hex') !== hex) throw new Error('not sealed')
  const nonce = bytes.subarray(32, 56)
  const secret = x25519.getSharedSecret(scalarOf(seed), bytes.subarray(0, 32))
  const { key, iv } = xchacha(secret, nonce)
  const cipher = createDecipheriv('chacha20-poly1305', key, iv, { authTagLength: TAG })
  cipher.setAuthTag(bytes.subarray(-TAG))
  return Buffer.concat([cipher.update(bytes.subarray(56, -TAG)), cipher.final()]).toString()
}

export interface NearKey {
  readonly seed: Buffer
  /** Raw Ed25519. */
  readonly publicKey: Buffer
}

export function newNearKey(): NearKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return {
    seed: privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32),
    publicKey: publicKey.export({ format: 'der', type: 'spki' }).subarray(-32),
  }
}

type Json = Record<string, unknown>
type Carry = (text: string) => string

const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])

const recordsOf = (value: unknown): Json[] => listOf(value).filter(isJson)

/** The object with these string members carried; everything else as it is. */
function carried(value: unknown, names: readonly string[], carry: Carry): void {
  if (!isJson(value)) return
  for (const name of names) {
    const text = value[name]
    if (typeof text === 'string' && text !== '') value[name] = carry(text)
  }
}

function carryMessage(message: Json, carry: Carry): void {
  carried(message, ['reasoning_content', 'reasoning', 'refusal', 'name'], carry)
  carried(message['audio'], ['data'], carry)
  for (const { function: called } of recordsOf(message['tool_calls'])) {
    carried(called, ['name', 'arguments'], carry)
  }
  carried(message['function_call'], ['name', 'arguments'], carry)
}

function parts(content: string): unknown {
  try {
    const value: unknown = JSON.parse(content)
    return Array.isArray(value) ? value : content
  } catch {
    return content
  }
}

/** What a node understands of a request: a list of content parts passes it in clear. */
export function openNearRequest(request: Json, seed: Uint8Array): void {
  const open: Carry = (hex) => nearOpen(hex, seed)
  for (const message of recordsOf(request['messages'])) {
    carryMessage(message, open)
    carried(message, ['content'], open)
    if (typeof message['content'] === 'string') message['content'] = parts(message['content'])
  }
  for (const { function: declared } of recordsOf(request['tools'])) {
    carried(declared, ['name', 'description'], open)
    if (!isJson(declared) || typeof declared['parameters'] !== 'string') continue
    declared['parameters'] = JSON.parse(open(declared['parameters']))
  }
  const choice = request['tool_choice']
  if (isJson(choice)) carried(choice['function'], ['name'], open)
  carried(request['function_call'], ['name'], open)
}

/** Encrypts a completion, or one chunk of it, as a node does with all fields. */
export function sealNearReply(reply: Json, client: Uint8Array): void {
  const seal: Carry = (text) => nearSeal(text, client)
  for (const choice of recordsOf(reply['choices'])) {
    for (const message of [choice['message'], choice['delta']].filter(isJson)) {
      carryMessage(message, seal)
      carried(message, ['content'], seal)
      for (const part of recordsOf(message['content'])) carried(part, ['text'], seal)
    }
    const logprobs = isJson(choice['logprobs']) ? choice['logprobs'] : {}
    for (const list of [logprobs['content'], logprobs['refusal']]) {
      for (const token of recordsOf(list)) {
        for (const each of [token, ...recordsOf(token['top_logprobs'])]) {
          carried(each, ['token'], seal)
          if (Array.isArray(each['bytes'])) each['bytes'] = seal(JSON.stringify(each['bytes']))
        }
      }
    }
  }
}
