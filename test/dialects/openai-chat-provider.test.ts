import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CanonicalAnswer, CanonicalUsage } from '../../src/dialects/canonical.ts'
import { ProviderError } from '../../src/dialects/dialect.ts'
import { OpenAiChatProvider } from '../../src/dialects/openai-chat/provider.ts'
import type { VariantName } from '../../src/dialects/openai-chat/variants.ts'
import { GatewayError } from '../../src/errors.ts'
import { hasVectors } from '../support/vectors.ts'
import { bodies, callsOf, cuts, exchanges, textOf, type Recording } from './traffic.ts'
import { decodeIn, joined, target } from './decoding.ts'

const frame = (line: string): string => `data: ${line}\n\n`
const DONE = 'data: [DONE]\n\n'

const FOLDERS: [string, VariantName][] = [
  ['openai-chat', 'openai'],
  ['azure-openai', 'azure'],
  ['groq', 'groq'],
  ['deepseek', 'deepseek'],
  ['mistral', 'mistral'],
  ['openrouter', 'openrouter'],
  ['cerebras', 'cerebras'],
  ['zai', 'generic'],
  ['huggingface-tgi', 'tgi'],
  ['ollama', 'ollama'],
]
const BODY_FOLDERS: [string, VariantName][] = [
  ['_vercel-ai/openai', 'openai'],
  ['_vercel-ai/azure-openai', 'azure'],
  ['_vercel-ai/openai-compatible', 'generic'],
  ['_vercel-ai/groq', 'groq'],
  ['_vercel-ai/mistral', 'mistral'],
  ['_vercel-ai/deepseek', 'deepseek'],
  ['_vercel-ai/xai', 'xai'],
  ['_vercel-ai/alibaba', 'generic'],
  ['_vercel-ai/moonshotai', 'generic'],
  ['_vercel-ai/perplexity', 'generic'],
  ['_gomodel/openai', 'openai'],
  ['_gomodel/groq', 'groq'],
  ['_gomodel/xai', 'xai'],
  ['_gomodel/gemini', 'generic'],
]

type Case = Recording & { readonly variant: VariantName }

const isChat = ({ body }: Recording): boolean =>
  /"(?:delta|message)"\s*:\s*\{/.test(body.toString())
const CASES: Case[] = [
  ...FOLDERS.flatMap(([folder, variant]) =>
    exchanges(folder)
      .filter(({ url }) => url.includes('/chat/completions'))
      .map((one) => ({ ...one, variant })),
  ),
  ...BODY_FOLDERS.flatMap(([folder, variant]) =>
    bodies(folder, frame, DONE)
      .filter((one) => isChat(one) && !one.body.includes('"error"'))
      .map((one) => ({ ...one, variant })),
  ),
]
/** Not answers at all: a service that echoes requests. */
const ECHOES = ['text_response.response.txt', 'invalid_response.response.json']
const isEcho = ({ name }: Case): boolean => ECHOES.some((echo) => name.endsWith(echo))

/** Two streams that end in an error. */
const FAILING = [
  'tool_use_failed_error_streaming.0.response.sse',
  'openrouter_stream_error.response.sse',
]
const isFailing = ({ name }: Case): boolean => FAILING.some((file) => name.endsWith(file))

const good = CASES.filter((one) => one.status === 200 && !isEcho(one) && !isFailing(one))
const whole = good.filter(({ isStream }) => !isStream)
const streams = good.filter(({ isStream }) => isStream)
const errors = CASES.filter(({ status }) => status >= 400)

interface RawUsage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details?: { cached_tokens?: number } | null
  prompt_cache_hit_tokens?: number
  cached_tokens?: number
  completion_tokens_details?: { reasoning_tokens?: number } | null
}
interface RawDelta {
  content?: string | { type: string; text?: string }[] | null
  tool_calls?:
    | { id?: string; index?: number; function: { name?: string; arguments?: string } }[]
    | null
}
interface RawChunk {
  choices: { delta?: RawDelta; message?: RawDelta }[]
  usage?: RawUsage | null
  x_groq?: { usage?: RawUsage }
}

