export interface ExchangeOptions<Kind extends string> {
  /** How many questions of each kind may wait for their answers. */
  readonly limits: Readonly<Record<Kind, number>>
  /** After which a question counts as unanswered; null where the other side always answers or ends. */
  readonly timeoutMs: number | null
}

interface Waiting<Answer> {
  readonly kind: string
  readonly settle: (answer: Answer | null) => void
}

/** Questions to one other process that wait for their answers. */
export class Exchange<Kind extends string, Answer> {
  readonly #options: ExchangeOptions<Kind>
  readonly #waiting = new Map<number, Waiting<Answer>>()
  #next = 1

  constructor(options: ExchangeOptions<Kind>) {
    this.#options = options
  }

  /** Null where too many wait already, and where no answer has come in time. */
  ask(kind: Kind, send: (id: number) => void): Promise<Answer | null> {
    const { limits, timeoutMs } = this.#options
    const alike = [...this.#waiting.values()].filter((each) => each.kind === kind)
    if (alike.length >= limits[kind]) return Promise.resolve(null)
    const id = this.#next++
    const { promise, resolve } = Promise.withResolvers<Answer | null>()
    const timer = timeoutMs === null ? null : setTimeout(() => this.answered(id, null), timeoutMs)
    const settle = (answer: Answer | null): void => {
      if (timer !== null) clearTimeout(timer)
      resolve(answer)
    }
    this.#waiting.set(id, { kind, settle })
    send(id)
    return promise
  }

  /** An answer that nobody waits for, or no longer, is passed over. */
  answered(id: number, answer: Answer | null): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    waiting?.settle(answer)
  }

  /** The other side has ended. */
  close(): void {
    for (const id of this.#waiting.keys()) this.answered(id, null)
  }
}
