import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { Agent, request } from 'undici'
import { startLeader } from '../../src/cluster/leader.ts'
import { isFromLeader, type FromLeader } from '../../src/cluster/messages.ts'
import type { LeaderPort, WorkerProcess } from '../../src/cluster/processes.ts'
import { runWorker } from '../../src/cluster/worker.ts'
import type { Config } from '../../src/config/index.ts'
import type { Gateway } from '../../src/gateway.ts'
import { pinoLogger } from '../../src/log.ts'
import type { Fact, QuoteSource } from '../../enclave/index.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import { createTeeVendor, type PcsServer, type TeeVendor } from '../support/tee-vendor.ts'
import { configFile, KEY, readConfig, type ConfigDocument } from './harness.ts'

/*
 * A leader and its workers in one process: what they say to each other goes through the same messages, and each worker has
 * an address of its own, so that a test can say which of them it asks.
 */

type Facts = Readonly<Record<string, Fact>>

/** One worker, its pipe in the hands of the test. */
interface WorkerEnd {
  readonly number: number
  /** Null until it serves. */
  url: string | null
  /** What the leader has said to it. */
  readonly heard: FromLeader[]
  /** Says something to the leader in its name. */
  readonly say: (message: unknown) => void
  /** As if the process had ended. */
  readonly end: (code: number | null, signal: string | null) => void
  killed: boolean
}

export interface ClusterOptions {
  readonly workers?: number
  readonly edit?: (file: ConfigDocument) => void
  readonly source?: (source: QuoteSource) => QuoteSource
  readonly leaderFacts?: Facts
  /** Of the worker with this number. */
  readonly workerFacts?: (number: number) => Facts
  readonly workerConfig?: (number: number, config: Config) => Config
  /** These have nobody behind their pipe but the test. */
  readonly silent?: (number: number) => boolean
}

export interface ClusterWorld {
  readonly clock: FakeClock
  readonly config: Config
  readonly vendor: TeeVendor
  readonly pcs: PcsServer
  readonly model: ModelServer
  readonly leader: Gateway
  /** The text that the admin listener shows at this path. */
  readonly admin: (path: string) => Promise<string>
  readonly workers: readonly WorkerEnd[]
  readonly logs: string[]
  /** Waits until this worker serves. */
  readonly url: (number: number) => Promise<string>
  call(worker: number, path: string, options?: CallOptions): Promise<Answer>
  readonly close: () => Promise<void>
}

interface CallOptions {
  readonly key?: string | null
  readonly body?: unknown
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}

/** Messages arrive later, in order, and as copies, as through a pipe. */
function pipe(): { send: (message: unknown) => void; listen: (to: (m: unknown) => void) => void } {
  const listeners: ((message: unknown) => void)[] = []
  const deliver = (message: unknown): void => {
    for (const listener of listeners) listener(message)
  }
  return {
    send: (message) => {
      const copy: unknown = structuredClone(message)
      setImmediate(() => deliver(copy))
    },
    listen: (listener) => void listeners.push(listener),
  }
}

interface Forking extends ClusterOptions {
  readonly config: Config
  readonly clock: FakeClock
  readonly logs: string[]
  readonly ends: WorkerEnd[]
}