const rawText = ({ content }: RawDelta): string =>
  typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join('')

const NOTHING: RawUsage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }

const rawCached = (raw: RawUsage): number =>
  raw.prompt_tokens_details?.cached_tokens ?? raw.prompt_cache_hit_tokens ?? raw.cached_tokens ?? 0

function expectUsage(usage: CanonicalUsage | null, given: RawUsage | null | undefined): void {
  expect(usage === null).toBe(given === null || given === undefined)
  const raw = given ?? NOTHING
  const {
    uncachedInput = 0,
    cacheRead = 0,
    cacheWrite = 0,
    output = 0,
    reasoning = 0,
  } = usage ?? {}
  expect(uncachedInput + cacheRead + cacheWrite).toBe(raw.prompt_tokens)
  expect(cacheRead).toBe(rawCached(raw))
  const outside = raw.total_tokens - raw.prompt_tokens - raw.completion_tokens
  expect(output + reasoning).toBe(raw.completion_tokens + outside)
  const stated = raw.completion_tokens_details?.reasoning_tokens ?? outside
  expect(reasoning).toBe(Math.min(stated, output + reasoning))
}

const chunksOf = ({ body }: Recording): RawChunk[] =>
  body
    .toString()
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line): RawChunk => JSON.parse(line.slice(6)))

describe.skipIf(!hasVectors)('recorded answers of chat completions', () => {
  test('there are many', () => {
    expect(whole.length).toBeGreaterThan(70)
    expect(streams.length).toBeGreaterThan(25)
    expect(errors.length).toBeGreaterThan(10)
  })

  test.each(whole)('$name', ({ body, variant }) => {
    const raw: RawChunk = JSON.parse(body.toString())
    const answer = new OpenAiChatProvider(variant).decode(body, target())
    expect(answer.choices.length).toBe(raw.choices.length)
    for (const [at, { message = {} }] of raw.choices.entries()) {
      const parts = answer.choices[at]?.parts ?? []
      const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
      expect(text).toBe(rawText(message))
      const calls = parts.flatMap((part) => (part.type === 'tool_call' ? [part] : []))
      expect(calls.map((call) => [call.name, JSON.parse(call.arguments)])).toEqual(
        (message.tool_calls ?? []).map((call) => [
          call.function.name,
          JSON.parse(call.function.arguments ?? ''),
        ]),
      )
      expect(calls.every((call) => call.id !== '')).toBe(true)
      expect(answer.choices[at]?.finish === 'tool_calls').toBe(calls.length > 0)
    }
    expectUsage(answer.usage, raw.usage)
  })

  test.each(streams)('$name', ({ body, variant }) => {
    const raw = chunksOf({ name: '', status: 200, url: '', isStream: true, body, request: null })
    const events = decodeIn(new OpenAiChatProvider(variant).stream(target()), [body])
    const deltas = raw.flatMap(({ choices }) => choices.map(({ delta }) => delta ?? {}))
    expect(textOf(events)).toBe(deltas.map(rawText).join(''))
    const calls = new Map<string | number, { name: string; text: string }>()
    for (const one of deltas.flatMap((delta) => delta.tool_calls ?? [])) {
      const key = one.index ?? one.id ?? ''
      const call = calls.get(key) ?? { name: one.function.name ?? '', text: '' }
      calls.set(key, { ...call, text: call.text + (one.function.arguments ?? '') })
    }
    expect(callsOf(events)).toEqual(
      [...calls.values()].map(({ name, text }) => [name, JSON.parse(text)]),
    )
    const used = raw.flatMap((chunk) => chunk.usage ?? chunk.x_groq?.usage ?? []).at(-1)
    const usage = events.flatMap((event) => (event.type === 'usage' ? [event.usage] : []))
    expect(usage.length).toBe(used === undefined ? 0 : 1)
    expectUsage(usage.at(-1) ?? null, used)
    expect(events[0]?.type).toBe('start')
    expect(events.filter(({ type }) => type === 'finish').length).toBe(1)
  })

  test.each(streams)('$name is the same wherever it is cut', ({ body, variant }) => {
    const dialect = new OpenAiChatProvider(variant)
    const expected = joined(decodeIn(dialect.stream(target()), [body]))
    for (const at of cuts(body.length)) {
      const pieces = [body.subarray(0, at), body.subarray(at)]
      expect(joined(decodeIn(dialect.stream(target()), pieces))).toEqual(expected)
    }
    const bytes = Array.from(body, (_, at) => body.subarray(at, at + 1))
    expect(joined(decodeIn(dialect.stream(target()), bytes))).toEqual(expected)
  })

  test.each(streams.filter(({ variant }) => variant !== 'generic' && variant !== 'tgi'))(
    '$name is broken before its end',
    ({ body, variant }) => {
      const dialect = new OpenAiChatProvider(variant)
      const last = body.lastIndexOf('[DONE]') + '[DONE]'.length
      for (const at of cuts(last)) {
        const decode = (): unknown => decodeIn(dialect.stream(target()), [body.subarray(0, at)])
        expect(decode, `${at}`).toThrow(new GatewayError('upstream_broken'))
      }
    },
  )

  test.each(CASES.filter(isFailing))('$name ends in a failure', ({ body, variant }) => {
    const events = decodeIn(new OpenAiChatProvider(variant).stream(target()), [body])
    const last = events.at(-1)
    expect(last?.type).toBe('failure')
    expect(events.filter(({ type }) => type === 'finish')).toEqual([])
    expect(last).toMatchObject({ failure: { status: 400 } })
  })

  test.each(CASES.filter(isEcho))('$name is malformed', ({ body, variant }) => {
    expect(() => new OpenAiChatProvider(variant).decode(body, target())).toThrow(
      new GatewayError('upstream_malformed'),
    )
  })

  test.each(errors)('$name is classified', ({ body, status, name, variant }) => {
    const failure = new OpenAiChatProvider(variant).classify(status, {}, body)
    const error = Object.entries(ERRORS).find(([part]) => name.includes(part))?.[1]
    expect(failure.class, name).toBe(error ?? 'bad_request')
    expect(failure.status).toBe(status)
    expect(failure.message !== null).toBe(failure.class === 'bad_request')
  })
})

