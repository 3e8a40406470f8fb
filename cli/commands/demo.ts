import type { Command } from 'commander'
import { existsSync } from 'node:fs'
import { CliError } from '../errors.ts'
import { EXIT, failureOf } from '../exit.ts'
import type { Io } from '../io.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, failureReport } from '../output.ts'

interface Options extends JsonOption {
  readonly once?: true
}

/** What `scripts/demo.ts` exports. */
interface DemoModule {
  /** Walks through the demo and prints it. Gives whether every step held. */
  readonly runDemo: (options: DemoOptions) => Promise<boolean>
}

interface DemoOptions {
  readonly io: Io
  readonly once: boolean
  readonly json: boolean
}

/** A path, never an import: what is served must not contain the simulator. */
const DEMO = new URL('../../scripts/demo.ts', import.meta.url)

const isDemoModule = (value: unknown): value is DemoModule =>
  typeof value === 'object' &&
  value !== null &&
  'runDemo' in value &&
  typeof value.runDemo === 'function'

export function addDemo(program: Command, shell: Shell): void {
  const command = program
    .command('demo')
    .description('one attested chat completion on simulated hardware, each check shown')
    .option('--once', 'end after the walk; the exit code says whether every step held')
  withExample(command, 'demo --once').action(async (options: Options) => {
    const { io } = shell
    const json = options.json === true
    try {
      const demo = await loadDemo()
      const ok = await demo.runDemo({ io, json, once: options.once === true })
      shell.finish(ok ? EXIT.ok : EXIT.rejected)
    } catch (error) {
      const failed = async () => failureReport(failureOf(error))
      shell.finish(await execute(io, json, failed))
    }
  })
}

async function loadDemo(): Promise<DemoModule> {
  if (!existsSync(DEMO)) throw new CliError('demo_absent')
  const module: unknown = await import(DEMO.href)
  if (!isDemoModule(module)) throw new CliError('demo_absent')
  return module
}