function forkInProcess(options: Forking): WorkerProcess {
  const { config, clock, logs, ends } = options
  const number = ends.length + 1
  const down = pipe()
  const up = pipe()
  const exits: ((code: number | null, signal: string | null) => void)[] = []
  let ended = false
  const end: WorkerEnd['end'] = (code, signal) => {
    if (ended) return
    ended = true
    // A process that has ended takes its requests with it.
    down.send({ type: 'drain' })
    for (const exit of exits) exit(code, signal)
  }
  const worker: WorkerEnd = { number, url: null, heard: [], say: up.send, end, killed: false }
  ends.push(worker)
  const port: LeaderPort = {
    send: (message) => {
      if (message.type === 'serving') worker.url = `https://127.0.0.1:${message.port}`
      if (!ended) up.send(message)
    },
    onMessage: down.listen,
  }
  down.listen((message) => {
    if (isFromLeader(message)) worker.heard.push(message)
  })
  if (options.silent?.(number) !== true) {
    const log = pinoLogger({ write: (line) => void logs.push(line) }, number)
    runWorker(
      {
        config: options.workerConfig?.(number, config) ?? config,
        clock,
        log,
        facts: options.workerFacts?.(number) ?? {},
        jitter: () => 0,
        draw: () => 0,
        tickMs: 1_000_000,
      },
      port,
    ).then(
      () => setImmediate(end, 0, null),
      () => setImmediate(end, 1, null),
    )
  }
  return {
    number,
    pid: 1000 + number,
    send: (message) => {
      if (!ended) down.send(message)
    },
    onMessage: up.listen,
    onExit: (listener) => void exits.push(listener),
    kill: () => {
      worker.killed = true
      end(null, 'SIGKILL')
    },
  }
}

export async function startCluster(options: ClusterOptions = {}): Promise<ClusterWorld> {
  const clock = fakeClock()
  const vendor = createTeeVendor({ now: clock.now() })
  const pcs = await vendor.pcsServer()
  const model = await startModelServer({ vendor, clock, lifetimeSeconds: 7 * 86_400 })
  const closing = [() => pcs.close(), () => model.close()]
  const file = configFile(vendor, {
    model: model.origin,
    backup: model.origin,
    plain: 'http://127.0.0.1:1',
    plainBackup: 'http://127.0.0.1:1',
    pcs: pcs.url,
    rootCrl: pcs.rootCrlUrl,
  })
  // One provider, so that rounds can be counted.
  file.providers = file.providers.filter(({ id }) => id === 'tee')
  file.models = file.models.filter(({ name }) => name === 'secure')
  file.keys = file.keys.filter(({ id }) => id !== 'narrow')
  Object.assign(file.limits, { drain_seconds: 1 })
  options.edit?.(file)
  const config = readConfig({ ...file, workers: options.workers ?? 2 })
  const logs: string[] = []
  const ends: WorkerEnd[] = []
  const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
  try {
    const leader = await startLeader({
      config,
      source: options.source?.(vendor.quoteSource()) ?? vendor.quoteSource(),
      clock,
      log: pinoLogger({ write: (line) => void logs.push(line) }),
      facts: options.leaderFacts ?? {},
      jitter: () => 0,
      tickMs: 1_000_000,
      fork: () => forkInProcess({ ...options, config, clock, logs, ends }),
    })
    const url: ClusterWorld['url'] = async (number) => {
      for (;;) {
        const found = ends[number - 1]?.url
        if (found != null) return found
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    return {
      clock,
      config,
      vendor,
      pcs,
      model,
      leader,
      admin: async (path) => (await callAt(`${leader.adminUrl}${path}`, agent, {})).text,
      workers: ends,
      logs,
      url,
      call: async (worker, path, given = {}) => callAt((await url(worker)) + path, agent, given),
      close: async () => {
        await agent.destroy()
        await leader.close()
        await Promise.all(closing.map((close) => close()))
      },
    }
  } catch (error) {
    await agent.destroy()
    await Promise.all(closing.map((close) => close()))
    throw error
  }
}

async function callAt(
  url: string,
  agent: Agent,
  { key = KEY, body }: CallOptions,
): Promise<Answer> {
  const response = await request(url, {
    method: body === undefined ? 'GET' : 'POST',
    dispatcher: agent,
    headers: {
      'content-type': 'application/json',
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.body.text()
  return { status: response.statusCode, headers: response.headers, text }
}

/** Fingerprint of the certificate that a new connection is shown. */
export async function certificateAt(url: string): Promise<string> {
  const { hostname: host, port } = new URL(url)
  const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return fingerprint256
}
