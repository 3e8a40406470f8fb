import { randomUUID } from 'node:crypto'
import { Enclave, selfCheck } from '../../enclave/index.ts'
import { buildApp } from '../app.ts'
import type { Context } from '../context.ts'
import type { GatewayOptions } from '../gateway.ts'
import { isListenError } from '../listen-error.ts'
import { Metrics } from '../metrics.ts'
import { measure } from '../routes/state.ts'
import { buildContext, RunningServer } from '../serving.ts'
import { LeaderClient } from './leader-client.ts'
import {
  isFromLeader,
  type Equipment,
  type FromLeader,
  type LeaderQuestion,
  type Round,
  type WorkerAnswer,
} from './messages.ts'
import type { LeaderPort } from './processes.ts'
import { WorkerRounds } from './rounds.ts'

export type WorkerOptions = Omit<GatewayOptions, 'source' | 'recordTo'>

interface Serving {
  readonly context: Context
  readonly server: RunningServer
}

/**
 * A process that serves. It tells the leader what it is, is given keys, and has what it serves with asked of the leader; what
 * it sends prompts to it has verified itself. Resolves once it has drained; rejects where it cannot serve.
 */
export async function runWorker(options: WorkerOptions, port: LeaderPort): Promise<void> {
  const worker = new Worker(options, port)
  port.onMessage((message) => {
    if (isFromLeader(message)) worker.receive(message)
  })
  const { facts = selfCheck().facts, config } = options
  port.send({ type: 'hello', configDigest: config.digest, facts })
  await worker.done
}

class Worker {
  readonly done: Promise<void>
  readonly #options: WorkerOptions
  readonly #port: LeaderPort
  readonly #leader: LeaderClient
  readonly #rounds: WorkerRounds
  readonly #done = Promise.withResolvers<void>()
  #enclave: Enclave | null = null
  #serving: Promise<Serving> | null = null

  constructor(options: WorkerOptions, port: LeaderPort) {
    this.#options = options
    this.#port = port
    const leader = new LeaderClient(port, options.config.enclave.max_waiting_quotes)
    this.#leader = leader
    this.#rounds = new WorkerRounds({ ask: (provider, after) => leader.round(provider, after) })
    this.done = this.#done.promise
  }

  receive(message: FromLeader): void {
    switch (message.type) {
      case 'start':
        this.#start(message.equipment)
        break
      case 'keys':
        this.#enclave?.take(message.handed)
        break
      case 'round':
        void this.#take(message.round)
        break
      case 'ask':
        void this.#answer(message.id, message.question)
        break
      case 'answer':
        this.#leader.answered(message.id, message.answer)
        break
      case 'drain':
        void this.#drain()
        break
    }
  }

  #start(equipment: Equipment): void {
    const { clock } = this.#options
    // At once, so that keys that are sent while the rest is built are not missed.
    const enclave = Enclave.ofWorker({
      clock,
      handed: equipment.handed,
      report: (nonce) => this.#leader.report(nonce),
    })
    this.#enclave = enclave
    const serving = this.#serve(enclave, equipment)
    this.#serving = serving
    serving.catch((error: unknown) => {
      const reason = isListenError(error) ? 'listen_failed' : 'internal'
      this.#port.send({ type: 'failed', reason })
      this.#done.reject(error)
    })
  }

  async #serve(enclave: Enclave, { tenantSecret, rounds }: Equipment): Promise<Serving> {
    const { config, tickMs = 1000 } = this.#options
    const leader = this.#leader
    const context = await buildContext(this.#options, {
      enclave,
      metrics: new Metrics(),
      verify: this.#rounds.verify,
      collateral: { source: () => leader.collateral() },
      peers: leader,
      tenantSecret,
      instance: randomUUID(),
    })
    // Before the first connection: a session that a client has pinned must be here as it is in the others.
    for (const round of rounds) await this.#rounds.take(round, context.sessions)
    const app = buildApp(context)
    const url = await app.listen({ host: config.listen.host, port: config.listen.port })
    const server = new RunningServer({
      context,
      app,
      tickMs,
      // When to verify is for the leader to say.
      duties: async () => context.sessions.sweep(),
      alsoClose: async () => undefined,
    })
    this.#port.send({ type: 'serving', port: Number(new URL(url).port) })
    return { context, server }
  }

  async #take(round: Round): Promise<void> {
    const serving = await this.#serving?.catch(() => null)
    if (serving != null) await this.#rounds.take(round, serving.context.sessions)
  }

  async #answer(id: number, question: LeaderQuestion): Promise<void> {
    const serving = await this.#serving?.catch(() => null)
    const answer: WorkerAnswer =
      serving == null ? { kind: 'unknown' } : await answerTo(question, serving.context)
    this.#port.send({ type: 'answer', id, answer })
  }

  async #drain(): Promise<void> {
    const serving = await this.#serving?.catch(() => null)
    await serving?.server.close()
    this.#done.resolve()
  }
}

async function answerTo(question: LeaderQuestion, context: Context): Promise<WorkerAnswer> {
  switch (question.kind) {
    case 'metrics':
      measure(context)
      return { kind: 'metrics', samples: context.metrics.samples() }
    case 'receipt':
      return document(context.receipts.find(question.id, question.credential))
    case 'session':
      return document(await context.store.document(question.id))
  }
}

const document = (found: object | null): WorkerAnswer => ({
  kind: 'document',
  json: found === null ? null : JSON.stringify(found),
})
