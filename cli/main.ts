import { systemClock } from '../enclave/index.ts'
import { EXIT } from './exit.ts'
import type { Io } from './io.ts'
import { run } from './run.ts'

/** Colour for a person at a terminal who has not asked for none (no-color.org). */
const color = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === ''

// A reader that closes the pipe early (`| head`) is no crash; and what was not read was not said, so not 0.
process.stdout.on('error', () => process.exit(EXIT.internal))

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
  stdin: () => process.stdin,
  stopped: () =>
    new Promise((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
    }),
}

process.exitCode = await run(process.argv.slice(2), io)
