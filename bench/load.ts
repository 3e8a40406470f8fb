import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { cpuMs } from './processes.ts'
import {
  closedLoop,
  openConnection,
  readStream,
  requestBytes,
  type Question,
  type StreamTimes,
} from './raw-client.ts'

/*
 * The load generator, in a process of its own. Says of every round how much of one core it used itself: near 1 it is
 * the generator that was measured.
 */

export type LoadTask = Question & {
  /** Of what is asked. */
  readonly pid: number
} & (
    | {
        readonly kind: 'requests'
        readonly connections: number
        /** Before it counts: connections to the upstream are made anew after a silence. */
        readonly leadMs: number
        readonly ms: number
      }
    | { readonly kind: 'count'; readonly connections: number; readonly requests: number }
    | { readonly kind: 'streams'; readonly connections: number }
    | {
        /** A new stream at fixed times, whether or not those before have ended. */
        readonly kind: 'arrivals'
        readonly connections: number
        readonly perSecond: number
        readonly ms: number
      }
  )

export interface LoadResult {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  /** Requests, or events of streams. */
  readonly count: number
  /** Of one core. */
  readonly busy: number
  /** Microseconds of computing of what was asked, for each that was counted. */
  readonly cpuUs: number
  /** Streams that did not come to their end. */
  readonly failed: number
}

const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(share * (values.length - 1))] ?? 0

async function sockets(origin: string, count: number): Promise<Socket[]> {
  const open: Socket[] = []
  for (let at = 0; at < count; at += 50) {
    const wanted = Math.min(50, count - at)
    open.push(...(await Promise.all(Array.from({ length: wanted }, () => openConnection(origin)))))
  }
  return open
}

interface Taken {
  /** Milliseconds; of streams until their first event. */
  readonly times: readonly number[]
  readonly count: number
  readonly failed: number
}

/** Time and computing from a moment on. */
class Meter {
  readonly #pid: number
  #begun = 0
  #own = process.cpuUsage()
  #asked = 0

  constructor(pid: number) {
    this.#pid = pid
    this.start()
  }

  start(): void {
    this.#begun = performance.now()
    this.#own = process.cpuUsage()
    this.#asked = cpuMs(this.#pid)
  }

  read() {
    const ms = performance.now() - this.#begun
    const { user, system } = process.cpuUsage(this.#own)
    return { ms, busy: (user + system) / 1000 / ms, askedMs: cpuMs(this.#pid) - this.#asked }
  }
}

/** For a time, after a lead. */
async function requests(task: LoadTask, open: readonly Socket[], meter: Meter): Promise<Taken> {
  if (task.kind !== 'requests') throw new TypeError('not requests')
  const request = requestBytes(task)
  const times: number[] = []
  const begins = performance.now() + task.leadMs
  let counts = false
  const again = (taken: number): boolean => {
    const now = performance.now()
    if (counts) times.push(taken)
    else if (now >= begins) {
      counts = true
      meter.start()
    }
    return now < begins + task.ms
  }
  await Promise.all(open.map((socket) => closedLoop(socket, request, again)))
  return { times, count: times.length, failed: 0 }
}

async function counted(task: LoadTask, open: readonly Socket[]): Promise<Taken> {
  if (task.kind !== 'count') throw new TypeError('not a count')
  const request = requestBytes(task)
  const times: number[] = []
  const again = (taken: number): boolean => times.push(taken) + open.length <= task.requests
  await Promise.all(open.map((socket) => closedLoop(socket, request, again)))
  return { times, count: times.length, failed: 0 }
}

const takenBy = (asked: readonly (StreamTimes | null)[]): Taken => {
  const read = asked.filter((one) => one !== null)
  return {
    times: read.map(({ first }) => first),
    count: read.reduce((sum, { events }) => sum + events, 0),
    failed: asked.length - read.length,
  }
}

/** All at once. */
async function streams(task: LoadTask, open: readonly Socket[]): Promise<Taken> {
  const request = requestBytes(task)
  return takenBy(await Promise.all(open.map((socket) => readStream(socket, request))))
}

async function arrivals(task: LoadTask, open: readonly Socket[]): Promise<Taken> {
  if (task.kind !== 'arrivals') throw new TypeError('not arrivals')
  const request = requestBytes(task)
  const idle = [...open]
  const asked: Promise<StreamTimes | null>[] = []
  const begun = performance.now()
  for (let number = 0; number < (task.perSecond * task.ms) / 1000; number++) {
    const due = begun + (1000 * number) / task.perSecond
    await delay(Math.max(0, due - performance.now()))
    const socket = idle.shift()
    if (socket === undefined) throw new Error('more streams at a time than connections')
    const stream = readStream(socket, request)
    asked.push(stream)
    void stream.then(() => idle.push(socket))
  }
  return takenBy(await Promise.all(asked))
}

const KINDS = { requests, count: counted, streams, arrivals } as const

async function run(task: LoadTask): Promise<LoadResult> {
  const open = await sockets(task.origin, task.connections)
  const meter = new Meter(task.pid)
  const { times, count, failed } = await KINDS[task.kind](task, open, meter)
  const { ms, busy, askedMs } = meter.read()
  for (const socket of open) socket.destroy()
  return {
    perSecond: (1000 * times.length) / ms,
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    count,
    failed,
    busy,
    cpuUs: (1000 * askedMs) / count,
  }
}

if (import.meta.main) {
  process.on('message', (task: LoadTask) => {
    void run(task).then(
      (result) => process.send?.({ result }),
      (error: unknown) => process.send?.({ error: String(error) }),
    )
  })
}
