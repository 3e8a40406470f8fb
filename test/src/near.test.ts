import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import type { AttestedHost } from '../support/attested-node.ts'
import { startRelay } from '../support/model-server.ts'
import { newNearKey } from '../support/near-e2ee.ts'
import {
  NEAR_MODEL,
  startNearNode,
  startNearRouter,
  type NearNode,
} from '../support/near-service.ts'
import {
  audited,
  raised,
  startProviderGateway,
  UPSTREAM_SECRET,
  type ProviderGateway,
  type ProviderGatewayOptions,
} from '../support/provider-gateway.ts'
import { newProviderVendors } from '../support/provider-world.ts'
import { CANARY } from './harness.ts'

const OTHER = 'ab'.repeat(32)
const closing: { close(): Promise<void> }[] = []
const kept = <T extends { close(): Promise<void> }>(closable: T): T => {
  closing.push(closable)
  return closable
}

afterEach(async () => {
  for (const each of closing.splice(0).toReversed()) await each.close()
})

interface Direct {
  readonly vendors: ReturnType<typeof newProviderVendors>
  readonly node: NearNode
  /** Who the gateway talks to. */
  readonly front: AttestedHost
  readonly gateway: (changes?: Partial<ProviderGatewayOptions>) => Promise<ProviderGateway>
}

async function direct(): Promise<Direct> {
  const vendors = newProviderVendors()
  const node = kept(await startNearNode(vendors))
  const fixed = { vendors, kind: 'near-direct', origin: node.origin, model: NEAR_MODEL } as const
  return {
    vendors,
    node,
    front: node,
    gateway: async (changes = {}) =>
      kept(await startProviderGateway({ ...fixed, guests: [node.td], ...changes })),
  }
}

async function cloud(authorised = false) {
  const vendors = newProviderVendors()
  const node = kept(await startNearNode(vendors))
  const router = kept(await startNearRouter({ ...vendors, nodes: [node], authorised }))
  const fixed = { vendors, kind: 'near-cloud', origin: router.origin, model: NEAR_MODEL } as const
  return {
    vendors,
    node,
    router,
    front: router,
    gateway: async (changes: Partial<ProviderGatewayOptions> = {}) =>
      kept(await startProviderGateway({ ...fixed, guests: [node.td, router.td], ...changes })),
  }
}

const REFUSED = 'upstream_verification_failed'
const text = (bodies: readonly Uint8Array[]): string =>
  bodies.map((body) => Buffer.from(body).toString()).join('\n')

