import type { Clock } from '@vouchgate/attestation'
import { worstFacts, type Facts } from '../../enclave/index.ts'
import type { Logger } from '../log.ts'
import { Breaker } from '../upstream/breaker.ts'
import { ClusterError } from './error.ts'
import { Link, type LinkOptions } from './link.ts'
import type { Equipment, FromLeader, PeerAnswer, PeerQuestion } from './messages.ts'
import type { WorkerProcess } from './processes.ts'

export interface CrewOptions extends Pick<LinkOptions, 'answer'> {
  readonly count: number
  readonly fork: () => WorkerProcess
  readonly configDigest: string
  readonly clock: Clock
  readonly log: Logger
  /** A worker that was serving has ended without being told to. */
  readonly onLost: (link: Link) => void
}

interface Orders {
  readonly equipment: () => Equipment
  /** What the keyset says of every process that has its keys. */
  readonly facts: Facts
}

/** For a worker to say what it is, and again to begin to serve. */
const START_MS = 60_000
/** A worker that has served so long did not fail for what made its predecessor fail. */
const SETTLED_SECONDS = 60
/** For what a worker has to close beside its requests. */
const CLOSING_MS = 5_000

/** The workers: started, given their keys, watched, replaced, drained. */
export class Crew {
  readonly #options: CrewOptions
  readonly #links = new Set<Link>()
  readonly #orders = Promise.withResolvers<Orders>()
  /** The first replacement is immediate; what keeps ending is started less and less often. */
  readonly #breaker: Breaker
  #settledAt = Infinity
  #open = false
  #closing = false

  constructor(options: CrewOptions) {
    this.#options = options
    this.#breaker = new Breaker({ clock: options.clock, unpunished: 1 })
  }

  /** Starts all of them. What each says of itself; rejects with `ClusterError` where one ends before it has. */
  async muster(): Promise<readonly Facts[]> {
    for (let count = 0; count < this.#options.count; count++) this.#start()
    if (this.#links.size < this.#options.count) throw new ClusterError('worker_failed')
    return Promise.all([...this.#links].map(async ({ hello }) => (await hello).facts))
  }

  /** Gives every worker what it serves with, those that come later too. The port, once all serve; rejects with `ClusterError`. */
  async serve(orders: Orders): Promise<number> {
    this.#orders.resolve(orders)
    const [port = 0] = await Promise.all([...this.#links].map(({ serving }) => serving))
    this.#open = true
    return port
  }

  get serving(): readonly Link[] {
    return [...this.#links].filter(({ isServing }) => isServing)
  }

  push(message: Extract<FromLeader, { readonly type: 'keys' | 'round' }>): void {
    for (const link of this.#links) link.push(message)
  }

  /** Whether one of the other workers holds it: the first document that comes. */
  async askOthers(question: PeerQuestion, from: Link): Promise<PeerAnswer> {
    const others = this.serving.filter((link) => link !== from)
    const { promise: found, resolve } = Promise.withResolvers<PeerAnswer>()
    const asking = others.map(async (link) => {
      const answer = await link.ask(question)
      if (answer?.kind === 'document' && answer.json !== null) resolve(answer)
      return answer?.kind === 'document'
    })
    const nowhere = Promise.all(asking).then((answered): PeerAnswer =>
      answered.every(Boolean) ? { kind: 'document', json: null } : { kind: 'unknown' },
    )
    return Promise.race([found, nowhere])
  }

  /** Replaces those that have ended, if it is time to. */
  tick(): void {
    if (this.#closing || !this.#open) return
    if (this.#options.clock.now() >= this.#settledAt) this.#breaker.succeeded()
    const missing = this.#options.count - this.#links.size
    for (let count = 0; count < missing && this.#breaker.waitSeconds === null; count++)
      this.#start()
  }

  /** Lets running requests end within so many seconds, then ends all. */
  async close(drainSeconds: number): Promise<void> {
    this.#closing = true
    const ending = [...this.#links]
    const deadline = setTimeout(
      () => {
        for (const link of ending) link.kill()
      },
      1000 * drainSeconds + CLOSING_MS,
    )
    for (const link of ending) link.drain()
    await Promise.all(ending.map(({ ended }) => ended))
    clearTimeout(deadline)
  }

  #start(): void {
    const { answer, log } = this.#options
    const process = this.#fork()
    if (process === null) return
    const { number: worker, pid } = process
    const onRefused: LinkOptions['onRefused'] = (reason) =>
      log({ event: 'worker_refused', worker, reason })
    const link = new Link({ process, answer, onRefused })
    this.#links.add(link)
    process.onExit((code, signal) => this.#lost(link, code, signal))
    log({ event: 'worker_started', worker, pid })
    // Where it rejects the worker has ended, or will at once: its end is what is acted on.
    this.#enlist(link).catch(() => link.kill())
  }

  /** Null where the machine has no room for another process: it is tried again like one that ended. */
  #fork(): WorkerProcess | null {
    try {
      return this.#options.fork()
    } catch {
      this.#options.log({ event: 'worker_start_failed' })
      this.#breaker.failed()
      return null
    }
  }

  /**
   * The keys go to a worker that runs what was attested: of the same configuration, and with nothing that the keyset says is
   * ruled out. A file that was changed after the start, or a guest that has got a swap file since, must not get them.
   */
  async #enlist(link: Link): Promise<void> {
    const { configDigest, facts } = await inTime(link, link.hello)
    if (configDigest !== this.#options.configDigest) return link.refuse('config_changed')
    const orders = await this.#orders.promise
    const together = worstFacts([orders.facts, facts])
    const worse = Object.keys(together).some((fact) => together[fact] !== orders.facts[fact])
    if (worse) return link.refuse('facts_worse')
    link.equip(orders.equipment())
    await inTime(link, link.serving)
    this.#settledAt = this.#options.clock.now() + SETTLED_SECONDS
    this.#options.log({ event: 'worker_serving', worker: link.number })
  }

  #lost(link: Link, code: number | null, signal: string | null): void {
    this.#links.delete(link)
    if (this.#closing) return
    this.#options.log({ event: 'worker_ended', worker: link.number, code, signal })
    this.#options.onLost(link)
    this.#settledAt = Infinity
    this.#breaker.failed()
    this.tick()
  }
}

async function inTime<T>(link: Link, waiting: Promise<T>): Promise<T> {
  const late = setTimeout(() => link.refuse('silent'), START_MS)
  try {
    return await waiting
  } finally {
    clearTimeout(late)
  }
}
