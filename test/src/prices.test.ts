import { createServer } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, describeConfig, type ConfigProblem } from '../../src/config/index.ts'
import type { CanonicalUsage } from '../../src/dialects/canonical.ts'
import { costMicroUsd, usdText } from '../../src/prices/cost.ts'
import { Prices } from '../../src/prices/prices.ts'
import { PRICES, PRICES_VERSION, type Price } from '../../src/prices/table.ts'
import { SseTap } from '../../src/sse.ts'
import { ANTHROPIC_WIRE, OPENAI_WIRE } from '../../src/wire.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import {
  configFile,
  member,
  prompt,
  readConfig,
  startWorld,
  type Answer,
  type World,
} from './harness.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const NONE: CanonicalUsage = {
  uncachedInput: 0,
  cacheRead: 0,
  cacheWrite: 0,
  output: 0,
  reasoning: 0,
}
const PRICE: Price = { input: 3, cacheRead: 0.3, cacheWrite: 3.75, cacheWriteHour: 6, output: 15 }

describe('the cost of a prompt', () => {
  test.each<[string, Partial<CanonicalUsage>, number]>([
    ['fresh input', { uncachedInput: 1000 }, 3000],
    ['input from a cache', { cacheRead: 1000 }, 300],
    ['input written to a cache', { cacheWrite: 1000 }, 3750],
    ['input written for an hour', { cacheWrite: 1000, cacheWriteHour: 400 }, 2250 + 2400],
    ['output', { output: 1000 }, 15_000],
    ['reasoning, which is output', { reasoning: 1000 }, 15_000],
    ['nothing', {}, 0],
    ['a fraction, rounded up', { cacheRead: 1 }, 1],
    ['a sum that is rounded once', { cacheRead: 20 }, 6],
    ['what the provider bills instead', { output: 9, billed: { input: 10, output: 2 } }, 60],
  ])('of %s', (_, usage, cost) => {
    expect(costMicroUsd({ ...NONE, ...usage }, PRICE)).toBe(cost)
  })

  test.each<[string, Partial<CanonicalUsage>, Partial<Price>]>([
    ['cached input', { cacheRead: 1 }, { cacheRead: null }],
    ['written input', { cacheWrite: 1 }, { cacheWrite: null }],
    ['input kept for an hour', { cacheWrite: 1, cacheWriteHour: 1 }, { cacheWriteHour: null }],
  ])('is not known where %s has no price, and is where there was none of it', (_, usage, price) => {
    const known = { ...PRICE, ...price }
    expect(costMicroUsd({ ...NONE, ...usage }, known)).toBeNull()
    expect(costMicroUsd({ ...NONE, output: 1 }, known)).toBe(15)
  })

  test('is exact where floating point is not, and not known where it has no bounds', () => {
    const price = { ...PRICE, input: 0.1, output: 0.2 }
    expect(costMicroUsd({ ...NONE, uncachedInput: 10, output: 10 }, price)).toBe(3)
    const many = { ...NONE, output: Number.MAX_SAFE_INTEGER }
    expect(costMicroUsd(many, PRICE)).toBeNull()
  })

  test('is written in dollars with six decimals', () => {
    expect([0, 1, 140, 1_000_000, 12_345_678].map(usdText)).toEqual([
      '0.000000',
      '0.000001',
      '0.000140',
      '1.000000',
      '12.345678',
    ])
  })
})

