import { SendError } from './send.ts'

const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const DATA = Buffer.from('data:')

/** Cuts a stream of server-sent events into the payloads of its `data:` lines; every other line is left out. */
export class EventLines {
  readonly #maxBytes: number
  #held: Buffer[] = []
  #length = 0

  /** @param maxBytes of one line; a longer one is `too_large`. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  push(chunk: Buffer): Buffer[] {
    const payloads: Buffer[] = []
    let from = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, from)) {
      this.#add(payloads, this.#line(chunk.subarray(from, end)))
      from = end + 1
    }
    this.#hold(chunk.subarray(from))
    return payloads
  }

  /** An unfinished last line still counts. */
  end(): Buffer[] {
    const payloads: Buffer[] = []
    this.#add(payloads, this.#line(Buffer.alloc(0)))
    return payloads
  }

  #add(payloads: Buffer[], line: Buffer): void {
    if (line.compare(DATA, 0, DATA.length, 0, Math.min(line.length, DATA.length)) !== 0) return
    const start = line[DATA.length] === SPACE ? DATA.length + 1 : DATA.length
    const end = line.at(-1) === CR ? line.length - 1 : line.length
    if (end > start) payloads.push(line.subarray(start, end))
  }

  #line(rest: Buffer): Buffer {
    this.#hold(rest)
    const line = this.#held.length === 1 ? (this.#held[0] ?? rest) : Buffer.concat(this.#held)
    this.#held = []
    this.#length = 0
    return line
  }

  #hold(part: Buffer): void {
    if (part.length === 0) return
    this.#length += part.length
    if (this.#length > this.#maxBytes) throw new SendError('too_large')
    this.#held.push(part)
  }
}
