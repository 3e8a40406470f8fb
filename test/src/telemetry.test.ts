import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { attributes } from '../../src/telemetry/attributes.ts'
import {
  attributeNames,
  pointsOf,
  spansOf,
  startCollector,
  type OtlpCollector,
} from '../support/otlp-collector.ts'
import { CANARY, KEY, prompt, startWorld, UPSTREAM_SECRET, type World } from './harness.ts'

const COMPLETION = 'canary-completion-51ab'
const ASKED_MODEL = 'canary-model-93de'
const NO_MODEL_AT_ALL = 'canary/model with spaces'
const CLIENT_TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SECRETS = [CANARY, COMPLETION, 'canary', KEY, UPSTREAM_SECRET, 'testers', CLIENT_TRACE]

const NAMES = [
  'service.name',
  'service.version',
  'gen_ai.operation.name',
  'gen_ai.request.model',
  'gen_ai.provider.name',
  'gen_ai.token.type',
  'gen_ai.usage.input_tokens',
  'gen_ai.usage.output_tokens',
  'gen_ai.usage.cache_read.input_tokens',
  'gen_ai.usage.cache_creation.input_tokens',
  'error.type',
  'vouchgate.confidentiality',
  'vouchgate.end',
  'vouchgate.attempts',
  'vouchgate.cost.micro_usd',
]

const HEADERS = ['connection', 'content-type', 'host', 'transfer-encoding', 'user-agent']

let collector: OtlpCollector
let world: World

async function start(url = collector.url): Promise<World> {
  return startWorld({
    edit: (file) =>
      Object.assign(file, {
        telemetry: { otlp_url: url, interval_seconds: 3600 },
        prices: [{ model: 'test-model', input_per_million_usd: 1, output_per_million_usd: 2 }],
      }),
  })
}

beforeEach(async () => {
  collector = await startCollector()
  world = await start()
})
afterEach(async () => {
  await world.close()
  await collector.close()
})

const completion = (text: string, extra: object = {}): string =>
  JSON.stringify({
    id: 'chatcmpl-1',
    model: ASKED_MODEL,
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: {
      prompt_tokens: 100,
      completion_tokens: 20,
      prompt_tokens_details: { cached_tokens: 0 },
    },
    ...extra,
  })

describe('one prompt', () => {
  test('is a trace of a span for the whole and one for the provider, by the GenAI conventions', async () => {
    world.plain.chat.answer = { status: 200, body: completion(COMPLETION) }
    expect((await world.chat(prompt('ordinary'))).status).toBe(200)
    await world.close()
    const spans = spansOf(collector)
    const root = spans.find(({ name }) => name === 'prompt')
    const child = spans.find(({ name }) => name === 'chat ordinary')
    expect(spans).toHaveLength(2)
    expect(root).toMatchObject({
      kind: 2,
      failed: false,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.request.model': 'ordinary',
        'vouchgate.confidentiality': 'plain',
        'vouchgate.end': 'complete',
        'vouchgate.attempts': 1,
      },
    })
    expect(child).toMatchObject({
      kind: 3,
      traceId: root?.traceId,
      parentSpanId: root?.spanId,
      failed: false,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.request.model': 'ordinary',
        'gen_ai.provider.name': 'plain',
        'gen_ai.usage.input_tokens': 100,
        'gen_ai.usage.output_tokens': 20,
        'gen_ai.usage.cache_read.input_tokens': 0,
        'gen_ai.usage.cache_creation.input_tokens': 0,
        'vouchgate.cost.micro_usd': 140,
      },
    })
  })

  test('is measured: tokens by type, how long it took, what it cost', async () => {
    world.plain.chat.answer = { status: 200, body: completion(COMPLETION) }
    await world.chat(prompt('ordinary'))
    await world.chat(prompt('ordinary'))
    await world.close()
    const shared = {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'plain',
      'gen_ai.request.model': 'ordinary',
    }
    expect(pointsOf(collector, 'gen_ai.client.token.usage')).toEqual([
      { attributes: { ...shared, 'gen_ai.token.type': 'input' }, sum: 200, count: 2 },
      { attributes: { ...shared, 'gen_ai.token.type': 'output' }, sum: 40, count: 2 },
    ])
    const [duration] = pointsOf(collector, 'gen_ai.client.operation.duration')
    expect(duration).toMatchObject({ attributes: shared, count: 2 })
    expect(pointsOf(collector, 'vouchgate.cost')).toEqual([
      { attributes: shared, sum: 280, count: 1 },
    ])
  })

  test('that needed two providers has a span for each, the first with the code', async () => {
    world.plain.chat.answer = { status: 500, body: COMPLETION }
    world.plainBackup.chat.answer = { status: 200, body: completion(COMPLETION) }
    expect((await world.chat(prompt('ordinary-resilient'))).status).toBe(200)
    await world.close()
    const spans = spansOf(collector)
    const asked = spans.filter(({ name }) => name === 'chat ordinary-resilient')
    expect(
      asked.map(({ failed, attributes: of }) => [
        of['gen_ai.provider.name'],
        of['error.type'],
        failed,
      ]),
    ).toEqual([
      ['plain', 'upstream_error', true],
      ['plain-backup', undefined, false],
    ])
    const root = spans.find(({ name }) => name === 'prompt')
    expect(root?.attributes['vouchgate.attempts']).toBe(2)
  })
})

