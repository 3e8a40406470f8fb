import type { Facts } from '../../enclave/index.ts'
import { ClusterError } from './error.ts'
import { Exchange } from './exchange.ts'
import {
  readFromWorker,
  type Answer,
  type Equipment,
  type FromLeader,
  type FromWorker,
  type LeaderQuestion,
  type Question,
  type WorkerAnswer,
} from './messages.ts'
import type { WorkerProcess } from './processes.ts'

/** Why the leader ends a worker. */
export type WorkerRefusal =
  | 'malformed_message'
  | 'too_many_questions'
  | 'config_changed'
  | 'facts_worse'
  | 'silent'

export interface Hello {
  readonly configDigest: string
  readonly facts: Facts
}

export interface LinkOptions {
  readonly process: WorkerProcess
  /** Null for what no worker may ask. Never rejects. */
  readonly answer: (question: Question, from: Link) => Promise<Answer> | null
  readonly onRefused: (reason: WorkerRefusal) => void
}

/** Questions of one worker at a time, all kinds together. A worker of ours asks fewer. */
const MAX_ASKED = 2048
const ANSWER_MS = 2000
/** Questions to one worker at a time: those of all others together. */
const LIMITS = { receipt: 256, session: 64, metrics: 4 }

/**
 * The leader's side of one worker. The network reaches a worker, so nothing that it says is believed: a message that is not
 * one of the few shapes, or not in its turn, ends it.
 */
export class Link {
  readonly number: number
  readonly pid: number
  readonly hello: Promise<Hello>
  /** The port that it listens on. */
  readonly serving: Promise<number>
  readonly ended: Promise<void>
  readonly #options: LinkOptions
  readonly #exchange = new Exchange<LeaderQuestion['kind'], WorkerAnswer>({
    limits: LIMITS,
    timeoutMs: ANSWER_MS,
  })
  readonly #hello = Promise.withResolvers<Hello>()
  readonly #serving = Promise.withResolvers<number>()
  readonly #ended = Promise.withResolvers<void>()
  #state: 'new' | 'greeted' | 'equipped' | 'serving' | 'ended' = 'new'
  #asked = 0

  constructor(options: LinkOptions) {
    const { process } = options
    this.#options = options
    this.number = process.number
    this.pid = process.pid
    this.hello = this.#hello.promise
    this.serving = this.#serving.promise
    this.ended = this.#ended.promise
    // Whoever waits for them is told; that nobody does is no failure of its own.
    for (const each of [this.hello, this.serving]) each.catch(() => undefined)
    process.onMessage((message) => this.#receive(readFromWorker(message)))
    process.onExit(() => this.#end())
  }

  get isServing(): boolean {
    return this.#state === 'serving'
  }

  /** From here on it holds the keys. */
  equip(equipment: Equipment): void {
    if (this.#state !== 'greeted') return
    this.#state = 'equipped'
    this.#options.process.send({ type: 'start', equipment })
  }

  /** Only to a worker that has been given what this goes on from. */
  push(message: Extract<FromLeader, { readonly type: 'keys' | 'round' }>): void {
    if (this.#state === 'equipped' || this.#state === 'serving') this.#options.process.send(message)
  }

  /** Null where it does not answer in time. */
  ask(question: LeaderQuestion): Promise<WorkerAnswer | null> {
    return this.#exchange.ask(question.kind, (id) =>
      this.#options.process.send({ type: 'ask', id, question }),
    )
  }

  drain(): void {
    if (this.#state === 'equipped' || this.#state === 'serving') {
      this.#options.process.send({ type: 'drain' })
    } else this.kill()
  }

  refuse(reason: WorkerRefusal): void {
    this.#options.onRefused(reason)
    this.kill()
  }

  kill(): void {
    this.#options.process.kill()
  }

  #receive(message: FromWorker | null): void {
    if (this.#state === 'ended') return
    if (message === null || !this.#isInTurn(message)) {
      this.refuse('malformed_message')
      return
    }
    switch (message.type) {
      case 'hello':
        this.#state = 'greeted'
        this.#hello.resolve(message)
        break
      case 'serving':
        this.#state = 'serving'
        this.#serving.resolve(message.port)
        break
      case 'failed': {
        const known = message.reason === 'listen_failed'
        this.#serving.reject(new ClusterError(known ? 'listen_failed' : 'worker_failed'))
        break
      }
      case 'ask':
        this.#answer(message.id, message.question)
        break
      case 'answer':
        this.#exchange.answered(message.id, message.answer)
        break
    }
  }

  #isInTurn({ type }: FromWorker): boolean {
    if (type === 'hello') return this.#state === 'new'
    if (type === 'serving' || type === 'failed') return this.#state === 'equipped'
    return this.#state === 'equipped' || this.#state === 'serving'
  }

  #answer(id: number, question: Question): void {
    const answering = this.#asked < MAX_ASKED ? this.#options.answer(question, this) : undefined
    if (answering == null) {
      this.refuse(answering === null ? 'malformed_message' : 'too_many_questions')
      return
    }
    void this.#sendWhenKnown(id, answering)
  }

  async #sendWhenKnown(id: number, answering: Promise<Answer>): Promise<void> {
    this.#asked++
    const answer = await answering
    this.#asked--
    if (this.#state !== 'ended') this.#options.process.send({ type: 'answer', id, answer })
  }

  #end(): void {
    this.#state = 'ended'
    this.#exchange.close()
    this.#hello.reject(new ClusterError('worker_failed'))
    this.#serving.reject(new ClusterError('worker_failed'))
    this.#ended.resolve()
  }
}
