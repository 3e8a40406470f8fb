import { createHash, type Hash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { ErrorCode } from './errors.ts'
import type { ProviderId } from './ids.ts'
import { KeepAlive } from './keep-alive.ts'
import { hashLabel } from './prompt.ts'

type Headers = Readonly<Record<string, string>>
/** Called with the hash of the whole body before its last bytes leave. */
type Seal = (bodyHash: string) => void

export const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8' } as const
export const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const

const ATTEMPTS = 'x-vouchgate-attempts'

/**
 * The response to one prompt. Hashes the exact bytes it emits, and lets the receipt be sealed before the last
 * of them leaves: a client that asks for its receipt on the last byte finds it.
 */
export class ClientResponse {
  readonly #raw: ServerResponse
  #hash: Hash | null = null
  #bytes = 0
  #status = 0
  #begun = false
  #attempts: string[] = []
  #trying: ProviderId | null = null
  #keepAlive: KeepAlive | null = null

  constructor(raw: ServerResponse) {
    this.#raw = raw
  }

  /** Whether something of an answer has been sent, after which there is no fallback. */
  get begun(): boolean {
    return this.#begun
  }

  /** Whether status and headers have left, so that only a stream can follow. */
  get opened(): boolean {
    return this.#status !== 0
  }

  get status(): number {
    return this.#status
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A provider is asked. Said in a header, as long as that has not left. */
  trying(provider: ProviderId): void {
    this.#trying = provider
  }

  /** It did not answer. */
  attempted(code: ErrorCode): void {
    if (this.#trying !== null) this.#attempts.push(`${this.#trying}:${code}`)
    this.#trying = null
  }

  /** From now on a comment is sent whenever nothing else was for so long; the first one opens a stream. */
  keepAlive(milliseconds: number): void {
    this.#keepAlive = new KeepAlive(milliseconds, (comment) => {
      if (this.#raw.writableNeedDrain || this.#raw.destroyed) return
      this.#open(200, STREAM_HEADERS, 'waiting')
      this.#count(comment)
      this.#raw.write(comment)
    })
    this.#raw.once('close', () => this.#keepAlive?.stop())
  }

  /** A whole body at once. Throws `TypeError` where a stream has been opened. */
  send(status: number, headers: Headers, body: Uint8Array, seal: Seal): void {
    if (this.opened) throw new TypeError('a stream has been opened')
    this.#keepAlive?.stop()
    this.#status = status
    this.#begun = true
    this.#bytes = body.length
    this.#sealed(seal, hashLabel(body))
    this.#raw.writeHead(status, {
      ...headers,
      // What is passed on of a provider that was asked is its answer, or its words about the request.
      ...this.#attemptsHeader(status < 400 ? 'ok' : 'request_rejected'),
      'content-length': body.length,
    })
    this.#raw.end(body)
  }

  /** A header known only once the answer is; nothing where the head has left. */
  lateHeader(name: string, value: string): void {
    if (!this.#raw.headersSent) this.#raw.setHeader(name, value)
  }

  begin(status: number, headers: Headers): void {
    this.#open(status, headers, 'ok')
    this.#begun = true
  }

  /** False: the client reads more slowly than the provider writes. */
  write(chunk: Uint8Array): boolean {
    this.#count(chunk)
    this.#keepAlive?.written(chunk)
    return this.#raw.write(chunk)
  }

  onDrain(resume: () => void): void {
    this.#raw.once('drain', resume)
  }

  end(tail: Uint8Array, seal: Seal): void {
    this.#keepAlive?.stop()
    this.#count(tail)
    this.#sealed(seal, this.emittedHash())
    this.#raw.end(tail)
  }

  /** Of what has been emitted so far. Ends the counting. */
  emittedHash(): string {
    this.#keepAlive?.stop()
    return this.#hash === null ? hashLabel(new Uint8Array()) : `sha256:${this.#hash.digest('hex')}`
  }

  /** `waiting`: who is asked when a comment opens the stream has not answered yet. */
  #open(status: number, headers: Headers, end: 'ok' | 'waiting'): void {
    if (this.opened) return
    this.#status = status
    this.#hash = createHash('sha256')
    this.#raw.writeHead(status, { ...headers, ...this.#attemptsHeader(end) })
  }

  /** Ids of providers and codes, nothing else. */
  #attemptsHeader(end: 'ok' | 'waiting' | 'request_rejected'): Headers {
    const now = this.#trying === null ? [] : [`${this.#trying}:${end}`]
    const all = [...this.#attempts, ...now]
    return all.length === 0 ? {} : { [ATTEMPTS]: all.join(',') }
  }

  /** Without a receipt there is no complete response. */
  #sealed(seal: Seal, bodyHash: string): void {
    try {
      seal(bodyHash)
    } catch (error) {
      this.#raw.destroy()
      throw error
    }
  }

  #count(chunk: Uint8Array): void {
    this.#hash?.update(chunk)
    this.#bytes += chunk.length
  }
}