test('no canary is anywhere in spans, metrics, logs or what the collector got, failures included', async () => {
  const headers = { traceparent: `00-${CLIENT_TRACE}-00f067aa0ba902b7-01`, tracestate: 'a=canary' }
  const ask = (model: string, extra: object = {}) => world.chat(prompt(model, extra), { headers })
  world.plain.chat.answer = { status: 200, body: completion(COMPLETION) }
  const statuses = [(await ask('ordinary')).status]
  // A name that no configuration has, in two shapes.
  statuses.push((await ask(ASKED_MODEL)).status, (await ask(NO_MODEL_AT_ALL)).status)
  // The provider quotes the prompt in its refusal.
  const words = JSON.stringify({ error: { message: `${CANARY} ${COMPLETION}`, type: 'canary' } })
  world.plain.chat.answer = { status: 400, body: words }
  statuses.push((await ask('ordinary')).status)
  world.plain.chat.answer = { status: 500, body: words }
  world.plainBackup.chat.answer = { status: 429, body: words }
  statuses.push((await ask('ordinary-resilient')).status)
  // No JSON, no completion, a stream that breaks, and one that the client leaves.
  world.plain.chat.answer = { status: 200, body: COMPLETION }
  statuses.push((await ask('ordinary')).status)
  world.plain.chat.answer = {
    status: 200,
    headers: { 'content-type': 'text/event-stream' },
    body: `data: {"id":"canary-id","choices":[{"delta":{"content":"${COMPLETION}"}}]}\n\n`,
  }
  const broken = await ask('ordinary', { stream: true })
  expect(broken.text).toContain('upstream_broken')
  statuses.push(broken.status)
  world.plain.chat.answer = null
  world.plain.chat.chunkDelayMs = 50
  const gone = new AbortController()
  const left = world.chat(prompt('ordinary', { stream: true }), { signal: gone.signal, headers })
  setTimeout(() => gone.abort(), 120)
  await expect(left).rejects.toThrow(/abort/i)
  await expect.poll(() => world.logs.join('')).toContain('client_abort')
  // Evidence that does not hold, once the sessions have ended.
  world.clock.advance(700)
  world.model.evidence.keyset = (keyset) => ({ ...keyset, not_after: 1 })
  statuses.push((await ask('secure')).status)
  expect(statuses).toEqual([200, 404, 404, 400, 429, 502, 200, 503])
  const metrics = await world.admin('/metrics')
  await world.close()
  const codes = spansOf(collector).map((span) => span.attributes['error.type'])
  expect(new Set(codes.filter((code) => code !== undefined))).toEqual(
    new Set([
      'model_not_found',
      'request_rejected',
      'upstream_error',
      'upstream_rate_limited',
      'upstream_malformed',
      'upstream_broken',
      'upstream_verification_failed',
    ]),
  )
  const surfaces = [
    ...collector.bodies.map(({ text }) => text),
    ...world.logs.map((line) => line.replaceAll('"team":"testers"', '')),
    metrics.text,
  ]
  expect(collector.bodies.length).toBeGreaterThan(0)
  for (const surface of surfaces)
    for (const secret of SECRETS) expect(surface).not.toContain(secret)
  expect([...attributeNames(collector)].filter((name) => !NAMES.includes(name))).toEqual([])
})

