import { describe, expect, test } from 'vitest'
import type {
  AssistantPart,
  CanonicalRequest,
  CanonicalUsage,
  Message,
  UserPart,
} from '../../src/dialects/canonical.ts'
import { cohere } from '../../src/dialects/cohere/dialect.ts'
import {
  decodeEmbed,
  decodeRerank,
  encodeEmbed,
  encodeRerank,
} from '../../src/dialects/cohere/embed.ts'
import { hasVectors } from '../support/vectors.ts'
import {
  asking,
  bodies,
  callsOf,
  has,
  items,
  lines,
  number,
  parse,
  pick,
  readings,
  recordings,
  text,
  textOf,
  usageOf,
  user,
} from './recordings.ts'
import { decodeIn, target } from './decoding.ts'

const MODEL = 'command-a-03-2025'

const chats = recordings('cohere', '/v2/chat')
const whole = [
  ...chats,
  ...bodies('_vercel-ai/cohere', '.json').filter(({ body }) => has(parse(body), 'message')),
]
const streams = bodies('_vercel-ai/cohere', '.chunks.txt').map(({ name, body }) => ({
  name,
  body: Buffer.from(
    lines(body)
      .map((line) => `event: ${text(parse(line), 'type')}\ndata: ${line}\n\n`)
      .join(''),
  ),
}))
const failures = [...recordings('cohere', '/v2/'), ...recordings('voyage', '/v1/')].filter(
  ({ status }) => status >= 400,
)

const FINISH: Record<string, string> = {
  COMPLETE: 'stop',
  MAX_TOKENS: 'length',
  TOOL_CALL: 'tool_calls',
}

function expectUsage(usage: CanonicalUsage | null, said: unknown): void {
  const cached = number(said, 'cached_tokens')
  expect(usage).toEqual({
    uncachedInput: number(said, 'tokens', 'input_tokens') - cached,
    cacheRead: cached,
    cacheWrite: 0,
    output: number(said, 'tokens', 'output_tokens'),
    reasoning: 0,
    billed: {
      input: number(said, 'billed_units', 'input_tokens'),
      output: number(said, 'billed_units', 'output_tokens'),
    },
  })
}

const input = (said: string): unknown => parse(said === '' ? '{}' : said) ?? {}

/** Every `message` of a stream's deltas. */
const deltasOf = (body: Buffer): unknown[] =>
  lines(body)
    .filter((line) => line.startsWith('data: '))
    .map((line) => parse(line.slice('data: '.length)))