const ERRORS = {
  'model-not-found': 'not_found',
  'unknown-model': 'not_found',
  tool_regular_error: 'not_found',
  tool_use_failed: 'server',
  openrouter_errors_raised: 'rate_limit',
}

const provider = new OpenAiChatProvider('openai')
const decode = (value: unknown): CanonicalAnswer =>
  provider.decode(Buffer.from(JSON.stringify(value)), target())

describe('failures', () => {
  test.each([
    [400, { error: { message: 'm', code: 'context_length_exceeded' } }, 'context_length'],
    [
      400,
      { error: { message: "This model's maximum context length is 8192 tokens" } },
      'context_length',
    ],
    [413, { object: 'error', message: 'the prompt is too long', code: 400 }, 'context_length'],
    [
      400,
      { error: { code: 'content_filter', innererror: { code: 'ResponsibleAIPolicyViolation' } } },
      'content_filter',
    ],
    [
      400,
      { error: { message: 'm', innererror: { code: 'ResponsibleAIPolicyViolation' } } },
      'content_filter',
    ],
    [401, { error: { message: 'Incorrect API key provided: sk-1234' } }, 'auth'],
    [403, {}, 'auth'],
    [402, { error: { message: 'Insufficient Balance' } }, 'quota'],
    [429, { error: { code: 'insufficient_quota' } }, 'quota'],
    [429, { error: { type: 'tokens', code: 'rate_limit_exceeded' } }, 'rate_limit'],
    [429, '<html>', 'rate_limit'],
    [404, { error: { code: 'DeploymentNotFound' } }, 'not_found'],
    [
      422,
      { object: 'error', message: { detail: [{ msg: 'bad', input: 'secret' }] } },
      'bad_request',
    ],
    [422, { detail: [{ msg: 'bad', input: 'secret' }] }, 'bad_request'],
    [400, [{ error: { code: 400, message: 'bad', status: 'INVALID_ARGUMENT' } }], 'bad_request'],
    [400, { error: 'bad' }, 'bad_request'],
    [498, {}, 'overloaded'],
    [503, {}, 'overloaded'],
    [500, { error: { message: 'm' } }, 'server'],
    [504, null, 'server'],
  ])('%i %j is %s', (status, body, means) => {
    const failure = provider.classify(status, {}, Buffer.from(JSON.stringify(body)))
    expect(failure.class).toBe(means)
    expect(failure.message ?? '').not.toContain('secret')
    const isClients = ['bad_request', 'context_length', 'content_filter'].includes(means)
    expect(failure.message === null || isClients).toBe(true)
  })

  test('words are cut to a thousand characters', () => {
    const body = JSON.stringify({ error: { message: 'x'.repeat(5000) } })
    expect(provider.classify(400, {}, Buffer.from(body)).message).toHaveLength(1000)
  })

  test.each([
    [{ 'retry-after': '7' }, 7],
    [{ 'retry-after': '86400' }, 86_400],
    [{ 'retry-after': '86401' }, null],
    [{ 'retry-after': '-1' }, null],
    [{ 'retry-after': '1e9' }, null],
    [{}, null],
  ])('%j', (headers, seconds) => {
    expect(provider.classify(429, headers, Buffer.alloc(0)).retryAfterSeconds).toBe(seconds)
  })

  test('an error with status 200 is a failure', () => {
    expect(() => decode({ error: { code: 502, message: 'm' } })).toThrow(ProviderError)
    expect(() =>
      decode({ choices: [{ message: { content: '' }, finish_reason: 'error' }] }),
    ).toThrow(ProviderError)
  })
})

