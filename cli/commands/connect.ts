import type { Command } from 'commander'
import { startProxy, type VerifyingProxy } from '../../client/index.ts'
import { endpointJson, endpointLines } from '../describe.ts'
import { EXIT } from '../exit.ts'
import { parseListen } from '../input.ts'
import {
  collateralSource,
  requiredPolicy,
  requireOrigin,
  withExample,
  withGatewayOptions,
  type GatewayOptions,
  type Shell,
} from '../options.ts'
import { execute, type Report } from '../output.ts'

interface Options extends GatewayOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly allowRemote?: true
}

export function addConnect(program: Command, shell: Shell): void {
  const command = program
    .command('connect')
    .description(
      'a local OpenAI-compatible proxy that verifies the gateway first and then forwards',
    )
    .argument('<url>', 'https://host[:port]')
  withExample(
    withGatewayOptions(command)
      .option('--listen <host:port>', 'where to listen', parseListen, {
        host: '127.0.0.1',
        port: 4180,
      })
      .option(
        '--allow-remote',
        'listen beyond loopback, though prompts cross that hop unprotected',
      ),
    'connect https://gateway.example.com --policy gateway-policy.yaml --listen 127.0.0.1:4180',
  ).action(async (url: string, options: Options) => {
    let proxy: VerifyingProxy | null = null
    const exit = await execute(shell.io, options.json === true, async () => {
      proxy = await connect(url, options, shell)
      return report(proxy)
    })
    shell.finish(exit)
    await serveUntilStopped(proxy, shell)
  })
}

async function connect(url: string, options: Options, { io }: Shell): Promise<VerifyingProxy> {
  const gatewayUrl = requireOrigin(url)
  const policy = await requiredPolicy(options.policy)
  return startProxy({
    gatewayUrl,
    policy,
    pcs: collateralSource(options, io.clock),
    clock: io.clock,
    listen: options.listen,
    remoteClients: options.allowRemote === true ? 'allow' : 'refuse',
  })
}

async function serveUntilStopped(proxy: VerifyingProxy | null, { io }: Shell): Promise<void> {
  if (proxy === null) return
  await io.stopped()
  await proxy.close()
}

function report(proxy: VerifyingProxy): Report {
  const { endpoint } = proxy.gateway()
  return {
    exit: EXIT.ok,
    json: { ok: true, url: proxy.url, baseUrl: `${proxy.url}/v1`, ...endpointJson(endpoint) },
    lines: (style) => [
      style.title('The gateway is verified; the proxy is running.'),
      ...endpointLines(style, endpoint),
      '',
      `Set the base URL of your SDK to ${style.title(`${proxy.url}/v1`)} and keep your API key.`,
      style.dim('Ctrl-C ends the proxy.'),
    ],
  }
}