describe.skipIf(!hasVectors)('recorded answers of Cohere', () => {
  test('are there', () => {
    expect(whole.length).toBeGreaterThan(8)
    expect(streams.length).toBeGreaterThan(3)
    expect(failures.length).toBeGreaterThan(1)
  })

  test.each(whole)('$name: whole', ({ body }) => {
    const raw = parse(body)
    const answer = cohere.decode(body, target(MODEL))
    const parts = answer.choices[0]?.parts ?? []
    const content = items(raw, 'message', 'content')
    const of = (type: 'text' | 'reasoning') =>
      parts.map((part) => (part.type === type ? part.text : '')).join('')
    expect(of('text')).toBe(content.map((one) => text(one, 'text')).join(''))
    expect(of('reasoning')).toBe(
      text(raw, 'message', 'tool_plan') + content.map((one) => text(one, 'thinking')).join(''),
    )
    expect(
      parts
        .filter((part) => part.type === 'tool_call')
        .map((part) => [part.id, part.name, parse(part.arguments)]),
    ).toEqual(
      items(raw, 'message', 'tool_calls').map((call) => [
        text(call, 'id'),
        text(call, 'function', 'name'),
        input(text(call, 'function', 'arguments')),
      ]),
    )
    expect(answer.id).toBe(text(raw, 'id'))
    expect(answer.choices[0]?.finish).toBe(FINISH[text(raw, 'finish_reason')])
    expectUsage(answer.usage, pick(raw, 'usage'))
  })

  test.each(streams)('$name: streamed', ({ body }) => {
    const events = decodeIn(cohere.stream(target(MODEL)), [body])
    const deltas = deltasOf(body)
    const message = (delta: unknown) => pick(delta, 'delta', 'message')
    const join = (...path: string[]) => deltas.map((one) => text(message(one), ...path)).join('')
    const started = deltas.filter((one) => text(one, 'type') === 'tool-call-start')
    const argumentsOf = (start: unknown) =>
      deltas
        .filter(
          (one) =>
            text(one, 'type').startsWith('tool-call') &&
            pick(one, 'index') === pick(start, 'index'),
        )
        .map((one) => text(message(one), 'tool_calls', 'function', 'arguments'))
        .join('')
    const end = deltas.find((one) => text(one, 'type') === 'message-end')
    expect(events[0]).toMatchObject({ type: 'start', id: text(deltas[0], 'id') })
    expect(textOf(events, 'text')).toBe(join('content', 'text'))
    expect(textOf(events, 'reasoning')).toBe(join('tool_plan') + join('content', 'thinking'))
    expect(callsOf(events)).toEqual(
      started.map((start) => ({
        name: text(message(start), 'tool_calls', 'function', 'name'),
        input: input(argumentsOf(start)),
      })),
    )
    expect(events.filter(({ type }) => type === 'finish')).toEqual([
      {
        type: 'finish',
        choice: 0,
        reason: FINISH[text(end, 'delta', 'finish_reason')],
        stopSequence: null,
      },
    ])
    expectUsage(usageOf(events), pick(end, 'delta', 'usage'))
  })

  test.each(streams)('$name: cut anywhere', ({ body }) => {
    expect(readings(() => cohere.stream(target(MODEL)), body).size).toBe(1)
  })

  test.each(streams)('$name: broken off', ({ body }) => {
    const end = body.indexOf('\n', body.lastIndexOf('data: '))
    for (let at = 0; at < end; at += Math.max(1, Math.floor(end / 300))) {
      const decoder = cohere.stream(target(MODEL))
      decoder.push(body.subarray(0, at))
      expect(() => decoder.end(), `cut at ${at}`).toThrow(
        expect.objectContaining({ code: 'upstream_broken' }),
      )
    }
  })

  test.each(failures)('$name: $status', ({ status, body }) => {
    const message = status === 404 ? null : text(parse(body), 'detail')
    expect(cohere.classify(status, {}, body)).toEqual({
      class: status === 404 ? 'not_found' : 'bad_request',
      status,
      retryAfterSeconds: null,
      message,
    })
  })

  const plain = chats.filter(({ request }) => !JSON.stringify(request).includes('thinking'))
  test.each(plain)('$name: the request comes out as it was sent', ({ request, url }) => {
    const messages = items(request, 'messages').map((message): Message => {
      const said = text(message, 'content')
      const parts = [{ type: 'text' as const, text: said }]
      return text(message, 'role') === 'system' ? { role: 'system', parts } : user(said)
    })
    const encoded = cohere.encode(asking(messages), target(text(request, 'model')))
    expect(url.endsWith(encoded.path)).toBe(true)
    expect(parse(encoded.body)).toEqual(request)
  })

  const vectors = recordings('cohere', '/v2/embed').filter(({ status }) => status === 200)
  test.each(vectors)('$name: vectors', ({ request, body }) => {
    const read = decodeEmbed(body, items(request, 'texts').length)
    expect(read.vectors).toEqual(pick(parse(body), 'embeddings', 'float'))
    expect(read.inputTokens).toBe(pick(parse(body), 'meta', 'billed_units', 'input_tokens'))
  })

  const onBedrock = recordings('bedrock', '/cohere.embed').filter(({ status }) => status === 200)
  test.each(onBedrock)('$name: vectors of Bedrock', ({ request, body }) => {
    const { vectors: read } = decodeEmbed(body, items(request, 'texts').length)
    const given = pick(parse(body), 'embeddings')
    expect(read).toEqual(Array.isArray(given) ? given : pick(given, 'float'))
  })

  test('a ranking', () => {
    const [ranked] = bodies('_vercel-ai/cohere', 'reranking.1.json')
    expect(decodeRerank(ranked?.body ?? Buffer.alloc(0), 2)).toEqual({
      results: [
        { index: 1, score: 0.101_830_54 },
        { index: 0, score: 0.037_626_39 },
      ],
      searchUnits: 1,
    })
  })
})

const encode = (request: CanonicalRequest): unknown =>
  parse(cohere.encode(request, target(MODEL)).body)
const refused = expect.objectContaining({ code: 'request_not_supported' })
const malformed = expect.objectContaining({ code: 'upstream_malformed' })