describe('what providers do differently', () => {
  test('calls that all have the index 0 are told apart by their ids', () => {
    const call = (id: string, name: string, args: string): string =>
      frame(
        JSON.stringify({
          id: 'x',
          choices: [
            {
              index: 0,
              delta: { tool_calls: [{ index: 0, id, function: { name, arguments: args } }] },
            },
          ],
        }),
      )
    const finish = frame(
      JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
    )
    const body = call('a', 'one', '{"a":1}') + call('b', 'two', '') + finish + DONE
    const events = decodeIn(provider.stream(target()), [Buffer.from(body)])
    expect(callsOf(events)).toEqual([
      ['one', { a: 1 }],
      ['two', {}],
    ])
    expect(events.at(-1)).toEqual({
      type: 'finish',
      choice: 0,
      reason: 'tool_calls',
      stopSequence: null,
    })
  })

  test('a provider that need not say [DONE] must have finished', () => {
    const generic = new OpenAiChatProvider('generic')
    const text = frame(
      JSON.stringify({ id: 'x', choices: [{ index: 0, delta: { content: 'a' } }] }),
    )
    const finish = frame(
      JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
    )
    expect(() => decodeIn(generic.stream(target()), [Buffer.from(text)])).toThrow('complete')
    expect(() => decodeIn(generic.stream(target()), [Buffer.from(text + DONE)])).toThrow('complete')
    expect(textOf(decodeIn(generic.stream(target()), [Buffer.from(text + finish)]))).toBe('a')
    expect(() => decodeIn(provider.stream(target()), [Buffer.from(text + finish)])).toThrow(
      'complete',
    )
  })

  test('arguments that are an object become text, none become an empty object', () => {
    const message = {
      tool_calls: [
        { function: { name: 'a', arguments: { x: 1 } } },
        { id: 'i', function: { name: 'b', arguments: '' } },
      ],
    }
    const { choices } = decode({ choices: [{ message, finish_reason: 'stop' }] })
    expect(choices[0]?.finish).toBe('tool_calls')
    expect(choices[0]?.parts).toMatchObject([
      { name: 'a', arguments: '{"x":1}', id: expect.stringMatching(/^call_[0-9a-f]{24}$/) },
      { name: 'b', arguments: '{}', id: 'i' },
    ])
  })
})

