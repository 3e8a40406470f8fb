import { systemClock } from '../enclave/index.ts'
import type { Io } from './io.ts'
import { run } from './run.ts'

/** Colour for a person at a terminal who has not asked for none (no-color.org). */
const color = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === ''

const io: Io = {
  out: (text) => {
    process.stdout.write(text)
  },
  err: (text) => {
    process.stderr.write(text)
  },
  env: process.env,
  color,
  clock: systemClock,
  stopped: () =>
    new Promise((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
    }),
}

process.exitCode = await run(process.argv.slice(2), io)
