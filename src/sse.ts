import type { CanonicalUsage } from './dialects/canonical.ts'
import type { Wire } from './wire.ts'

const MAX_LINE = 1 << 20
const EMPTY = Buffer.alloc(0)
const LF = 0x0a
const CR = 0x0d
const DATA = Buffer.from('data:')

/** What a chunk adds to the stream. */
export interface Passed {
  /** The complete lines that can go to the client. */
  readonly bytes: Buffer
  /** The last of them ends the stream; whatever follows is not part of the answer. */
  readonly done: boolean
}

/**
 * Watches a stream of server-sent events as it passes: the id of the answer, the usage, and whether it ends
 * as it should. Nothing is decoded that is not looked for.
 *
 * An unfinished line is held back, so that an error event can follow a break at any byte: after half a line
 * the client's parser would choke on the half and never see the error.
 */
export class SseTap {
  readonly #wire: Wire
  readonly #facts: ReturnType<Wire['facts']>
  #held: Buffer = EMPTY
  /** Within a line that was too long to hold, and has passed unread. */
  #skipping = false
  #chatId: string | null = null
  #usage: CanonicalUsage | null = null
  #failed = false

  constructor(wire: Wire) {
    this.#wire = wire
    this.#facts = wire.facts()
  }

  get chatId(): string | null {
    return this.#chatId
  }

  get usage(): CanonicalUsage | null {
    return this.#usage
  }

  /** The provider has sent an error event of its own. */
  get failed(): boolean {
    return this.#failed
  }

  push(chunk: Buffer): Passed {
    const whole = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    // The held part has no line end, so the search need not begin anew.
    let end = lineEnd(whole, this.#held.length)
    let from = 0
    while (end !== -1) {
      const done = !this.#skipping && this.#read(whole.subarray(from, end))
      this.#skipping = false
      from = end + 1
      if (done) return { bytes: whole.subarray(0, from), done }
      end = lineEnd(whole, from)
    }
    this.#held = whole.subarray(from)
    if (this.#held.length <= MAX_LINE) return { bytes: whole.subarray(0, from), done: false }
    this.#held = EMPTY
    this.#skipping = true
    return { bytes: whole, done: false }
  }

  /** At a clean end of the stream: an unfinished last line still counts. */
  end(): Passed {
    const bytes = this.#held
    this.#held = EMPTY
    return { bytes, done: this.#read(bytes) }
  }

  #read(line: Buffer): boolean {
    if (!startsWith(line, DATA)) return false
    const data = line.subarray(line[DATA.length] === 0x20 ? DATA.length + 1 : DATA.length)
    const { isDone, isFailure, usageMark } = this.#wire
    const done = isDone(data)
    if (!done && isFailure(data)) this.#failed = true
    if (this.#chatId === null || data.includes(usageMark)) this.#readFrame(data)
    return done
  }

  #readFrame(json: Buffer): void {
    const facts = this.#facts(json)
    this.#chatId ??= facts?.id ?? null
    this.#usage = facts?.usage ?? this.#usage
  }
}

const lineEnd = (chunk: Buffer, from: number): number => {
  const lf = chunk.indexOf(LF, from)
  // A lone CR ends a line too; CR LF gives an empty line more, which means nothing here.
  const cr = lf === -1 ? chunk.indexOf(CR, from) : chunk.subarray(from, lf).indexOf(CR)
  if (cr === -1) return lf
  return lf === -1 ? cr : from + cr
}

const startsWith = (bytes: Buffer, prefix: Buffer): boolean =>
  bytes.length >= prefix.length && bytes.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