describe('hostile answers', () => {
  const json = fc.jsonValue({ maxDepth: 6 })
  const names = fc.constantFrom(
    'choices',
    'message',
    'delta',
    'content',
    'tool_calls',
    'function',
    'name',
    'arguments',
    'index',
    'id',
    'usage',
    'error',
    '__proto__',
    'constructor',
    'reasoning_details',
    'type',
    'text',
    'finish_reason',
    'prompt_tokens',
    'logprobs',
  )
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 7 },
      fc.constantFrom('', 'reasoning.text', 'function', 'stop', 0, 1, -1, 1e300, null, true, []),
      fc.dictionary(names, tie('tree'), { maxKeys: 5 }),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
  }))
  const only = (run: () => unknown): void => {
    try {
      run()
    } catch (error) {
      if (!(error instanceof GatewayError) && !(error instanceof ProviderError)) throw error
    }
  }

  test('only coded errors', () => {
    fc.assert(
      fc.property(fc.oneof(json, tree), (value) => {
        const body = Buffer.from(JSON.stringify(value))
        only(() => provider.decode(body, target()))
        only(() =>
          decodeIn(provider.stream(target()), [Buffer.from(`data: ${body.toString()}\n\n${DONE}`)]),
        )
        provider.classify(400, {}, body)
        expect(Object.hasOwn(Object.prototype, 'choices')).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })

  test('any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        only(() => provider.decode(Buffer.from(bytes), target()))
        only(() => decodeIn(provider.stream(target()), [Buffer.from(bytes)]))
        provider.classify(500, {}, Buffer.from(bytes))
      }),
    )
  })

  const delta = (value: unknown): string =>
    frame(JSON.stringify({ id: 'x', choices: [{ index: 0, delta: value }] }))
  const malformed = new GatewayError('upstream_malformed')

  test('calls without a name, too many calls, blocks and choices', () => {
    const read = (body: string) => (): unknown =>
      decodeIn(provider.stream(target()), [Buffer.from(body)])
    const call = (at: number): unknown => ({ index: at, id: `c${at}`, function: { name: 'f' } })
    const many = (count: number): unknown[] => Array.from({ length: count }, (_, at) => call(at))
    expect(read(delta({ tool_calls: [{ index: 0, function: { arguments: '{' } }] }))).toThrow(
      malformed,
    )
    expect(read(delta({ tool_calls: many(1025) }))).toThrow(malformed)
    const details = Array.from({ length: 10_001 }, (_, index) => ({
      type: 'reasoning.text',
      text: 't',
      index,
    }))
    expect(read(delta({ reasoning_details: details }))).toThrow(malformed)
    const choices = Array.from({ length: 129 }, (_, index) => ({ index, delta: {} }))
    expect(read(frame(JSON.stringify({ id: 'x', choices })))).toThrow(malformed)
    const answer = (calls: unknown[]) => (): unknown =>
      decode({ choices: [{ message: { tool_calls: calls }, finish_reason: 'stop' }] })
    expect(answer(many(1025))).toThrow(malformed)
    expect(answer([{ id: 'c', function: { arguments: '{}' } }])).toThrow(malformed)
  })

  test('a choice that holds an error is a failure', () => {
    const message = { role: 'assistant', content: 'half' }
    const error = { code: 502, message: 'm' }
    expect(() => decode({ choices: [{ message, error, finish_reason: 'stop' }] })).toThrow(
      ProviderError,
    )
  })

  test('deep nesting and many choices', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000)
    const nested = `{"choices":[{"message":{"tool_calls":[{"function":{"name":"a","arguments":{"a":${deep}}}}]}}]}`
    expect(() => provider.decode(Buffer.from(nested), target())).toThrow(
      new GatewayError('upstream_malformed'),
    )
    const many = { choices: Array.from({ length: 129 }, () => ({ message: {} })) }
    expect(() => decode(many)).toThrow(new GatewayError('upstream_malformed'))
  })
})