describe('what telemetry can say', () => {
  test('is a closed list, whatever the types were told', () => {
    const told = {
      'error.type': 'two words',
      'gen_ai.prompt': 'x',
      'gen_ai.usage.input_tokens': 3,
      'gen_ai.request.model': 'm'.repeat(129),
      'vouchgate.end': { content: 'x' },
    }
    expect(Reflect.apply(attributes, undefined, [told])).toEqual({ 'gen_ai.usage.input_tokens': 3 })
  })

  test('is told to nobody by default', async () => {
    await world.close()
    collector.bodies.length = 0
    world = await startWorld()
    await world.chat(prompt('ordinary'))
    await world.close()
    expect(collector.bodies).toEqual([])
  })
})

describe('a collector', () => {
  test('gets the key that the configuration refers to, and no other header says anything', async () => {
    await world.close()
    collector.bodies.length = 0
    world = await startWorld({
      edit: (file) => {
        const api_key = { env: 'UPSTREAM_KEY' }
        const telemetry = { otlp_url: collector.url, interval_seconds: 3600, api_key }
        Object.assign(file, { telemetry })
      },
    })
    await world.chat(prompt('ordinary'))
    await world.close()
    const headers = collector.bodies.filter(({ path }) => path === 'headers')
    expect(headers.length).toBeGreaterThan(0)
    for (const { text } of headers) {
      const { authorization, ...rest }: Record<string, string> = JSON.parse(text)
      expect(authorization).toBe(`Bearer ${UPSTREAM_SECRET}`)
      expect(Object.keys(rest).toSorted()).toEqual(HEADERS)
    }
    expect(world.logs.join('')).not.toContain(UPSTREAM_SECRET)
  })

  test.each([
    ['refuses', 400],
    ['is overloaded', 503],
    ['never answers', null],
  ])('that %s disturbs no prompt, and not the end of the gateway', async (_, status) => {
    collector.status = status
    for (let count = 0; count < 3; count++) {
      expect((await world.chat(prompt('ordinary'))).status).toBe(200)
    }
    await world.close()
    expect(world.logs.at(-1)).toContain('stopped')
    expect(collector.bodies.length).toBeGreaterThan(0)
  })

  test('that is not there disturbs no prompt either', async () => {
    await world.close()
    world = await start('http://127.0.0.1:1')
    expect((await world.chat(prompt('ordinary'))).status).toBe(200)
    await world.close()
    expect(world.logs.at(-1)).toContain('stopped')
  })

  test('gets no more spans than the queue holds, however many there were', async () => {
    await world.close()
    collector.bodies.length = 0
    const { Telemetry } = await import('../../src/telemetry/telemetry.ts')
    const telemetry = new Telemetry({
      otlp_url: collector.url,
      interval_seconds: 3600,
      apiKey: null,
    })
    collector.status = null
    const outcome = { end: 'complete', code: null, usage: null, costMicroUsd: null } as const
    for (let count = 0; count < 20_000; count++) telemetry.prompt('chat')?.end(outcome)
    // One batch is on its way and hangs; what waits behind it is bounded.
    await telemetry.close()
    expect(spansOf(collector).length).toBeLessThanOrEqual(2048 + 512)
    expect(spansOf(collector).length).toBeGreaterThan(0)
  })
})
