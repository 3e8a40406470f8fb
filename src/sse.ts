import { jsonMembers } from './json-members.ts'

/** Token counts as the provider states them. */
export interface Usage {
  readonly prompt: number
  readonly completion: number
}

const MAX_LINE = 1 << 20
const EMPTY = Buffer.alloc(0)
const LF = 0x0a
const CR = 0x0d
const USAGE = Buffer.from('"usage"')
const ERROR = Buffer.from('{"error"')
const DATA = Buffer.from('data:')
const DONE = Buffer.from('[DONE]')

/** What a chunk adds to the stream. */
export interface Passed {
  /** The complete lines that can go to the client. */
  readonly bytes: Buffer
  /** The last of them says `[DONE]`; whatever follows is not part of the answer. */
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
  #held: Buffer = EMPTY
  /** Within a line that was too long to hold, and has passed unread. */
  #skipping = false
  #chatId: string | null = null
  #usage: Usage | null = null
  #failed = false

  get chatId(): string | null {
    return this.#chatId
  }

  get usage(): Usage | null {
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
    if (!startsWith(line, DATA, 0)) return false
    const at = line[DATA.length] === 0x20 ? DATA.length + 1 : DATA.length
    if (startsWith(line, DONE, at)) return line.length === at + DONE.length
    if (startsWith(line, ERROR, at)) this.#failed = true
    if (this.#chatId === null || line.includes(USAGE)) this.#readFrame(line.subarray(at))
    return false
  }

  #readFrame(json: Buffer): void {
    const facts = answerFacts(json)
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

const startsWith = (bytes: Buffer, prefix: Buffer, at: number): boolean =>
  bytes.length >= at + prefix.length &&
  bytes.compare(prefix, 0, prefix.length, at, at + prefix.length) === 0

export interface AnswerFacts {
  readonly id: string | null
  readonly usage: Usage | null
}

/** The `id` and `usage` of a completion or of one chunk; nothing else is decoded. Null where it is no JSON object. */
export function answerFacts(json: Buffer): AnswerFacts | null {
  let id: string | null = null
  let usage: Usage | null = null
  try {
    for (const { name, valueStart, end } of jsonMembers(json)) {
      if (name !== 'id' && name !== 'usage') continue
      const value: unknown = JSON.parse(json.toString('utf8', valueStart, end))
      if (name === 'usage') usage = readUsage(value)
      else id = typeof value === 'string' ? value : null
    }
  } catch {
    return null
  }
  return { id, usage }
}

function readUsage(value: unknown): Usage | null {
  if (typeof value !== 'object' || value === null) return null
  const prompt = 'prompt_tokens' in value ? count(value.prompt_tokens) : 0
  const completion = 'completion_tokens' in value ? count(value.completion_tokens) : 0
  return { prompt, completion }
}

const count = (value: unknown): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0