const call = (id: string, said: string): AssistantPart => ({
  type: 'tool_call',
  id,
  name: 'f',
  arguments: said,
  signature: 'G',
})
const thought: AssistantPart = {
  type: 'reasoning',
  text: 'hm',
  signature: 'S',
  encrypted: null,
  id: null,
}
const tool = (name: string, strict: boolean | null) => ({
  name,
  description: 'd',
  parameters: null,
  strict,
})

describe('a request to Cohere', () => {
  test('has its turns', () => {
    const messages: Message[] = [
      {
        role: 'developer',
        parts: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      {
        role: 'user',
        parts: [
          { type: 'text', text: 'c' },
          {
            type: 'image',
            source: { kind: 'base64', mediaType: 'image/png', data: 'AA' },
            detail: 'low',
          },
        ],
        name: null,
      },
      { role: 'assistant', parts: [thought, call('1', ''), call('2', '{"x": 1}')] },
      {
        role: 'tool',
        results: [
          { callId: '1', parts: [{ type: 'text', text: 'r' }], isError: true },
          { callId: '2', parts: [], isError: false },
        ],
      },
      { role: 'assistant', parts: [thought, { type: 'text', text: 'd' }] },
      { role: 'assistant', parts: [{ type: 'refusal', text: 'no' }] },
      user('e'),
    ]
    expect(pick(encode(asking(messages)), 'messages')).toEqual([
      { role: 'system', content: 'ab' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'c' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA', detail: 'low' } },
        ],
      },
      {
        role: 'assistant',
        tool_plan: 'hm',
        tool_calls: [
          { id: '1', type: 'function', function: { name: 'f', arguments: '{}' } },
          { id: '2', type: 'function', function: { name: 'f', arguments: '{"x": 1}' } },
        ],
      },
      { role: 'tool', tool_call_id: '1', content: 'r' },
      { role: 'tool', tool_call_id: '2', content: '' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm' },
          { type: 'text', text: 'd' },
        ],
      },
      { role: 'assistant', content: 'no' },
      { role: 'user', content: 'e' },
    ])
  })

  test('has every setting under its name', () => {
    const sampling = {
      maxTokens: 1,
      temperature: 0,
      topP: 1,
      topK: 2,
      seed: 3,
      frequencyPenalty: 0.25,
      presencePenalty: 0.5,
      stop: ['x'],
      n: 1,
    }
    const schema = { type: 'object' }
    const format = {
      type: 'json_schema',
      name: 'n',
      description: null,
      schema,
      strict: true,
    } as const
    const reasoning = { effort: null, budgetTokens: 100 }
    const sent = encode(asking([user('a')], { stream: true, sampling, format, reasoning }))
    expect(sent).toEqual({
      model: MODEL,
      stream: true,
      messages: [{ role: 'user', content: 'a' }],
      response_format: { type: 'json_object', json_schema: schema },
      thinking: { type: 'enabled', token_budget: 100 },
      max_tokens: 1,
      temperature: 0,
      p: 0.99,
      k: 2,
      seed: 3,
      frequency_penalty: 0.25,
      presence_penalty: 0.5,
      stop_sequences: ['x'],
    })
  })

  test.each([
    [{ effort: 'none', budgetTokens: null }, { type: 'disabled' }],
    [{ effort: 'high', budgetTokens: null }, { type: 'enabled' }],
    [{ effort: null, budgetTokens: 0 }, { type: 'disabled' }],
    [{ effort: null, budgetTokens: null }, undefined],
  ] as const)('thinks as told by %o', (reasoning, wanted) => {
    expect(pick(encode(asking([user('a')], { reasoning })), 'thinking')).toEqual(wanted)
  })

  const spec = (name: string) => ({
    type: 'function',
    function: { name, description: 'd', parameters: { type: 'object', properties: {} } },
  })
  test.each([
    [null, [spec('f'), spec('g')], undefined],
    [{ type: 'auto' }, [spec('f'), spec('g')], undefined],
    [{ type: 'none' }, [spec('f'), spec('g')], 'NONE'],
    [{ type: 'required' }, [spec('f'), spec('g')], 'REQUIRED'],
    [{ type: 'tool', name: 'g' }, [spec('g')], 'REQUIRED'],
  ] as const)('has tools for the choice %o', (toolChoice, tools, wanted) => {
    const sent = encode(
      asking([user('a')], { tools: [tool('f', null), tool('g', true)], toolChoice }),
    )
    expect(sent).toMatchObject({ tools, strict_tools: true })
    expect(pick(sent, 'tool_choice')).toBe(wanted)
  })

  const part = (one: UserPart) => asking([{ role: 'user', parts: [one], name: null }])
  const sampling = asking([]).sampling
  test.each<[string, CanonicalRequest]>([
    ['sound', part({ type: 'audio', format: 'wav', data: '' })],
    ['a file', part({ type: 'file', source: { kind: 'id', id: 'x' }, name: null })],
    ['several answers', asking([user('a')], { sampling: { ...sampling, n: 2 } })],
    ['log probabilities', asking([user('a')], { logprobs: 1 })],
    [
      'six stop sequences',
      asking([user('a')], { sampling: { ...sampling, stop: ['1', '2', '3', '4', '5', '6'] } }),
    ],
    [
      'an image as a result',
      asking([
        {
          role: 'tool',
          results: [
            {
              callId: '1',
              isError: false,
              parts: [
                { type: 'image', source: { kind: 'url', url: 'https://e.example' }, detail: null },
              ],
            },
          ],
        },
      ]),
    ],
  ])('is refused with %s', (_, request) => {
    expect(() => encode(request)).toThrow(refused)
  })

  test('is refused with the choice of a tool that is not there', () => {
    const request = asking([user('a')], {
      tools: [tool('f', null)],
      toolChoice: { type: 'tool', name: 'x' },
    })
    expect(() => encode(request)).toThrow(expect.objectContaining({ code: 'invalid_request' }))
  })
})

