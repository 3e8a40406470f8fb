import type { CanonicalUsage } from './dialects/canonical.ts'
import { Gathered } from './gathered.ts'
import { classifyStatus, type StatusClass } from './upstream/classify.ts'
import { startsWith, type Wire } from './wire.ts'

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
  readonly #held = new Gathered()
  /** Within a line that was too long to hold, and has passed unread. */
  #skipping = false
  #chatId: string | null = null
  #usage: CanonicalUsage | null = null
  #failure: StatusClass | null = null
  #content = false

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

  /** What an error event of the provider's own means, once it has sent one. */
  get failure(): StatusClass | null {
    return this.#failure
  }

  /** Something of the answer has come, as opposed to what a stream starts with. */
  get content(): boolean {
    return this.#content
  }

  push(chunk: Buffer): Passed {
    // Of the two ends of lines most streams have one.
    const cr = chunk.includes(CR)
    let end = lineEnd(chunk, 0, cr)
    if (end === -1) return this.#hold(chunk)
    // The held part has no line end.
    const before = this.#held.length
    const whole = before === 0 ? chunk : this.#joined(chunk)
    end += before
    let from = 0
    while (end !== -1) {
      const done = !this.#skipping && this.#read(whole.subarray(from, end))
      this.#skipping = false
      from = end + 1
      if (done) return { bytes: whole.subarray(0, from), done }
      end = lineEnd(whole, from, cr)
    }
    const { bytes } = this.#hold(whole.subarray(from))
    const lines = whole.subarray(0, from)
    return { bytes: bytes.length === 0 ? lines : Buffer.concat([lines, bytes]), done: false }
  }

  /** At a clean end of the stream: an unfinished last line still counts. */
  end(): Passed {
    const bytes = this.#held.take()
    return { bytes, done: this.#read(bytes) }
  }

  #joined(chunk: Buffer): Buffer {
    this.#held.push(chunk)
    return this.#held.take()
  }

  #hold(rest: Buffer): Passed {
    if (this.#skipping) return { bytes: rest, done: false }
    this.#held.push(rest)
    if (this.#held.length <= MAX_LINE) return { bytes: EMPTY, done: false }
    this.#skipping = true
    this.#content = true
    return { bytes: this.#held.take(), done: false }
  }

  #read(line: Buffer): boolean {
    if (!startsWith(line, DATA)) return false
    const data = line.subarray(line[DATA.length] === 0x20 ? DATA.length + 1 : DATA.length)
    const { isDone, isFailure, failureStatus, hasContent, usageMark } = this.#wire
    const done = isDone(data)
    if (!done && isFailure(data)) this.#failure = classifyStatus(failureStatus(data))
    else if (!done && !this.#content) this.#content = hasContent(data)
    if (this.#chatId === null || data.includes(usageMark)) this.#readFrame(data)
    return done
  }

  #readFrame(json: Buffer): void {
    const facts = this.#facts(json)
    this.#chatId ??= facts?.id ?? null
    this.#usage = facts?.usage ?? this.#usage
  }
}

function lineEnd(chunk: Buffer, from: number, mayBeCr: boolean): number {
  const lf = chunk.indexOf(LF, from)
  if (!mayBeCr) return lf
  // A lone CR ends a line too; CR LF gives an empty line more, which means nothing here.
  const cr = lf === -1 ? chunk.indexOf(CR, from) : chunk.subarray(from, lf).indexOf(CR)
  if (cr === -1) return lf
  return lf === -1 ? cr : from + cr
}
