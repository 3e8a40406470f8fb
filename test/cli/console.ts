import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { run } from '../../cli/run.ts'
import type { Io } from '../../cli/io.ts'
import { fakeClock } from '../support/clock.ts'

export interface Outcome {
  readonly exit: number | null
  readonly out: string
  readonly err: string
}

/** Runs a command line in this process. */
export async function vouchgate(argv: readonly string[], io: Partial<Io> = {}): Promise<Outcome> {
  let out = ''
  let err = ''
  const exit = await run(argv, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    env: {},
    color: false,
    clock: fakeClock(),
    stdin: () => Readable.from([]),
    stopped: async () => undefined,
    ...io,
  })
  return { exit, out, err }
}

export const jsonOf = ({ out }: Outcome): unknown => JSON.parse(out)

const EXECUTABLE = fileURLToPath(new URL('../../bin/vouchgate.mjs', import.meta.url))

/** Runs a command line as a user does, through the executable. */
export async function spawned(argv: readonly string[]): Promise<Outcome> {
  const child = spawn(EXECUTABLE, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stdout.on('data', (text: Buffer) => {
    out += text.toString()
  })
  child.stderr.on('data', (text: Buffer) => {
    err += text.toString()
  })
  const [exit] = await once(child, 'close')
  return { exit: typeof exit === 'number' ? exit : null, out, err }
}

/** A command that goes on until it is told to stop. */
export interface Running {
  readonly child: ChildProcess
  /** Lines of standard output, and what came on standard error. */
  readonly output: string[]
  /** The first line that `matches`, as JSON; with `after`, of those behind so many. */
  readonly line: (matches: RegExp, after?: number) => Promise<Record<string, unknown>>
}

/** Runs a command line through the executable, with these variables and a PATH, until it is told to stop. */
export function running(
  argv: readonly string[],
  { cwd, env = {} }: { readonly cwd: string; readonly env?: Record<string, string> },
): Running {
  const child = spawn(EXECUTABLE, argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd,
    env: { PATH: process.env['PATH'], ...env },
  })
  const output: string[] = []
  child.stderr.on('data', (text: Buffer) => output.push(text.toString()))
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (text) => output.push(text))
  const line: Running['line'] = async (matches, after = 0) => {
    for (;;) {
      const found = output.slice(after).find((text) => matches.test(text))
      if (found !== undefined) return JSON.parse(found)
      await once(lines, 'line')
    }
  }
  return { child, output, line }
}
