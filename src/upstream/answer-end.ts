import { EventLines } from './event-lines.ts'

const MAX_LINE = 2 << 20
const DONE = Buffer.from('[DONE]')

/** Watches the decrypted events of an answer for its own end: every choice has said why it finished, or `[DONE]`. */
export class AnswerEnd {
  readonly #lines = new EventLines(MAX_LINE)
  readonly #running = new Set<number>()
  #began = false
  #done = false

  /** Gives the events back as they are. */
  read(events: Buffer): Buffer {
    for (const payload of this.#lines.push(events)) {
      if (payload.equals(DONE)) this.#done = true
      else this.#readChoices(payload)
    }
    return events
  }

  /** Whether a `[DONE]` that nobody vouches for is to be added: the answer is whole and has not said so itself. */
  finishes(): boolean {
    if (this.#done || !this.#began || this.#running.size > 0) return false
    this.#done = true
    return true
  }

  #readChoices(json: Buffer): void {
    for (const { index, finished } of choicesOf(json)) {
      this.#began = true
      if (finished) this.#running.delete(index)
      else this.#running.add(index)
    }
  }
}

interface Choice {
  readonly index: number
  readonly finished: boolean
}

function choicesOf(json: Buffer): Choice[] {
  const value = parse(json)
  if (typeof value !== 'object' || value === null || !('choices' in value)) return []
  const { choices } = value
  if (!Array.isArray(choices)) return []
  return choices.map((choice: unknown, position) => ({
    index: Number(member(choice, 'index') ?? position),
    finished: typeof member(choice, 'finish_reason') === 'string',
  }))
}

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined

function parse(json: Buffer): unknown {
  try {
    return JSON.parse(json.toString())
  } catch {
    return null
  }
}
