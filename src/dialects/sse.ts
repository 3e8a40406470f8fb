import { GatewayError } from '../errors.ts'
import { Gathered } from '../gathered.ts'

/** One server-sent event. */
export interface SseEvent {
  /** Of the `event:` field; empty where there is none. */
  readonly event: string
  /** The `data:` lines, joined with LF. */
  readonly data: string
}

const MAX_EVENT = 8 << 20
const LF = 0x0a
const CR = 0x0d
const BOM = '\uFEFF'

/**
 * Splits a stream of bytes, cut anywhere, into server-sent events: LF, CR LF and CR end a line, comments are passed over,
 * an event that the stream ends within still counts. At most 8 MiB are held. Throws `upstream_malformed`.
 */
export class SseParser {
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  /** An unfinished line. */
  readonly #held = new Gathered()
  #event = ''
  #data: string[] = []
  #length = 0
  #first = true
  /** The last byte so far was a CR; an LF after it belongs to the same end of line. */
  #afterCr = false

  push(chunk: Buffer): SseEvent[] {
    const events: SseEvent[] = []
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      const second = byte === LF && this.#afterCr
      this.#afterCr = byte === CR
      if (byte !== LF && byte !== CR) continue
      if (!second) this.#line(this.#whole(chunk.subarray(from, at)), events)
      from = at + 1
    }
    if (from < chunk.length) this.#held.push(chunk.subarray(from))
    this.#bound()
    return events
  }

  /** What the stream ended within. */
  end(): SseEvent[] {
    const events: SseEvent[] = []
    if (this.#held.length > 0) this.#line(this.#held.take(), events)
    this.#dispatch(events)
    return events
  }

  #whole(rest: Buffer): Buffer {
    if (this.#held.length === 0) return rest
    this.#held.push(rest)
    return this.#held.take()
  }

  #bound(): void {
    if (this.#held.length + this.#length > MAX_EVENT) throw new GatewayError('upstream_malformed')
  }

  #line(bytes: Buffer, events: SseEvent[]): void {
    const line = this.#decode(bytes)
    if (line === '') {
      this.#dispatch(events)
      return
    }
    const colon = line.indexOf(':')
    if (colon === 0) return
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') this.#event = value
    if (field === 'data') {
      this.#data.push(value)
      // Empty lines are held as well.
      this.#length += value.length + 1
      this.#bound()
    }
  }

  #decode(bytes: Buffer): string {
    let line: string
    try {
      line = this.#utf8.decode(bytes)
    } catch {
      throw new GatewayError('upstream_malformed')
    }
    const text = this.#first && line.startsWith(BOM) ? line.slice(1) : line
    this.#first = false
    return text
  }

  #dispatch(events: SseEvent[]): void {
    if (this.#data.length > 0) events.push({ event: this.#event, data: this.#data.join('\n') })
    this.#event = ''
    this.#data = []
    this.#length = 0
  }
}

/** A frame of one line of data, with the name of the event where the dialect gives one. */
export const sseFrame = (data: string, event?: string): string =>
  event === undefined ? `data: ${data}\n\n` : `event: ${event}\ndata: ${data}\n\n`
