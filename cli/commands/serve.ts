import type { Command } from 'commander'
import { loadConfig } from '../../src/config/index.ts'
import { quoteSource } from '../../src/boot.ts'
import { startGateway, type Gateway } from '../../src/gateway.ts'
import { startLeader } from '../../src/cluster/leader.ts'
import { leaderPort, leaveLeader, workerNumber } from '../../src/cluster/processes.ts'
import { runWorker } from '../../src/cluster/worker.ts'
import { pinoLogger } from '../../src/log.ts'
import { EXIT, failureOf } from '../exit.ts'
import type { Io } from '../io.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, failureReport } from '../output.ts'

interface Options extends JsonOption {
  readonly config: string
  readonly record?: string
}

export function addServe(program: Command, shell: Shell): void {
  const command = program
    .command('serve')
    .description('run the gateway; its log goes to standard output, one JSON document per line')
    .requiredOption('--config <file>', 'the configuration')
    .option('--record <folder>', 'keep what verifications of providers fetch, for `appraise`')
  withExample(command, 'serve --config config.yaml').action(async (options: Options) => {
    const { io } = shell
    const worker = workerNumber()
    if (worker !== null) {
      await serveAsWorker(options, io, worker)
      shell.finish(EXIT.ok)
      return
    }
    let gateway: Gateway
    try {
      gateway = await start(options, shell)
    } catch (error) {
      const failed = async () => failureReport(failureOf(error))
      shell.finish(await execute(io, options.json === true, failed))
      return
    }
    await io.stopped()
    await gateway.close()
    shell.finish(EXIT.ok)
  })
}

function start({ config: path, record }: Options, { io }: Shell): Promise<Gateway> {
  const config = loadConfig(path, io.env)
  const startAll = config.workers === 1 ? startGateway : startLeader
  return startAll({
    config,
    source: quoteSource(config),
    clock: io.clock,
    log: pinoLogger(),
    ...(record === undefined ? {} : { recordTo: record }),
  })
}

/** This very command line, started again by its leader. */
async function serveAsWorker({ config: path }: Options, { env, clock }: Io, worker: number) {
  const port = leaderPort()
  const config = loadConfig(path, env)
  await runWorker({ config, clock, log: pinoLogger(undefined, worker) }, port)
  leaveLeader()
}
