import { execFileSync, fork, spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { cpus } from 'node:os'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { openConnection } from './raw-client.ts'

const children: ChildProcess[] = []
const CONDITIONS = '--conditions=vouchgate-source'
/** As in `enclave/launch-flags.txt`, for every server in Node, so that it is code that is compared. */
export const YOUNG = '--max-semi-space-size=64'

const fileOf = (name: string): string => new URL(name, import.meta.url).pathname

export interface Started<T> {
  readonly answer: T
  readonly pid: number
  /** Milliseconds until it was ready. */
  readonly readyMs: number
}

/** What is measured has the first core to itself; everything else shares the others. */
type Core = 'measured' | 'others'

const CORES: Readonly<Record<Core, string>> = {
  measured: '0',
  others: cpus().length === 2 ? '1' : `1-${cpus().length - 1}`,
}

/** Whether processes can be kept to a core here. */
export const PINNED = cpus().length > 1 && hasTaskset()

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function spawnOn(core: Core, [program, ...given]: readonly string[], stdio: StdioOptions) {
  if (program === undefined) throw new TypeError('no program')
  const child = PINNED
    ? spawn('taskset', ['-c', CORES[core], program, ...given], { stdio })
    : spawn(program, given, { stdio })
  children.push(child)
  return child
}

/** Starts a role of `servers.ts` in a process of its own. */
export async function startRole<T>(
  role: string,
  input: object,
  flags: readonly string[] = [],
): Promise<Started<T>> {
  const begun = performance.now()
  const given = [fileOf('servers.ts'), role, JSON.stringify(input)]
  const command = [process.execPath, CONDITIONS, YOUNG, ...flags, ...given]
  const core = role.toLowerCase().endsWith('upstream') ? 'others' : 'measured'
  const child = spawnOn(core, command, ['ignore', 'pipe', 'inherit'])
  if (child.stdout === null) throw new TypeError('no output')
  const [line]: string[] = await once(createInterface({ input: child.stdout }), 'line')
  const readyMs = performance.now() - begun
  return { answer: JSON.parse(line ?? ''), pid: child.pid ?? 0, readyMs }
}

/** What the role printed when it was ready. */
export const start = async <T>(role: string, input: object): Promise<T> =>
  (await startRole<T>(role, input)).answer

/** Starts a program of others and waits until it listens on `port`. */
export async function startProgram(
  command: readonly [string, ...string[]],
  port: number,
): Promise<Started<{ origin: string }>> {
  const begun = performance.now()
  const [program] = command
  const child = spawnOn('measured', command, 'ignore')
  child.on('error', () => undefined)
  const origin = `http://127.0.0.1:${port}`
  for (;;) {
    try {
      const socket = await openConnection(origin)
      socket.destroy()
      return { answer: { origin }, pid: child.pid ?? 0, readyMs: performance.now() - begun }
    } catch {
      if (performance.now() - begun > 20_000) throw new Error(`${program} does not listen`)
      await delay(20)
    }
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** A process of `load.ts`, which is given tasks one after another. */
export function startLoad<Result>(): (task: object) => Promise<Result> {
  const pinned = {
    execPath: 'taskset',
    execArgv: ['-c', CORES.others, process.execPath, CONDITIONS],
  }
  const child = fork(fileOf('load.ts'), PINNED ? pinned : { execArgv: [CONDITIONS] })
  children.push(child)
  return (task) =>
    new Promise((resolve, reject) => {
      child.once('message', ({ result, error }: { result?: Result; error?: string }) => {
        if (result === undefined) reject(new Error(error ?? 'no result'))
        else resolve(result)
      })
      child.send(task)
    })
}

/** Milliseconds of computing that a process has used, in all its threads. */
export function cpuMs(pid: number): number {
  const tasks = `/proc/${pid}/task`
  const spent = readdirSync(tasks).map((task) => {
    const [nanoseconds] = readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')
    return Number(nanoseconds)
  })
  return spent.reduce((sum, each) => sum + each, 0) / 1e6
}

/** Resident memory in MiB. */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
}

/** Stops one of them and waits until it has ended, and has written what it writes at its end. */
export async function stopped(pid: number): Promise<void> {
  const child = children.find((each) => each.pid === pid)
  if (child === undefined) throw new TypeError('no such process')
  const ended = once(child, 'exit')
  child.kill()
  await ended
}

export function stopAll(): void {
  for (const child of children) child.kill()
}
