import type { IncomingHttpHeaders } from 'node:http'
import type { OpeningSink } from './seal.ts'
import { SendError, type ResponseSink } from './send.ts'

/** Decrypts what is encrypted in a JSON document. Throws `SendError` `not_encrypted` or `undecryptable`. */
export interface Opener {
  /** Of a whole reply. */
  whole(value: unknown): unknown
  /** Of one event of a stream. */
  event(value: unknown): unknown
}

export interface OpeningLimits {
  /** Of one line of a stream. */
  readonly lineBytes: number
  /** Of a reply that is no stream, as it comes over the wire. */
  readonly bodyBytes: number
}

const LIMITS: OpeningLimits = { lineBytes: 1 << 20, bodyBytes: 32 << 20 }
const MAX_AFTER_DONE = 1 << 16
const EMPTY = Buffer.alloc(0)
const LF = 0x0a
const DONE = '[DONE]'

/** Cuts a stream into lines, each without its line end. Throws `too_large`. */
class Lines {
  readonly #limit: number
  #held: Buffer[] = []
  #length = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let from = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, from)) {
      this.#hold(chunk.subarray(from, end))
      lines.push(this.take())
      from = end + 1
    }
    this.#hold(chunk.subarray(from))
    return lines
  }

  /** What has no line end yet. */
  take(): string {
    const line = Buffer.concat(this.#held).toString()
    this.#held = []
    this.#length = 0
    return line.endsWith('\r') ? line.slice(0, -1) : line
  }

  #hold(part: Buffer): void {
    this.#length += part.length
    if (this.#length > this.#limit) throw new SendError('too_large')
    if (part.length > 0) this.#held.push(part)
  }
}

/** V8's own error quotes the input. */
function parsed(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return value
  } catch {
    throw new SendError('undecryptable')
  }
}

/** How the body of one reply is read. */
interface Reading {
  push(chunk: Buffer): Buffer
  end(): Buffer
}

/** Diagnostics of a reply that failed. */
const asItIs: Reading = { push: (chunk) => chunk, end: () => EMPTY }

class WholeBody implements Reading {
  readonly #opener: Opener
  readonly #limit: number
  readonly #chunks: Buffer[] = []
  #length = 0

  constructor(opener: Opener, limit: number) {
    this.#opener = opener
    this.#limit = limit
  }

  push(chunk: Buffer): Buffer {
    this.#length += chunk.length
    if (this.#length > this.#limit) throw new SendError('too_large')
    this.#chunks.push(chunk)
    return EMPTY
  }

  end(): Buffer {
    const body = Buffer.concat(this.#chunks).toString()
    return Buffer.from(JSON.stringify(this.#opener.whole(parsed(body))))
  }
}

class EventStream implements Reading {
  readonly #opener: Opener
  readonly #lines: Lines
  #done = false
  #afterDone = 0

  constructor(opener: Opener, limit: number) {
    this.#opener = opener
    this.#lines = new Lines(limit)
  }

  push(chunk: Buffer): Buffer {
    if (this.#done) return this.#ignore(chunk.length)
    const opened = this.#lines.push(chunk).map((line) => this.#open(line))
    return Buffer.from(opened.join(''))
  }

  end(): Buffer {
    const last = this.#lines.take()
    return Buffer.from(last === '' ? '' : this.#open(last))
  }

  /** Only data and the gaps between events are handed on: nothing else of a stream is ever encrypted. */
  #open(line: string): string {
    if (this.#done) return this.#ignore(line.length).toString()
    if (line === '') return '\n'
    // A comment keeps the connection alive; what it says is in clear and may come from anyone.
    if (line.startsWith(':')) return ':\n'
    if (!line.startsWith('data:')) return ''
    const data = line.slice('data:'.length).trim()
    this.#done = data === DONE
    if (this.#done) return `data: ${DONE}\n\n`
    return `data: ${JSON.stringify(this.#opener.event(parsed(data)))}\n`
  }

  #ignore(length: number): Buffer {
    this.#afterDone += length
    if (this.#afterDone > MAX_AFTER_DONE) throw new SendError('too_large')
    return EMPTY
  }
}

/** Reads a reply of which single strings are encrypted, and hands on the reply as it was before that. */
export class FieldOpening implements OpeningSink {
  readonly #sink: ResponseSink
  readonly #opener: Opener
  readonly #limits: OpeningLimits
  #reading: Reading = asItIs

  constructor(sink: ResponseSink, opener: Opener, limits: OpeningLimits = LIMITS) {
    this.#sink = sink
    this.#opener = opener
    this.#limits = limits
  }

  sent(): void {
    this.#sink.sent()
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    const { 'content-length': _sealedLength, ...rest } = headers
    if (status >= 200 && status < 300)
      this.#reading = this.#readingOf(headers['content-type'] ?? '')
    this.#sink.head(status, rest)
  }

  data(chunk: Buffer, resume: () => void): boolean {
    return this.#pass(this.#reading.push(chunk), resume)
  }

  end(): void {
    this.#pass(this.#reading.end(), () => undefined)
  }

  #readingOf(type: string): Reading {
    if (type.startsWith('text/event-stream')) {
      return new EventStream(this.#opener, this.#limits.lineBytes)
    }
    if (type.startsWith('application/json')) {
      return new WholeBody(this.#opener, this.#limits.bodyBytes)
    }
    // No reply of this protocol: whatever it holds, nobody encrypted it to us.
    throw new SendError('not_encrypted')
  }

  #pass(opened: Buffer, resume: () => void): boolean {
    return opened.length === 0 || this.#sink.data(opened, resume)
  }
}
