import type { Socket } from 'node:net'
import {
  closedLoop,
  openConnection,
  readStream,
  requestBytes,
  type Question,
} from './raw-client.ts'

/*
 * The load generator, in a process of its own. Says of every round how much of one core it used itself: near 1 it is
 * the generator that was measured.
 */

export type LoadTask = Question &
  (
    | { readonly kind: 'requests'; readonly connections: number; readonly ms: number }
    | { readonly kind: 'count'; readonly connections: number; readonly requests: number }
    | { readonly kind: 'streams'; readonly connections: number; readonly each: number }
  )

export interface LoadResult {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  /** Milliseconds per event; of streams. */
  readonly perEvent: number
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

async function requests(task: LoadTask, open: readonly Socket[]): Promise<number[][]> {
  const request = requestBytes(task)
  const taken: number[] = []
  const ends = task.kind === 'requests' ? performance.now() + task.ms : Infinity
  const wanted = task.kind === 'count' ? task.requests : Infinity
  const again = (ms: number): boolean => {
    taken.push(ms)
    return performance.now() < ends && taken.length + open.length <= wanted
  }
  await Promise.all(open.map((socket) => closedLoop(socket, request, again)))
  return [taken, [0]]
}

async function streams(task: LoadTask, open: readonly Socket[]): Promise<number[][]> {
  const request = requestBytes(task)
  const firsts: number[] = []
  const gaps: number[] = []
  let failed = 0
  for (let round = 0; round < (task.kind === 'streams' ? task.each : 1); round++) {
    for (const socket of open) socket.removeAllListeners('data')
    const asked = await Promise.all(open.map((socket) => readStream(socket, request)))
    const read = asked.filter((one) => one !== null)
    failed += asked.length - read.length
    firsts.push(...read.map(({ first }) => first))
    gaps.push(...read.map(({ first, whole, events }) => (whole - first) / (events - 1)))
  }
  return [firsts, gaps, [failed]]
}

async function run(task: LoadTask): Promise<LoadResult> {
  const open = await sockets(task.origin, task.connections)
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const [taken = [], gaps = [], [failed = 0] = []] = await (
    task.kind === 'streams' ? streams : requests
  )(task, open)
  const ms = performance.now() - begun
  const { user, system } = process.cpuUsage(cpu)
  for (const socket of open) socket.destroy()
  return {
    perSecond: (1000 * taken.length) / ms,
    p50: quantile(taken, 0.5),
    p99: quantile(taken, 0.99),
    perEvent: quantile(gaps, 0.5),
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
