import type { E2eeBinding } from '@vouchgate/attestation'
import type { IncomingHttpHeaders } from 'node:http'
import { constants, gunzipSync, gzipSync } from 'node:zlib'
import { GatewayError } from '../errors.ts'
import { applyEdits, jsonMembers, type Edit } from '../json-members.ts'
import { expose, Sensitive } from '../sensitive.ts'
import {
  BOX_OVERHEAD,
  KEM_BYTES,
  openBox,
  PUBLIC_KEY_BYTES,
  ReplyKey,
  sealTo,
} from './chutes-cipher.ts'
import { ChutesStream, type Opening } from './chutes-stream.ts'
import { SealUsedUp, type OpeningSink, type Seal } from './seal.ts'
import { SendError, type ResponseSink } from './send.ts'

/** Gives a single-use token for an instance, as long as the instance still holds the attested key. */
export interface InvokeTokens {
  take(instanceId: string, publicKey: Uint8Array, apiKey: Sensitive<string>): Promise<string>
}

export interface ChutesSealOptions {
  /** The chute whose instances are attested. */
  readonly chuteId: string
  readonly tokens: InvokeTokens
}

const PATH = '/e2e/invoke'
const MEMBER = 'e2e_response_pk'
const MAX_REPLY = 64 << 20
const TOKEN_REFUSED = 403

/**
 * Encrypts a whole request to the ML-KEM-768 key of one instance of a chute, through Chutes' relay, which sees the
 * instance, the path, the size and the time. Rejects with what `tokens` rejects with.
 */
export const chutesSeal =
  ({ chuteId, tokens }: ChutesSealOptions): Seal =>
  async ({ message, path, apiKey }, binding) => {
    // The reply's key goes into the body, which is JSON for that.
    if (message.headers?.['content-type'] !== undefined) {
      throw new GatewayError('request_not_encryptable')
    }
    const instanceId = instanceOf(binding)
    if (apiKey === null) throw new TypeError('tokens belong to an account')
    const token = await tokens.take(instanceId, binding.publicKey, apiKey)
    const replyKey = new ReplyKey()
    const plaintext = withReplyKey(expose(message.body), replyKey.publicKey)
    const body = new Sensitive(sealTo(binding.publicKey, packed(plaintext)))
    const stream = message.stream
    return {
      request: {
        path: PATH,
        headers: {
          'content-type': 'application/octet-stream',
          accept: stream ? 'text/event-stream' : 'application/octet-stream',
          'x-chute-id': chuteId,
          'x-instance-id': instanceId,
          'x-e2e-nonce': token,
          'x-e2e-stream': String(stream),
          'x-e2e-path': path,
        },
        body,
      },
      open: (sink) => new ChutesReply(sink, replyKey, stream),
    }
  }

function instanceOf({ protocol, keyId, publicKey }: E2eeBinding): string {
  if (protocol !== 'chutes-ml-kem-768' || keyId === null || publicKey.length !== PUBLIC_KEY_BYTES) {
    throw new TypeError('the binding is not the key of an instance of a chute')
  }
  return keyId
}

/** The reply is encrypted to this key, so it must be ours whatever the client wrote there. */
function withReplyKey(body: Buffer, publicKey: Buffer): Buffer {
  const members = jsonMembers(body)
  const value = JSON.stringify(publicKey.toString('base64'))
  return applyEdits(body, [editFor(members, body, value)])
}

function editFor(members: ReturnType<typeof jsonMembers>, body: Buffer, value: string): Edit {
  const given = members.find(({ name }) => name === MEMBER)
  if (given !== undefined) return { start: given.valueStart, end: given.end, text: value }
  const at = members[0]?.start ?? body.lastIndexOf(0x7d)
  return { start: at, end: at, text: `"${MEMBER}":${value}${members.length === 0 ? '' : ','}` }
}

/** gzip as the protocol wants it, with nothing compressed: how well a prompt compresses is a fact about it. */
const packed = (plaintext: Buffer): Buffer =>
  gzipSync(plaintext, { level: constants.Z_NO_COMPRESSION })

/** Decides by status and content type how a reply is read; everything but a success is the relay's own words. */
class ChutesReply implements OpeningSink {
  readonly #sink: ResponseSink
  readonly #replyKey: ReplyKey
  readonly #stream: boolean
  /** Null for words in clear, which are passed on as diagnostics. */
  #opening: Opening | null = null

  constructor(sink: ResponseSink, replyKey: ReplyKey, stream: boolean) {
    this.#sink = sink
    this.#replyKey = replyKey
    this.#stream = stream
  }

  sent(): void {
    this.#sink.sent()
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    if (status === TOKEN_REFUSED) throw new SealUsedUp()
    if (status < 200 || status >= 300) {
      this.#sink.head(status, headers)
      return
    }
    const expected = this.#stream ? 'text/event-stream' : 'application/octet-stream'
    if (mediaType(headers) !== expected) throw new SendError('not_encrypted')
    this.#opening = this.#stream
      ? new ChutesStream(this.#sink, this.#replyKey)
      : new WholeReply(this.#sink, this.#replyKey)
    this.#sink.head(status, {
      'content-type': this.#stream ? 'text/event-stream' : 'application/json',
    })
  }

  data(chunk: Buffer, resume: () => void): boolean {
    return (this.#opening ?? this.#sink).data(chunk, resume)
  }

  end(): void {
    this.#opening?.end()
  }
}

const mediaType = (headers: IncomingHttpHeaders): string =>
  (headers['content-type'] ?? '').replace(/;.*$/, '').trim().toLowerCase()

/** `ciphertext(1088) ‖ nonce(12) ‖ box ‖ tag(16)` of the compressed answer. */
class WholeReply implements Opening {
  readonly #sink: ResponseSink
  readonly #replyKey: ReplyKey
  #parts: Buffer[] = []
  #length = 0

  constructor(sink: ResponseSink, replyKey: ReplyKey) {
    this.#sink = sink
    this.#replyKey = replyKey
  }

  data(chunk: Buffer): boolean {
    this.#length += chunk.length
    if (this.#length > MAX_REPLY + KEM_BYTES + BOX_OVERHEAD) throw new SendError('too_large')
    this.#parts.push(chunk)
    return true
  }

  end(): void {
    const reply = Buffer.concat(this.#parts)
    this.#parts = []
    const key = this.#replyKey.open(reply.subarray(0, KEM_BYTES), 'e2e-resp-v1')
    const answer = unpacked(openBox(key, reply.subarray(KEM_BYTES)))
    this.#sink.data(answer, () => undefined)
  }
}

/** zlib stops at the limit, so that a small reply cannot fill the memory. */
function unpacked(bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_REPLY })
  } catch {
    throw new SendError('undecryptable')
  }
}
