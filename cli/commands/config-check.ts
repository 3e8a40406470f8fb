import type { Command } from 'commander'
import {
  demandsOf,
  describeConfig,
  isAttested,
  loadConfig,
  type Config,
} from '../../src/config/index.ts'
import { EXIT } from '../exit.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute } from '../output.ts'

export function addConfig(program: Command, shell: Shell): void {
  const config = program.command('config').description("look at a gateway's configuration")
  const command = config
    .command('check')
    .description('say what a configuration would do, or every mistake in it')
    .argument('<file>', 'the configuration')
  withExample(command, 'config check config.yaml').action(
    async (file: string, options: JsonOption) => {
      const { io } = shell
      const exit = await execute(io, options.json === true, async () => {
        const loaded = loadConfig(file, io.env)
        const does = describeConfig(loaded)
        return {
          exit: EXIT.ok,
          json: { ok: true, digest: loaded.digest, does, providers: providersJson(loaded) },
          lines: (style) => [
            style.title('The configuration is valid.'),
            ...does.map((line) => `  ${line}`),
          ],
        }
      })
      shell.finish(exit)
    },
  )
}

/** What each provider must prove, claim by claim, and what stays unproven. */
const providersJson = ({ providers }: Config) =>
  [...providers.values()].map((provider) =>
    isAttested(provider)
      ? { id: provider.id, kind: provider.kind, demands: demandsOf(provider) }
      : { id: provider.id, kind: provider.kind, demands: null },
  )
