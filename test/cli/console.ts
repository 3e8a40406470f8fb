import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { once } from 'node:events'
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

export const EXECUTABLE = fileURLToPath(new URL('../../bin/vouchgate.mjs', import.meta.url))

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
