import { GatewayError } from '../errors.ts'

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
  #held: Buffer = Buffer.alloc(0)
  #event = ''
  #data: string[] = []
  #length = 0
  #first = true

  push(chunk: Buffer): SseEvent[] {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const events: SseEvent[] = []
    let from = 0
    for (let at = this.#held.length; at < bytes.length; at++) {
      const byte = bytes[at]
      if (byte !== LF && byte !== CR) continue
      // A CR at the very end may be half of a CR LF; the empty line that the LF then makes ends no event twice.
      if (byte === LF && at > 0 && bytes[at - 1] === CR && from === at) {
        from = at + 1
        continue
      }
      this.#line(bytes.subarray(from, at), events)
      from = at + 1
    }
    this.#held = Buffer.from(bytes.subarray(from))
    if (this.#held.length + this.#length > MAX_EVENT) throw new GatewayError('upstream_malformed')
    return events
  }

  /** What the stream ended within. */
  end(): SseEvent[] {
    const events: SseEvent[] = []
    if (this.#held.length > 0) this.#line(this.#held, events)
    this.#held = Buffer.alloc(0)
    this.#dispatch(events)
    return events
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
      this.#length += value.length
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