describe.each([
  ['near-direct', direct],
  ['near-cloud', cloud],
] as const)('%s, by the official SDK', (_, start) => {
  test('completes and streams', async () => {
    const { gateway, node } = await start()
    const { ask, stream } = await gateway()
    const { choices, usage } = await ask(CANARY)
    expect(choices[0]?.message.content).toBe(`You said: ${CANARY}`)
    expect(usage?.total_tokens).toBeGreaterThan(0)
    expect(await stream(CANARY, { stream_options: { include_usage: true } })).toBe(
      `You said: ${CANARY}`,
    )
    expect(text(node.engine.requests.map(({ body }) => body))).toContain(CANARY)
  })

  test('carries parts, tools and the calls of them', async () => {
    const { gateway, node } = await start()
    const { client } = await gateway()
    const tool_calls = [
      { id: 'call_1', type: 'function', function: { name: 'look_up', arguments: '{"q":"x"}' } },
    ]
    node.engine.chat.answer = {
      status: 200,
      body: JSON.stringify({
        id: 'chatcmpl-7',
        object: 'chat.completion',
        created: 1,
        model: NEAR_MODEL,
        choices: [
          {
            index: 0,
            message: { role: 'assistant', content: null, tool_calls },
            finish_reason: 'tool_calls',
          },
        ],
      }),
    }
    const answer = await client.chat.completions.create({
      model: 'secure',
      messages: [{ role: 'user', content: [{ type: 'text', text: CANARY }] }],
      tools: [{ type: 'function', function: { name: 'look_up', parameters: { type: 'object' } } }],
    })
    expect(answer.choices[0]?.message.tool_calls).toEqual(tool_calls)
    const asked = JSON.parse(text(node.engine.requests.map(({ body }) => body)))
    expect(asked.messages[0].content).toEqual([{ type: 'text', text: CANARY }])
    expect(asked.tools[0].function.name).toBe('look_up')
  })

  test('is verified again where its TLS key changes amid traffic', async () => {
    const { gateway, front } = await start()
    const { ask } = await gateway()
    await ask('one')
    front.rotateTls()
    const answers = await Promise.all([ask('two'), ask('three'), ask('four')])
    expect(answers.map(({ choices }) => choices[0]?.message.content)).toEqual([
      'You said: two',
      'You said: three',
      'You said: four',
    ])
    expect(front.reports()).toBe(2)
  })

  test('gets no prompt once its evidence has expired and cannot be had again', async () => {
    const { gateway, front, vendors } = await start()
    const { ask } = await gateway()
    await ask('one')
    const before = front.promptBytes()
    front.behaviour.status = 500
    vendors.clock.advance(601)
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(front.promptBytes()).toBe(before)
    front.behaviour.status = null
    vendors.clock.advance(61)
    expect((await ask('two')).choices).toHaveLength(1)
  })

  test.each<readonly [string, (front: AttestedHost) => void]>([
    [
      'another challenge',
      ({ behaviour }) => {
        behaviour.nonce = () => OTHER
      },
    ],
    [
      'another stated challenge',
      ({ behaviour }) => {
        behaviour.statedNonce = () => OTHER
      },
    ],
    [
      'a TLS key that is not its own',
      ({ behaviour }) => {
        behaviour.tlsFingerprint = () => OTHER
      },
    ],
    [
      'other report data',
      ({ behaviour }) => {
        behaviour.reportData = (data) => data.toReversed()
      },
    ],
    [
      'a debugger',
      ({ td }) => {
        td.fields = { tdAttributes: '0100001000000000' }
      },
    ],
    [
      'other measurements',
      ({ td }) => {
        td.fields = { rtmr1: '22'.repeat(48) }
      },
    ],
    [
      'another configuration',
      ({ td }) => {
        td.fields = { mrConfigId: `01${OTHER}${'00'.repeat(15)}` }
      },
    ],
  ])('gets not a byte of a prompt where its quote has %s', async (_what, spoil) => {
    const { gateway, front } = await start()
    spoil(front)
    const { ask } = await gateway()
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(front.promptBytes()).toBe(0)
  })

  test('gets not a byte of a prompt where its GPUs are those of another challenge', async () => {
    const { gateway, node, front } = await start()
    node.behaviour.gpuNonce = () => OTHER
    const { ask } = await gateway()
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(front.promptBytes() + node.promptBytes()).toBe(0)
  })

  test('whose evidence a man in the middle passes on gets nothing, and neither does he', async () => {
    const { gateway, front } = await start()
    const relay = kept(await startRelay({ target: front.origin }))
    const { ask } = await gateway({ origin: relay.origin })
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(front.promptBytes()).toBe(0)
    const seen = Buffer.from(relay.plaintext()).toString()
    expect(seen).toContain('GET /v1/attestation/report')
    expect(seen).not.toContain('POST')
    // Before it is verified, nobody is shown the key to the account either.
    expect(seen).not.toContain(UPSTREAM_SECRET)
  })

  test('is cut off from a man in the middle who comes later', async () => {
    const { gateway, front } = await start()
    const relay = kept(await startRelay({ target: front.origin, mode: 'passthrough' }))
    const { ask } = await gateway({ origin: relay.origin })
    await ask('one')
    relay.interceptNow()
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(Buffer.from(relay.plaintext()).toString()).not.toContain('POST')
  })

  test('may be slow to show its evidence, and is given up where it never does', async () => {
    const { gateway, front } = await start()
    front.behaviour.delayMs = 200
    const { ask } = await gateway()
    expect((await ask('one')).choices).toHaveLength(1)
    const hanging = await start()
    hanging.front.behaviour.hang = true
    const other = await hanging.gateway()
    expect(await raised(() => other.ask(CANARY))).toBe(REFUSED)
    expect(hanging.front.promptBytes()).toBe(0)
  })

  test('is left alone for a while where it limits how often it is asked for evidence', async () => {
    const { gateway, front } = await start()
    front.behaviour.status = 429
    front.behaviour.headers = { 'retry-after': '30' }
    const { ask } = await gateway()
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(front.reports()).toBe(1)
    expect(front.promptBytes()).toBe(0)
  })

  test('passes its own limits on', async () => {
    const { gateway, node } = await start()
    node.engine.chat.answer = { status: 429, headers: { 'retry-after': '7' }, body: '{}' }
    const { ask } = await gateway()
    await expect(ask(CANARY)).rejects.toMatchObject({
      status: 429,
      code: 'upstream_rate_limited',
      headers: expect.anything(),
    })
  })

  test('that breaks off in a stream is an error, not an end', async () => {
    const { gateway, node } = await start()
    node.engine.chat.cutAfterChunks = 2
    const { stream } = await gateway()
    expect(await raised(() => stream(CANARY))).toBe('upstream_broken')
  })

  test('is kept with evidence that anyone comes to the same verdict by', async () => {
    const { gateway, front, vendors } = await start()
    const running = await gateway()
    await running.ask('one')
    const endpoint = await audited(running, vendors)
    expect(endpoint.origin).toBe(front.origin)
    expect(Buffer.from(endpoint.bindings[0].digest).toString('hex')).toBe(front.spkiSha256())
  })

  test('leaves no prompt in the log', async () => {
    const { gateway } = await start()
    const { ask, logs } = await gateway()
    await ask(CANARY)
    expect(logs.join('')).not.toContain(CANARY)
    expect(logs.join('')).toContain('session_established')
  })
})