describe('the table of list prices', () => {
  test('names for every entry where and when the vendor said so', () => {
    expect(PRICES_VERSION).toMatch(/^20\d\d-\d\d-\d\d$/)
    for (const { origin, source, read, models, input, output } of PRICES) {
      expect(origin).toMatch(/^https:\/\/[a-z.]+$/)
      expect(source).toMatch(/^https:\/\//)
      expect(read).toMatch(/^20\d\d-\d\d-\d\d$/)
      expect(read <= PRICES_VERSION).toBe(true)
      expect(models.length).toBeGreaterThan(0)
      expect(Math.min(input, output)).toBeGreaterThan(0)
    }
  })

  test('has each model of an API once', () => {
    const names = PRICES.flatMap(({ origin, models }) =>
      models.map((model) => `${origin} ${model}`),
    )
    expect(new Set(names).size).toBe(names.length)
  })
})

const vendor = createTeeVendor()
const nowhere = 'http://127.0.0.1:1'
const model = (name: string) => ({
  name: `${name}-here`,
  confidentiality: 'plain',
  routes: ['own', 'other'].map((provider) => ({ provider, model: name })),
})
const file = (prices: object[]) => {
  const origins = { model: 'https://127.0.0.1:1', backup: 'https://127.0.0.1:1' }
  const base = configFile(vendor, {
    ...origins,
    plain: nowhere,
    plainBackup: nowhere,
    pcs: 'https://pcs.example',
    rootCrl: 'https://pcs.example/root',
  })
  const api_key = { env: 'UPSTREAM_KEY' }
  return {
    ...base,
    providers: [
      ...base.providers,
      { id: 'own', kind: 'anthropic', api_key },
      { id: 'other', kind: 'openai', base_url: 'https://resold.example/v1', api_key },
    ],
    models: [...base.models, model('claude-opus-5'), model('of-nobody')],
    prices,
  }
}
const priceEntry = (rest: object) => ({
  model: 'claude-opus-5',
  input_per_million_usd: 7,
  output_per_million_usd: 9,
  ...rest,
})
const at = (config: ReturnType<typeof readConfig>, provider: string, name = 'claude-opus-5') => {
  const route = config.models.get(`${name}-here`)?.routes.find((one) => one.provider === provider)
  if (route === undefined) throw new Error('no route')
  return new Prices(config).of(route)
}

describe('the price of a model at a provider', () => {
  test('is the vendor’s list price at the vendor’s own address, and nowhere else', () => {
    const config = readConfig(file([]))
    expect(at(config, 'own')).toMatchObject({ input: 5, cacheRead: 0.5, output: 25 })
    expect(at(config, 'other')).toBeNull()
    expect(at(config, 'own', 'of-nobody')).toBeNull()
  })

  test('is what the configuration says, for one provider before all', () => {
    const prices = [priceEntry({}), priceEntry({ provider: 'other', input_per_million_usd: 1 })]
    const config = readConfig(file(prices))
    expect(at(config, 'own')).toEqual({
      input: 7,
      cacheRead: null,
      cacheWrite: null,
      cacheWriteHour: null,
      output: 9,
    })
    expect(at(config, 'other')).toMatchObject({ input: 1 })
  })

  test.each<[string, object[], string]>([
    ['an unknown member', [priceEntry({ input: 1 })], 'prices.0.input'],
    [
      'no price of output',
      [{ model: 'claude-opus-5', input_per_million_usd: 1 }],
      'prices.0.output_per_million_usd',
    ],
    [
      'a negative price',
      [priceEntry({ input_per_million_usd: -1 })],
      'prices.0.input_per_million_usd',
    ],
    [
      'a price as text',
      [priceEntry({ input_per_million_usd: '1' })],
      'prices.0.input_per_million_usd',
    ],
    ['a model that no route leads to', [priceEntry({ model: 'x' })], 'prices.0.model'],
    ['a provider that has no such model', [priceEntry({ provider: 'plain' })], 'prices.0.model'],
    ['one price twice', [priceEntry({}), priceEntry({})], 'prices.1'],
  ])('is refused with %s', (_, prices, path) => {
    let problems: readonly ConfigProblem[] = []
    try {
      readConfig(file(prices))
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      problems = error.problems
    }
    expect(problems.map((problem) => problem.path)).toEqual([path])
  })
})

test('config check says that the cheapest comes first, and whose price is not known', () => {
  const cheapest = file([priceEntry({ provider: 'other' })])
  const models = cheapest.models.map((entry) => ({ ...entry, order: 'cost' }))
  const sentences = describeConfig(readConfig({ ...cheapest, models })).join('\n')
  expect(sentences).toContain('own (weight 1), other (weight 1) (the cheapest first).')
  expect(sentences).toContain('of-nobody-here: no price is known at own, other, which')
  expect(sentences).not.toContain('claude-opus-5-here: no price')
  expect(describeConfig(readConfig(cheapest)).join('\n')).not.toContain('no price is known')
})

describe('the record of tokens is disjoint', () => {
  const openai = { prompt_tokens: 100, completion_tokens: 30 }
  const details = {
    prompt_tokens_details: { cached_tokens: 60 },
    completion_tokens_details: { reasoning_tokens: 10 },
  }

  test('though OpenAI counts cached tokens as prompt and reasoning as completion', () => {
    const body = { id: 'x', usage: { ...openai, ...details } }
    expect(OPENAI_WIRE.facts()(Buffer.from(JSON.stringify(body)))?.usage).toEqual({
      uncachedInput: 40,
      cacheRead: 60,
      cacheWrite: 0,
      output: 20,
      reasoning: 10,
    })
  })

  test('and Anthropic does not count cached tokens as input', () => {
    const usage = {
      input_tokens: 40,
      cache_read_input_tokens: 60,
      cache_creation_input_tokens: 5,
      cache_creation: { ephemeral_5m_input_tokens: 2, ephemeral_1h_input_tokens: 3 },
      output_tokens: 30,
    }
    const body = { id: 'x', type: 'message', usage }
    expect(ANTHROPIC_WIRE.facts()(Buffer.from(JSON.stringify(body)))?.usage).toEqual({
      uncachedInput: 40,
      cacheRead: 60,
      cacheWrite: 5,
      cacheWriteHour: 3,
      output: 30,
      reasoning: 0,
    })
  })

  test('over the frames of a stream, whose start has the input and whose end the output', () => {
    const tap = new SseTap(ANTHROPIC_WIRE)
    const frames = [
      {
        type: 'message_start',
        message: {
          id: 'msg_1',
          usage: { input_tokens: 40, cache_read_input_tokens: 60, output_tokens: 1 },
        },
      },
      { type: 'content_block_delta', delta: { text: 'a' } },
      { type: 'message_delta', delta: {}, usage: { output_tokens: 30 } },
    ]
    for (const frame of frames) tap.push(Buffer.from(`data: ${JSON.stringify(frame)}\n\n`))
    expect([tap.chatId, tap.usage]).toEqual([
      'msg_1',
      { uncachedInput: 40, cacheRead: 60, cacheWrite: 0, output: 30, reasoning: 0 },
    ])
  })
})

describe('through the gateway', () => {
  const MESSAGE = {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude',
    content: [{ type: 'text', text: 'hello' }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 40, cache_read_input_tokens: 60, output_tokens: 30 },
  }
  const anthropic = createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(MESSAGE))
    })
  })
  const usage = {
    prompt_tokens: 100,
    completion_tokens: 30,
    prompt_tokens_details: { cached_tokens: 60 },
  }
  const choices = [
    { index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' },
  ]
  let world: World

  beforeAll(async () => {
    await listen(anthropic)
    world = await startWorld({
      extra: {
        providers: [
          {
            id: 'messages',
            kind: 'anthropic',
            base_url: `http://127.0.0.1:${portOf(anthropic)}/v1`,
            api_key: { env: 'UPSTREAM_KEY' },
          },
          {
            id: 'nowhere',
            kind: 'openai',
            base_url: 'http://127.0.0.1:1/v1',
            api_key: { env: 'UPSTREAM_KEY' },
          },
        ],
        models: [
          {
            name: 'foreign',
            confidentiality: 'plain',
            routes: [{ provider: 'messages', model: 'claude' }],
          },
          {
            name: 'unreachable',
            confidentiality: 'plain',
            routes: [{ provider: 'nowhere', model: 'test-model' }],
          },
        ],
      },
      edit: (document) =>
        Object.assign(document, {
          prices: [
            {
              model: 'test-model',
              provider: 'plain',
              input_per_million_usd: 3,
              cached_input_per_million_usd: 0.3,
              output_per_million_usd: 15,
            },
            {
              model: 'claude',
              input_per_million_usd: 3,
              cached_input_per_million_usd: 0.3,
              output_per_million_usd: 15,
            },
          ],
        }),
    })
  })
  afterAll(async () => {
    await world.close()
    anthropic.closeAllConnections()
    await stop(anthropic)
  })
  beforeEach(() => {
    world.logs.length = 0
    for (const server of [world.plain, world.plainBackup, world.model]) {
      server.reset()
      Object.assign(server.chat, { answer: null, cutAfterChunks: null })
    }
  })

  const metered = (): Record<string, unknown>[] =>
    world.logs
      .map((line): Record<string, unknown> => JSON.parse(line))
      .filter((event) => event['event'] === 'prompt_metered')
  const headerOf = ({ headers }: Answer) => headers['x-vouchgate-cost-usd']
  const COST = 40 * 3 + 60 * 0.3 + 30 * 15

  test('a whole answer that passes unread says its cost in a header, the log and the counters', async () => {
    world.plain.chat.answer = { status: 200, body: JSON.stringify({ id: 'c', choices, usage }) }
    const answer = await world.chat(prompt('ordinary'))
    expect(headerOf(answer)).toBe('0.000588')
    expect(COST).toBe(588)
    const { level, time, request, ...rest } = metered()[0] ?? {}
    expect(request).toBe(answer.headers['x-request-id'])
    expect(rest).toEqual({
      event: 'prompt_metered',
      key: 'everything',
      team: 'testers',
      model: 'ordinary',
      provider: 'plain',
      end: 'complete',
      uncachedInput: 40,
      cacheRead: 60,
      cacheWrite: 0,
      output: 30,
      reasoning: 0,
      costMicroUsd: 588,
      priceTable: PRICES_VERSION,
    })
    const { text } = await world.admin('/metrics')
    const labels = 'provider="plain",model="ordinary"'
    expect(text).toContain(`vouchgate_cost_micro_usd_total{${labels}} 588`)
    expect(text).toContain(`vouchgate_prompts_metered_total{${labels},cost="known"} 1`)
    expect(text).toContain(`vouchgate_tokens_total{${labels},kind="uncached_input"} 40`)
    expect(text).toContain(`vouchgate_tokens_total{${labels},kind="cache_read"} 60`)
    expect(text).toContain(`vouchgate_tokens_total{${labels},kind="output"} 30`)
  })

  test('a converted answer is counted the same', async () => {
    const answer = await world.chat(prompt('foreign'))
    expect([answer.status, headerOf(answer)]).toEqual([200, '0.000588'])
    expect(metered()).toMatchObject([
      { provider: 'messages', uncachedInput: 40, cacheRead: 60, output: 30, costMicroUsd: 588 },
    ])
  })

  test('an answer in Anthropic’s words that passes unread is counted the same', async () => {
    const answer = await world.call('/v1/messages', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(prompt('foreign', { max_tokens: 10 })),
    })
    expect([answer.status, headerOf(answer)]).toEqual([200, '0.000588'])
    expect(metered()).toMatchObject([{ uncachedInput: 40, cacheRead: 60, costMicroUsd: 588 }])
  })

  test('a stream says it in the log alone: its head left before', async () => {
    const frame = (body: object) => `data: ${JSON.stringify({ id: 'c', ...body })}\n\n`
    world.plain.chat.answer = {
      status: 200,
      headers: { 'content-type': 'text/event-stream' },
      body: `${frame({ choices: [] })}${frame({ choices: [], usage })}data: [DONE]\n\n`,
    }
    const answer = await world.chat(prompt('ordinary', { stream: true }))
    expect([answer.status, headerOf(answer)]).toEqual([200, undefined])
    expect(metered()).toMatchObject([{ end: 'complete', costMicroUsd: 588 }])
  })

  test('a price that nobody states is said to be unknown: no header, null, a counter', async () => {
    world.model.chat.answer = { status: 200, body: JSON.stringify({ id: 'c', choices, usage }) }
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, headerOf(answer)]).toEqual([200, undefined])
    expect(metered()).toMatchObject([{ provider: 'tee', output: 30, costMicroUsd: null }])
    const { text } = await world.admin('/metrics')
    const labels = 'provider="tee",model="secure"'
    expect(text).toContain(`vouchgate_prompts_metered_total{${labels},cost="unknown"} 1`)
    expect(text).not.toContain(`vouchgate_cost_micro_usd_total{${labels}}`)
  })

  test('an answer without counts has no cost, though its price is known', async () => {
    world.plain.chat.answer = { status: 200, body: JSON.stringify({ id: 'c', choices }) }
    expect(headerOf(await world.chat(prompt('ordinary')))).toBeUndefined()
    expect(metered()).toMatchObject([{ output: null, uncachedInput: null, costMicroUsd: null }])
  })

  test('a prompt that was sent and not answered is accounted for; one that was not sent is not', async () => {
    world.plain.chat.answer = { status: 500, body: '{}' }
    await world.chat(prompt('ordinary'))
    expect(metered()).toMatchObject([{ end: 'upstream_error', output: null, costMicroUsd: null }])
    world.logs.length = 0
    await world.chat(prompt('no-such-model'))
    await world.chat(prompt('ordinary', { provider: { aci_verified: true } }))
    expect((await world.chat(prompt('unreachable'))).at('error.code')).toBe('upstream_unreachable')
    expect(metered()).toEqual([])
  })

  test('a fallback is accounted to the provider that answered', async () => {
    world.plain.chat.answer = { status: 500, body: '{}' }
    const answer = await world.chat(prompt('ordinary-resilient'))
    expect(answer.status).toBe(200)
    expect(metered().map((event) => member(event, 'provider'))).toEqual(['plain-backup'])
  })
})
