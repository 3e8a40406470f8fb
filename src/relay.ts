import type { IncomingHttpHeaders } from 'node:http'
import {
  gather,
  MAX_HELD_BYTES,
  type Answer,
  type AnswerSink,
  type SinkOptions,
} from './answer-sink.ts'
import { GatewayError, type ErrorCode } from './errors.ts'
import { Gathered } from './gathered.ts'
import type { End } from './receipts.ts'
import { FramePadder, type Padding } from './padding.ts'
import { JSON_HEADERS, STREAM_HEADERS } from './response.ts'
import { SseTap } from './sse.ts'
import {
  classifyStatus,
  failureCode,
  upstreamError,
  type StatusClass,
} from './upstream/classify.ts'
import { SendError } from './upstream/send.ts'
import type { AnswerFacts, Wire } from './wire.ts'

export interface RelayOptions extends SinkOptions {
  /** Whether the client asked for a stream. */
  readonly stream: boolean
  readonly wire: Wire
  readonly answers: 'json' | 'binary' | 'text'
  /** Null where frames keep their size. */
  readonly padding: Padding | null
}

const TEXT_HEADERS = { 'content-type': 'text/plain; charset=utf-8' } as const
type Headers = Readonly<Record<string, string>>

/** Sound, whose type the provider names; nothing that a browser would run. */
function binaryHeaders({ 'content-type': type = '' }: IncomingHttpHeaders): Headers {
  const isSound = /^audio\/[a-z0-9.+-]{1,64}$/i.test(type)
  return { 'content-type': isSound ? type : 'application/octet-stream' }
}

const EMPTY = Buffer.alloc(0)
const MAX_AFTER_DONE = 1 << 16

/** Passes one provider's response to the client unread: a stream as it comes, anything else whole. */
export class Relay implements AnswerSink {
  readonly #options: RelayOptions
  readonly #tap: SseTap
  readonly #padder: FramePadder | null
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #class: StatusClass = 'upstream_error'
  #streaming = false
  #ended = false
  /** A body that is sent whole, or a stream before its first content. */
  readonly #gathered = new Gathered()
  /** Bytes after the end of a stream, which are not part of the answer. */
  #discarded = 0
  #refusal: GatewayError | null = null

  constructor(options: RelayOptions) {
    this.#options = options
    this.#tap = new SseTap(options.wire)
    this.#padder = options.padding === null ? null : new FramePadder(options.padding)
  }

  sent(): void {
    this.#options.onSent()
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    const type = headers['content-type'] ?? ''
    this.#status = status
    this.#headers = headers
    this.#class = classifyStatus(status)
    this.#streaming =
      this.#class === 'ok' && this.#options.stream && type.startsWith('text/event-stream')
  }

