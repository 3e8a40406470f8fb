import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
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

export type LoadTask = Question &
  (
    | { readonly kind: 'requests'; readonly connections: number; readonly ms: number }
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

async function requests(task: LoadTask, open: readonly Socket[]): Promise<Taken> {
  const request = requestBytes(task)
  const taken: number[] = []
  const ends = task.kind === 'requests' ? performance.now() + task.ms : Infinity
  const wanted = task.kind === 'count' ? task.requests : Infinity
  const again = (ms: number): boolean => {
    taken.push(ms)
    return performance.now() < ends && taken.length + open.length <= wanted
  }
  await Promise.all(open.map((socket) => closedLoop(socket, request, again)))
  return { times: taken, count: taken.length, failed: 0 }
}

interface Taken {
  /** Milliseconds; of streams until their first event. */
  readonly times: readonly number[]
  readonly count: number
  readonly failed: number
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

const KINDS = { requests, count: requests, streams, arrivals } as const

async function run(task: LoadTask): Promise<LoadResult> {
  const open = await sockets(task.origin, task.connections)
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const { times, count, failed } = await KINDS[task.kind](task, open)
  const ms = performance.now() - begun
  const { user, system } = process.cpuUsage(cpu)
  for (const socket of open) socket.destroy()
  return {
    perSecond: (1000 * times.length) / ms,
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    count,
    failed,
    busy: (user + system) / 1000 / ms,
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