describe('a failure of Cohere', () => {
  test.each([
    [400, 'invalid request: x', 'bad_request'],
    [400, 'too many tokens: total number of tokens exceeds', 'context_length'],
    [401, 'invalid api token', 'auth'],
    [402, 'billing', 'quota'],
    [404, 'model x not found', 'not_found'],
    [422, 'unprocessable', 'bad_request'],
    [429, 'please wait', 'rate_limit'],
    [429, 'You are using a Trial key, which is limited to 1000 API calls / month', 'quota'],
    [498, 'invalid token', 'auth'],
    [500, 'oops', 'server'],
    [503, 'busy', 'overloaded'],
    [504, 'late', 'server'],
  ] as const)('%i %s', (status, message, kind) => {
    const body = Buffer.from(JSON.stringify({ id: '1', message }))
    const told = kind === 'bad_request' || kind === 'context_length' ? message : null
    expect(cohere.classify(status, {}, body)).toEqual({
      class: kind,
      status,
      retryAfterSeconds: null,
      message: told,
    })
  })

  test('within a stream is how it finished', () => {
    const body = 'data: {"type":"message-end","delta":{"finish_reason":"ERROR"}}\n\n'
    expect(decodeIn(cohere.stream(target(MODEL)), [Buffer.from(body)])).toMatchObject([
      { type: 'start' },
      { type: 'finish', reason: 'error' },
    ])
  })
})

describe('vectors and rankings of Cohere', () => {
  test('are asked for', () => {
    const { path, body } = encodeEmbed({
      model: 'm',
      texts: ['a'],
      inputType: 'search_query',
      dimensions: 2,
    })
    expect([path, parse(body)]).toEqual([
      '/embed',
      {
        model: 'm',
        texts: ['a'],
        input_type: 'search_query',
        embedding_types: ['float'],
        output_dimension: 2,
      },
    ])
    const ranking = encodeRerank({ model: 'm', query: 'q', documents: ['a'], topN: null })
    expect([ranking.path, parse(ranking.body)]).toEqual([
      '/rerank',
      { model: 'm', query: 'q', documents: ['a'] },
    ])
  })

  test.each([
    ['of too few texts', '{"embeddings":{"float":[[1]]}}'],
    ['that are empty', '{"embeddings":{"float":[[1],[]]}}'],
    ['that hold no numbers', '{"embeddings":{"float":[[1],["2"]]}}'],
    ['that are not there', '{}'],
    ['that are no JSON', '{'],
  ])('are refused: vectors %s', (_, body) => {
    expect(() => decodeEmbed(Buffer.from(body), 2)).toThrow(malformed)
  })

  test.each([
    ['of a document that is not there', '{"results":[{"index":2,"relevance_score":1}]}'],
    [
      'twice of one document',
      '{"results":[{"index":1,"relevance_score":1},{"index":1,"relevance_score":1}]}',
    ],
    ['without a score', '{"results":[{"index":1}]}'],
    ['that is not there', '{}'],
  ])('are refused: a ranking %s', (_, body) => {
    expect(() => decodeRerank(Buffer.from(body), 2)).toThrow(malformed)
  })
})
