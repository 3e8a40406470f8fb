import { afterEach, expect, test } from 'vitest'
import { startRelay } from '../support/model-server.ts'
import {
  audited,
  raised,
  startProviderGateway,
  UPSTREAM_SECRET,
  type ProviderGateway,
  type ProviderGatewayOptions,
} from '../support/provider-gateway.ts'
import { newProviderVendors } from '../support/provider-world.ts'
import { startVllmNode, type VllmNode } from '../support/vllm-node.ts'
import { CANARY } from './harness.ts'

const OTHER = 'ab'.repeat(32)
const REFUSED = 'upstream_verification_failed'
const closing: { close(): Promise<void> }[] = []
const kept = <T extends { close(): Promise<void> }>(closable: T): T => {
  closing.push(closable)
  return closable
}

afterEach(async () => {
  for (const each of closing.splice(0).toReversed()) await each.close()
})

async function start(authorised = false) {
  const vendors = newProviderVendors()
  const node = kept(await startVllmNode({ ...vendors, authorised }))
  const fixed = { vendors, kind: 'dstack-vllm', origin: node.origin, model: 'test-model' } as const
  return {
    vendors,
    node,
    gateway: async (changes: Partial<ProviderGatewayOptions> = {}): Promise<ProviderGateway> =>
      kept(await startProviderGateway({ ...fixed, guests: [node.td], ...changes })),
  }
}

test('completes and streams by the official SDK', async () => {
  const { gateway, node } = await start()
  const { ask, stream, logs } = await gateway()
  expect((await ask(CANARY)).choices[0]?.message.content).toBe(`You said: ${CANARY}`)
  expect(await stream(CANARY)).toBe(`You said: ${CANARY}`)
  expect(node.engine.requests).toHaveLength(2)
  expect(node.credentials.slice(-2)).toEqual(Array(2).fill(`Bearer ${UPSTREAM_SECRET}`))
  expect(logs.join('')).not.toContain(CANARY)
})

test('is kept with evidence that anyone comes to the same verdict by', async () => {
  const { gateway, node, vendors } = await start()
  const running = await gateway()
  await running.ask('one')
  expect((await audited(running, vendors)).origin).toBe(node.origin)
})

test('is verified again where its TLS key changes amid traffic', async () => {
  const { gateway, node } = await start()
  const { ask } = await gateway()
  await ask('one')
  node.rotateTls()
  const answers = await Promise.all([ask('two'), ask('three')])
  expect(answers.map(({ choices }) => choices[0]?.message.content)).toEqual([
    'You said: two',
    'You said: three',
  ])
  expect(node.reports()).toBe(2)
})

test('gets no prompt once its evidence has expired and cannot be had again', async () => {
  const { gateway, node, vendors } = await start()
  const { ask } = await gateway()
  await ask('one')
  const before = node.promptBytes()
  node.behaviour.status = 503
  vendors.clock.advance(601)
  expect(await raised(() => ask(CANARY))).toBe(REFUSED)
  expect(node.promptBytes()).toBe(before)
})

test.each<readonly [string, (node: VllmNode) => void]>([
  [
    'knows only version 1 of the report, which binds no TLS key',
    ({ settings }) => {
      settings.version = 1
    },
  ],
  [
    'answers another challenge',
    ({ behaviour }) => {
      behaviour.nonce = () => OTHER
    },
  ],
  [
    'attests a TLS key that is not its own',
    ({ behaviour }) => {
      behaviour.tlsFingerprint = () => OTHER
    },
  ],
  [
    'shows GPUs of another challenge',
    ({ behaviour }) => {
      behaviour.gpuNonce = () => OTHER
    },
  ],
  [
    'shows no GPUs',
    ({ settings }) => {
      settings.evidence = 'none'
    },
  ],
  [
    'runs with a debugger',
    ({ td }) => {
      td.fields = { tdAttributes: '0100001000000000' }
    },
  ],
  [
    'never answers',
    ({ behaviour }) => {
      behaviour.hang = true
    },
  ],
  [
    'limits how often it is asked',
    ({ behaviour }) => {
      behaviour.status = 429
    },
  ],
])('a node that %s gets not a byte of a prompt', async (_, spoil) => {
  const { gateway, node } = await start()
  spoil(node)
  const { ask } = await gateway()
  expect(await raised(() => ask(CANARY))).toBe(REFUSED)
  expect(node.promptBytes()).toBe(0)
})

test('evidence of another node, passed on, moves no prompt', async () => {
  const { gateway, node } = await start()
  const relay = kept(await startRelay({ target: node.origin }))
  const { ask } = await gateway({ origin: relay.origin })
  expect(await raised(() => ask(CANARY))).toBe(REFUSED)
  expect(node.promptBytes()).toBe(0)
  const seen = Buffer.from(relay.plaintext()).toString()
  expect(seen).not.toContain('POST')
  expect(seen).not.toContain(UPSTREAM_SECRET)
})

test('limits and breaks of the model are passed on as such', async () => {
  const { gateway, node } = await start()
  const { ask, stream } = await gateway()
  node.engine.chat.answer = { status: 429, body: '{}' }
  expect(await raised(() => ask(CANARY))).toBe('upstream_rate_limited')
  node.engine.chat.answer = null
  node.engine.chat.cutAfterChunks = 2
  expect(await raised(() => stream(CANARY))).toBe('upstream_broken')
})