  data(chunk: Buffer, resume: () => void): boolean {
    if (this.#ended) return this.#discard(chunk)
    if (this.#streaming) return this.#pass(chunk, resume)
    gather(this.#gathered, chunk, this.#class === 'ok', this.#options.maxBytes)
    return true
  }

  /** The response has ended cleanly. Throws a `GatewayError` where nothing was passed on. */
  complete(): void {
    if (this.#ended) return
    if (this.#streaming) this.#endStream()
    else this.#sendWhole(this.#gathered.take())
  }

  /** The exchange has failed. Throws a `GatewayError` where nothing was passed on. */
  fail(failure: SendError['failure']): void {
    if (this.#ended) return
    const { response, seal } = this.#options
    if (failure === 'aborted') {
      this.#ended = true
      seal(this.#answer('client_abort', null), response.emittedHash())
      return
    }
    if (!response.begun) throw this.#refusal ?? new GatewayError(failureCode(failure))
    this.#breakStream(failureCode(failure))
  }

  #pass(chunk: Buffer, resume: () => void): boolean {
    const { bytes, done } = this.#tap.push(chunk)
    if (bytes.length === 0) return true
    if (done) {
      this.#finishStream(bytes)
      return true
    }
    const released = this.#release(bytes)
    if (released.length === 0) return true
    const ready = this.#options.response.write(released)
    if (!ready) this.#options.response.onDrain(resume)
    return ready
  }

  /** What can go to the client: nothing before the first content, so that another provider can still be asked. */
  #release(bytes: Buffer): Buffer {
    if (this.#options.response.begun) return this.#padded(bytes)
    const { content, failure } = this.#tap
    if (!content && failure !== null && failure !== 'ok' && failure !== 'caller') {
      this.#refusal = new GatewayError(failure)
      throw new SendError('broken')
    }
    this.#gathered.push(bytes)
    if (!content && failure === null && this.#gathered.length <= MAX_HELD_BYTES) return EMPTY
    return this.#begin()
  }

  /** Gives what was held back. */
  #begin(): Buffer {
    this.#options.response.begin(200, STREAM_HEADERS)
    if (this.#padder !== null) this.#options.padding?.onApplied()
    return this.#padded(this.#gathered.take())
  }

  #padded(bytes: Buffer): Buffer {
    return this.#padder === null ? bytes : this.#padder.push(bytes)
  }

  #finishStream(lines: Buffer): void {
    const held = this.#options.response.begun ? EMPTY : this.#begin()
    this.#ended = true
    const crlf = lines.at(-1) === 0x0d
    const last = this.#padded(Buffer.concat([lines, Buffer.from(crlf ? '\n\r\n' : '\n')]))
    const tail = Buffer.concat([held, last, this.#padder?.end() ?? EMPTY])
    this.#options.response.end(tail, (hash) =>
      this.#options.seal(this.#answer('complete', null), hash),
    )
  }

  #endStream(): void {
    const { bytes, done } = this.#tap.end()
    if (done) {
      this.#finishStream(Buffer.concat([bytes, Buffer.from('\n')]))
      return
    }
    if (!this.#options.response.begun) throw new GatewayError('upstream_broken')
    this.#breakStream('upstream_broken')
  }

  /** An error the client's SDK raises, and no `[DONE]`: a broken answer must not look complete. */
  #breakStream(code: ErrorCode): void {
    this.#ended = true
    const frame = this.#tap.failure !== null ? '' : `\n\n${this.#options.wire.failure(code)}`
    this.#options.response.end(Buffer.from(frame), (hash) =>
      this.#options.seal(this.#answer('upstream_error', code), hash),
    )
  }

  #sendWhole(body: Buffer): void {
    const { answers, wire, response } = this.#options
    // A comment has opened a stream: nothing else can follow.
    if (response.opened && this.#class === 'ok') throw new GatewayError('upstream_malformed')
    if (response.opened && this.#class === 'caller') throw new GatewayError('request_rejected')
    if (this.#class === 'ok' && answers !== 'json') {
      const headers = answers === 'text' ? TEXT_HEADERS : binaryHeaders(this.#headers)
      this.#send(body, this.#answer('complete', null), headers)
      return
    }
    const facts = wire.facts()(body)
    if (this.#class === 'ok') {
      if (facts === null) throw new GatewayError('upstream_malformed')
      this.#send(body, this.#answer('complete', null, facts))
      return
    }
    if (this.#class !== 'caller') throw upstreamError(this.#class, this.#headers)
    if (facts === null) throw new GatewayError('request_rejected')
    // The provider's words about the client's own request go back to the client, and nowhere else.
    this.#send(body, this.#answer('upstream_error', 'request_rejected'))
  }

  #send(body: Buffer, answer: Answer, headers: Headers = JSON_HEADERS): void {
    this.#ended = true
    this.#options.response.send(this.#status, headers, body, (hash) =>
      this.#options.seal(answer, hash),
    )
  }

  /** Reads on to the end, so that the connection can be used again, but not for ever. */
  #discard(chunk: Buffer): boolean {
    this.#discarded += chunk.length
    if (this.#discarded > MAX_AFTER_DONE) throw new SendError('too_large')
    return true
  }

  #answer(end: End, code: ErrorCode | null, facts: AnswerFacts | null = null): Answer {
    const chatId = facts?.id ?? this.#tap.chatId
    return { end, code, chatId, usage: facts?.usage ?? this.#tap.usage }
  }
}
