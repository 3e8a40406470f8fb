import type { Clock } from '@vouchgate/attestation'
import type { Io } from '../cli/io.ts'
import { styleOf, type Style } from '../cli/output.ts'
import { startProxy, type CollateralSource, type VerifyOptions } from '../client/index.ts'
import { DemoError, facts, held, Walk } from './demo-walk.ts'
import {
  chatRequest,
  completionStep,
  debugAttack,
  receiptAttack,
  receiptStep,
  relayAttack,
  sessionStep,
  verifyStep,
} from './demo-steps.ts'
import {
  Cleanup,
  DEBUG_MODEL,
  GATEWAY_MRTD,
  MODEL,
  PROVIDER_MRTD,
  startDemoGateway,
  startProviders,
  startVendor,
  writePolicies,
  type DemoFiles,
} from './demo-world.ts'

export interface DemoOptions {
  readonly io: Io
  /** End after the walk instead of staying up. */
  readonly once: boolean
  /** One JSON document instead of text. */
  readonly json: boolean
}

/** What the copy-paste examples need. */
interface Running {
  readonly gateway: { readonly url: string; readonly keysetDigest: string }
  readonly proxy: { readonly url: string }
  readonly apiKey: string
  readonly model: string
  readonly files: DemoFiles
}

const BANNER = [
  'SIMULATED HARDWARE. The TEE vendor, its root and every quote below are made by software on this machine.',
  "The verification is the real one, under the simulated vendor's root instead of Intel's. Nothing here is secret.",
]

/**
 * Shows one attested chat completion, each check with the value that proves it, and three attacks that
 * fail. Gives whether every step held.
 */
export async function runDemo({ io, once, json }: DemoOptions): Promise<boolean> {
  const style = styleOf(io.color)
  const cleanup = new Cleanup()
  const walk = new Walk(io, json ? null : style)
  walk.say(() => BANNER.map((line) => style.warn(line)))
  try {
    const running = await takeWalk(walk, io, cleanup).catch(() => null)
    const ok = running !== null && walk.steps.every((step) => step.ok)
    if (json) io.out(`${JSON.stringify(document(ok, walk, running))}\n`)
    if (ok)
      walk.say(() => ['', style.good(style.title('Every step held.')), ...ending(style, once)])
    if (ok && !once) await io.stopped()
    return ok
  } finally {
    await cleanup.run()
  }
}

function document(ok: boolean, walk: Walk, running: Running | null): object {
  const { gateway = null, proxy = null, apiKey = null, model = null } = running ?? {}
  return { ok, steps: walk.steps, gateway, proxy, apiKey, model, policies: running?.files ?? null }
}

/** Collateral comes with the gateway's report; a report without it does not hold here. */
const noCollateral: CollateralSource = async () => {
  throw new DemoError('the report carries no collateral')
}

async function takeWalk(walk: Walk, io: Io, cleanup: Cleanup): Promise<Running> {
  const { clock } = io
  const world = await startWorld(walk, clock, cleanup)
  const { gateway, apiKey, files } = world
  const chat = await completeChat(walk, { world, clock, cleanup })
  const running = {
    gateway: { url: gateway.url, keysetDigest: gateway.keysetDigest() },
    proxy: { url: chat.proxyUrl },
    apiKey,
    model: MODEL,
    files,
  }
  walk.say((style) => examples(style, running))
  await attackAll(walk, { world, chat })
  return running
}

async function startWorld(walk: Walk, clock: Clock, cleanup: Cleanup) {
  walk.title('Started')
  const parts = await walk.step('vendor', 'a TEE vendor: PKI, collateral, quotes', async () => {
    const started = await startVendor(clock, cleanup)
    return held(started, facts({ collateral: started.pcs.url }))
  })
  const providers = await walk.step('providers', 'two model servers, each in a TD', async () => {
    const started = await startProviders(parts, clock, cleanup)
    const { honest, debuggable } = started
    const origins = { production: honest.origin, debuggable: debuggable.origin }
    return held(started, facts({ ...origins, MRTD: PROVIDER_MRTD }))
  })
  const started = await walk.step(
    'gateway',
    'the gateway, in a TD of its own: keys born in memory, bound by its quote',
    async () => {
      const running = await startDemoGateway({ parts, providers, clock, cleanup })
      return held(running, facts({ gateway: running.gateway.url, MRTD: GATEWAY_MRTD }))
    },
  )
  const policies = await writePolicies(parts, started.configDigest, cleanup)
  const options: VerifyOptions = { policy: policies.gatewayPolicy, pcs: noCollateral, clock }
  return { providers, ...started, ...policies, options }
}

