import { boxId, openBox, type ReplyKey } from './chutes-cipher.ts'
import { AnswerEnd } from './answer-end.ts'
import { EventLines } from './event-lines.ts'
import type { OpeningSink } from './seal.ts'
import { SendError, type ResponseSink } from './send.ts'

const MAX_LINE = 2 << 20
const MAX_BOXES = 1 << 20
const EMPTY = Buffer.alloc(0)
const DONE = Buffer.from('[DONE]')
const DONE_EVENT = Buffer.from('data: [DONE]\n\n')
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

/** Reads the body of an encrypted reply. */
export type Opening = Pick<OpeningSink, 'data' | 'end'>

/**
 * Decrypts a streamed reply: `{"e2e_init": ciphertext}`, then `{"e2e": box}` for each event of the answer.
 *
 * The relay writes the frames, so nothing outside a box is believed: its token counts are dropped and its `[DONE]`
 * counts only where the answer itself has ended. Boxes carry no number: one that comes twice is refused, one that
 * the relay drops or moves cannot be told (the protocol has nothing that would show it).
 */
export class ChutesStream implements Opening {
  readonly #sink: ResponseSink
  readonly #replyKey: ReplyKey
  readonly #maxBoxes: number
  readonly #lines = new EventLines(MAX_LINE)
  readonly #boxes = new Set<string>()
  readonly #answer = new AnswerEnd()
  #key: Buffer | null = null
  #resume: () => void = () => undefined

  constructor(sink: ResponseSink, replyKey: ReplyKey, maxBoxes = MAX_BOXES) {
    this.#sink = sink
    this.#replyKey = replyKey
    this.#maxBoxes = maxBoxes
  }

  data(chunk: Buffer, resume: () => void): boolean {
    this.#resume = resume
    return this.#feed(this.#lines.push(chunk))
  }

  end(): void {
    this.#feed(this.#lines.end())
  }

  #feed(frames: readonly Buffer[]): boolean {
    const events = Buffer.concat(frames.map((frame) => this.#event(frame)))
    return events.length === 0 || this.#sink.data(events, this.#resume)
  }

  /** What one frame of the relay adds to the answer. */
  #event(frame: Buffer): Buffer {
    if (frame.equals(DONE)) return this.#answer.finishes() ? DONE_EVENT : EMPTY
    const { e2e_init: init, e2e: box, ...rest } = parseFrame(frame)
    if (init !== undefined) this.#begin(fromBase64(init))
    else if (box !== undefined) return this.#open(fromBase64(box))
    // The relay's own count of tokens, for its bill.
    else if (!('usage' in rest) || 'choices' in rest) throw new SendError(unsealed(rest))
    return EMPTY
  }

  #begin(ciphertext: Buffer): void {
    if (this.#key !== null) throw new SendError('undecryptable')
    this.#key = this.#replyKey.open(ciphertext, 'e2e-stream-v1')
  }

  #open(box: Buffer): Buffer {
    if (this.#key === null) throw new SendError('undecryptable')
    const event = openBox(this.#key, box)
    const id = boxId(box)
    if (this.#boxes.has(id)) throw new SendError('undecryptable')
    if (this.#boxes.size === this.#maxBoxes) throw new SendError('too_large')
    this.#boxes.add(id)
    return this.#answer.read(terminated(event))
  }
}

/** An error in clear is the relay's, as a broken connection would be; an answer in clear is a downgrade. */
const unsealed = (frame: object): 'broken' | 'not_encrypted' =>
  'e2e_error' in frame || 'error' in frame ? 'broken' : 'not_encrypted'

function parseFrame(frame: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(frame.toString())
    if (typeof value === 'object' && value !== null) return { ...value }
  } catch {
    // Refused like anything else that is no frame; V8's own error quotes it.
  }
  throw new SendError('not_encrypted')
}

function fromBase64(value: unknown): Buffer {
  if (typeof value !== 'string' || !BASE64.test(value)) throw new SendError('undecryptable')
  return Buffer.from(value, 'base64')
}

/** An event ends with an empty line, which not every instance encrypts along. */
function terminated(event: Buffer): Buffer {
  if (event.length === 0 || event.subarray(-2).equals(Buffer.from('\n\n'))) return event
  return Buffer.concat([event, Buffer.from(event.at(-1) === 0x0a ? '\n' : '\n\n')])
}