describe('near-cloud', () => {
  test('shows the router neither prompt nor answer', async () => {
    const { gateway, router, node } = await cloud()
    const { ask, stream } = await gateway()
    await ask(CANARY, { temperature: 0.5 })
    await stream(CANARY)
    expect(text(router.bodies)).not.toContain(CANARY)
    expect(JSON.parse(text(router.bodies.slice(0, 1)))).toEqual({
      model: NEAR_MODEL,
      messages: [{ role: 'user', content: expect.stringMatching(/^[0-9a-f]{144,}$/) }],
      temperature: 0.5,
    })
    expect(text(node.engine.requests.map(({ body }) => body))).toContain(CANARY)
  })

  test('sends nothing of a request that would stay in clear', async () => {
    const { gateway, router } = await cloud()
    const { ask } = await gateway()
    expect(await raised(() => ask(CANARY, { stop: ['word'] }))).toBe('request_not_encryptable')
    expect(await raised(() => ask(CANARY, { user: 'someone' }))).toBe('request_not_encryptable')
    expect(router.promptBytes()).toBe(0)
  })

  test('refuses an answer in clear, whole and streamed', async () => {
    const { gateway, node } = await cloud()
    const { ask, stream } = await gateway()
    node.crypto.encrypt = 'none'
    expect(await raised(() => ask(CANARY))).toBe('upstream_not_encrypted')
    expect(await raised(() => stream(CANARY))).toBe('upstream_not_encrypted')
  })

  test('refuses the answer of a router that makes one up', async () => {
    const { gateway, router } = await cloud()
    const { ask } = await gateway()
    router.answer = async ({ response }) => {
      const choices = [{ index: 0, message: { role: 'assistant', content: 'trust me' } }]
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ id: 'x', choices }))
    }
    expect(await raised(() => ask(CANARY))).toBe('upstream_not_encrypted')
    expect(text(router.bodies)).not.toContain(CANARY)
  })

  test.each(['text/plain', 'application/octet-stream'])(
    'refuses an answer of type %s, before it has ended',
    async (type) => {
      const { gateway, router } = await cloud()
      const { ask } = await gateway()
      router.answer = async ({ response }) => {
        response.writeHead(200, { 'content-type': type }).write('trust me')
      }
      expect(await raised(() => ask(CANARY))).toBe('upstream_not_encrypted')
    },
  )

  test('refuses an answer that is encrypted to somebody else', async () => {
    const { gateway, node } = await cloud()
    const { ask, stream } = await gateway()
    node.crypto.replyKey = newNearKey().publicKey
    expect(await raised(() => ask(CANARY))).toBe('upstream_undecryptable')
    expect(await raised(() => stream(CANARY))).toBe('upstream_undecryptable')
  })

  test('cannot be read by a node that the router sends it to instead', async () => {
    const { gateway, router, node, vendors } = await cloud()
    const other = kept(await startNearNode(vendors))
    const { ask } = await gateway()
    await ask('one')
    // The router keeps the key it was asked for and has another node answer.
    router.nodes = [{ ...other, key: () => node.key() }]
    await expect(ask(CANARY)).rejects.toMatchObject({ status: 400 })
    expect(other.engine.requests).toEqual([])
    expect(text(other.bodies)).not.toContain(CANARY)
  })

  test('is verified again with the new key of a node, once the old evidence has run out', async () => {
    const { gateway, node, vendors } = await cloud()
    const { ask } = await gateway()
    await ask('one')
    node.rekey()
    expect(await raised(() => ask(CANARY))).toBe('upstream_overloaded')
    vendors.clock.advance(601)
    expect((await ask('two')).choices).toHaveLength(1)
  })

  test('gets not a byte of a prompt where the node shows a key that is not in its quote', async () => {
    const { gateway, node, router } = await cloud()
    const signing_address = newNearKey().publicKey.toString('hex')
    node.behaviour.report = (report) => ({ ...report, signing_address })
    const { ask } = await gateway()
    expect(await raised(() => ask(CANARY))).toBe(REFUSED)
    expect(router.promptBytes()).toBe(0)
  })

  test('shows its key to the account where Web PKI vouches for the router', async () => {
    const { gateway, router } = await cloud(true)
    const usual = getCACertificates()
    setDefaultCACertificates([...usual, router.certificatePem()])
    try {
      const { ask } = await gateway()
      expect((await ask('one')).choices).toHaveLength(1)
      expect(router.credentials).toContain(`Bearer ${UPSTREAM_SECRET}`)
    } finally {
      setDefaultCACertificates(usual)
    }
  })
})