type World = Awaited<ReturnType<typeof startWorld>>

interface Started {
  readonly world: World
  readonly clock: Clock
  readonly cleanup: Cleanup
}

async function completeChat(walk: Walk, { world, clock, cleanup }: Started) {
  const { gateway, apiKey, options } = world
  walk.title('One chat completion')
  const fetch = await walk.step(
    'gateway-verified',
    'the client verifies the gateway over a fresh nonce',
    () => verifyStep(gateway.url, options),
  )
  cleanup.add(fetch, (verified) => verified.close())
  const session = await walk.step(
    'session-verified',
    "the client judges the gateway's verification of its provider again, from the same bytes",
    async () => {
      // The gateway verifies its providers as it starts; the client does not wait for a timer.
      await gateway.tick()
      return sessionStep(fetch, { policy: world.providerPolicy, clock })
    },
  )
  const title = 'a local proxy listens that reaches the verified key alone'
  const proxyUrl = await walk.step('proxy', title, async () => {
    const listen = { host: '127.0.0.1', port: 0 }
    const proxy = await startProxy({ ...options, gatewayUrl: gateway.url, listen })
    cleanup.add(proxy, (running) => running.close())
    return held(proxy.url, facts({ 'base URL': `${proxy.url}/v1` }))
  })
  const target = { baseUrl: `${proxyUrl}/v1`, apiKey }
  const done = await walk.step(
    'completion',
    'a prompt travels to the verified provider and back',
    () => completionStep(target, chatRequest(MODEL, 'Hello, enclave!', false)),
  )
  await walk.step('stream', 'the same as a stream', () =>
    completionStep(target, chatRequest(MODEL, 'Hello again, word by word!', true)),
  )
  const receipt = await walk.step(
    'receipt',
    'the signed receipt names both bodies and the session that served them',
    () => receiptStep({ fetch, apiKey, done, session }),
  )
  return { fetch, target, receipt, proxyUrl }
}

type Chat = Awaited<ReturnType<typeof completeChat>>

async function attackAll(walk: Walk, { world, chat }: { world: World; chat: Chat }): Promise<void> {
  const { fetch, target, receipt } = chat
  walk.title('Three attacks, each of which must fail')
  await walk.step(
    'attack-relay',
    'a relay with another TLS key steps in after the verification',
    () => relayAttack(world.gateway.url, world.options, target),
  )
  const attack = { target, model: DEBUG_MODEL, provider: world.providers.debuggable, fetch }
  await walk.step('attack-debug-provider', 'a provider shows the quote of a debuggable TD', () =>
    debugAttack(attack),
  )
  await walk.step('attack-receipt', 'one byte of the receipt is changed', () =>
    receiptAttack(receipt, fetch),
  )
}

const ending = (style: Style, once: boolean): string[] =>
  once
    ? [style.dim('Without --once everything stays up, and the blocks above work when pasted.')]
    : [style.dim('Everything stays up until Ctrl-C; the blocks above work when pasted.')]

function examples(style: Style, running: Running): string[] {
  const { gateway, proxy, apiKey, model, files } = running
  const request = JSON.stringify(chatRequest(model, 'Hello!', false))
  return [
    '',
    style.title('Try it: curl, through the verifying proxy'),
    `curl -s ${proxy.url}/v1/chat/completions \\`,
    `  -H 'authorization: Bearer ${apiKey}' \\`,
    "  -H 'content-type: application/json' \\",
    `  -d '${request}'`,
    '',
    style.title('Try it: the OpenAI SDK, changed in its base URL alone (in this folder)'),
    "node --input-type=module <<'END'",
    "import OpenAI from 'openai'",
    `const openai = new OpenAI({ baseURL: '${proxy.url}/v1', apiKey: '${apiKey}' })`,
    "const messages = [{ role: 'user', content: 'Hello from the SDK!' }]",
    `const stream = await openai.chat.completions.create({ model: '${model}', messages, stream: true })`,
    "for await (const part of stream) process.stdout.write(part.choices[0]?.delta.content ?? '')",
    "process.stdout.write('\\n')",
    'END',
    '',
    style.title('Try it: verify the gateway and its sessions yourself (in this folder)'),
    `npm run -s cli -- verify ${gateway.url} \\`,
    `  --policy ${files.gatewayPolicy} \\`,
    `  --deep --upstream-policy ${files.providerPolicy}`,
  ]
}
