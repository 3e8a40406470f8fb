import { describe, expect, test } from 'vitest'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import type {
  AssistantPart,
  CanonicalRequest,
  Message,
  Sampling,
  Tool,
  UserPart,
} from '../../src/dialects/canonical.ts'
import { GatewayError } from '../../src/errors.ts'
import { target } from './anthropic-recordings.ts'

const sampling: Sampling = {
  maxTokens: null,
  temperature: null,
  topP: null,
  topK: null,
  seed: null,
  frequencyPenalty: null,
  presencePenalty: null,
  stop: [],
  n: null,
}
const plain: CanonicalRequest = {
  model: 'm',
  stream: false,
  messages: [{ role: 'user', parts: [{ type: 'text', text: 'hi' }], name: null }],
  tools: [],
  toolChoice: null,
  parallelToolCalls: null,
  sampling,
  format: null,
  reasoning: null,
  logprobs: null,
  streamUsage: false,
  extra: {},
}
const tool = (name: string, more: Partial<Tool> = {}): Tool => ({
  name,
  description: null,
  parameters: null,
  strict: null,
  ...more,
})

const user = (...parts: readonly (UserPart | string)[]): Message => ({
  role: 'user',
  parts: parts.map((part) => (typeof part === 'string' ? { type: 'text', text: part } : part)),
  name: null,
})
const assistant = (...parts: readonly AssistantPart[]): Message => ({ role: 'assistant', parts })
const call = (id: string, name: string, text: string): AssistantPart => ({
  type: 'tool_call',
  id,
  name,
  arguments: text,
  signature: null,
})
const result = (callId: string, text: string, isError = false) => ({
  callId,
  parts: [{ type: 'text', text } as const],
  isError,
})
const thought = (text: string, signature: string | null): AssistantPart => ({
  type: 'reasoning',
  text,
  signature,
  encrypted: null,
  id: null,
})

const textOf = (request: Partial<CanonicalRequest>, model = target.model): string =>
  anthropic.encode({ ...plain, ...request }, { ...target, model }).body.toString('utf8')
const body = (request: Partial<CanonicalRequest>, model?: string): Record<string, unknown> =>
  JSON.parse(textOf(request, model))
const sampled = (more: Partial<Sampling>, model?: string) =>
  body({ sampling: { ...sampling, ...more } }, model)

const refused = new GatewayError('request_not_supported')

test('the least request', () => {
  expect(body({})).toEqual({
    model: 'claude-sonnet-4-5',
    max_tokens: 64_000,
    messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }],
    stream: false,
  })
})

describe('limits of tokens', () => {
  test.each([
    ['claude-3-opus-20240229', 4096],
    ['claude-3-5-haiku-20241022', 8192],
    ['claude-3-7-sonnet-20250219', 64_000],
    ['claude-opus-4-1-20250805', 32_000],
    ['claude-opus-4@20250514', 32_000],
    ['anthropic/claude-sonnet-4.5', 64_000],
    ['us.anthropic.claude-haiku-4-5-20251001-v1:0', 64_000],
    ['claude-fable-5', 64_000],
    ['claude-2.1', 4096],
    ['kimi-k2', 8192],
  ])('of %s', (model, limit) => {
    expect(body({}, model)).toMatchObject({ model, max_tokens: limit })
  })

  test('the client has the word', () => {
    expect(sampled({ maxTokens: 10 })).toMatchObject({ max_tokens: 10 })
  })
})

describe('turns', () => {
  test('instructions come to the top, later ones to the user', () => {
    const { system, messages } = body({
      messages: [
        { role: 'system', parts: [{ type: 'text', text: 'be brief' }] },
        { role: 'developer', parts: [{ type: 'text', text: 'be kind', cache: '1h' }] },
        user('one'),
        { role: 'system', parts: [{ type: 'text', text: 'now French' }] },
        user('two'),
      ],
    })
    expect(system).toEqual([
      { type: 'text', text: 'be brief' },
      { type: 'text', text: 'be kind', cache_control: { type: 'ephemeral', ttl: '1h' } },
    ])
    expect(messages).toEqual([
      {
        role: 'user',
        content: ['one', 'now French', 'two'].map((text) => ({ type: 'text', text })),
      },
    ])
  })

  test('one instruction is a string; alone it is what the user says', () => {
    const only: Message = { role: 'system', parts: [{ type: 'text', text: 'be brief' }] }
    expect(body({ messages: [only, user('hi')] })).toMatchObject({ system: 'be brief' })
    const alone = body({ messages: [only] })
    expect(alone).not.toHaveProperty('system')
    expect(alone).toMatchObject({
      messages: [{ role: 'user', content: [{ type: 'text', text: 'be brief' }] }],
    })
  })

  test('all results of a turn stand first in one turn', () => {
    const { messages } = body({
      messages: [
        user('weather?'),
        assistant(call('a', 'w', '{"city":"Oslo"}'), call('b', 'w', '')),
        user('hurry'),
        { role: 'tool', results: [result('a', 'rain')] },
        { role: 'tool', results: [result('b', 'no', true)] },
      ],
      tools: [tool('w')],
    })
    expect(messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'weather?' }] },
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'a', name: 'w', input: { city: 'Oslo' } },
          { type: 'tool_use', id: 'b', name: 'w', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'rain' }] },
          {
            type: 'tool_result',
            tool_use_id: 'b',
            content: [{ type: 'text', text: 'no' }],
            is_error: true,
          },
          { type: 'text', text: 'hurry' },
        ],
      },
    ])
  })

  test('blank texts and empty turns are left out, a prefill ends in no space', () => {
    const { messages } = body({
      messages: [
        user(' \n', 'one'),
        assistant(),
        user(''),
        assistant({ type: 'text', text: 'Sure: \n' }),
      ],
    })
    expect(messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'one' }] },
      { role: 'assistant', content: [{ type: 'text', text: 'Sure:' }] },
    ])
  })

  test('images and documents', () => {
    const { messages } = body({
      messages: [
        user(
          {
            type: 'image',
            source: { kind: 'base64', mediaType: 'image/png', data: 'AAAA' },
            detail: 'low',
            cache: '5m',
          },
          {
            type: 'image',
            source: { kind: 'url', url: 'https://example.com/a.png' },
            detail: null,
          },
          {
            type: 'file',
            source: { kind: 'base64', mediaType: 'application/pdf', data: 'JVBE' },
            name: 'a.pdf',
          },
          {
            type: 'file',
            source: { kind: 'base64', mediaType: 'text/plain', data: 'aMOp' },
            name: null,
          },
          { type: 'file', source: { kind: 'url', url: 'https://example.com/a.pdf' }, name: null },
        ),
      ],
    })
    expect(messages).toMatchObject([
      {
        content: [
          {
            type: 'image',
            source: { type: 'base64', media_type: 'image/png', data: 'AAAA' },
            cache_control: { type: 'ephemeral' },
          },
          { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
          {
            type: 'document',
            source: { type: 'base64', media_type: 'application/pdf', data: 'JVBE' },
            title: 'a.pdf',
          },
          { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'hé' } },
          { type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } },
        ],
      },
    ])
  })

  test.each<UserPart>([
    { type: 'audio', format: 'wav', data: 'AAAA' },
    {
      type: 'file',
      source: { kind: 'base64', mediaType: 'application/zip', data: 'AAAA' },
      name: null,
    },
    { type: 'file', source: { kind: 'id', id: 'file-of-openai' }, name: null },
  ])('what it cannot be shown is refused: %j', (part) => {
    expect(() => body({ messages: [user(part)] })).toThrow(refused)
  })

  test('an id of a file goes only from a client of this dialect, with the beta it needs', () => {
    const messages = [
      user({ type: 'file', source: { kind: 'id', id: 'file_1' }, name: null }, 'what?'),
    ]
    const { headers } = anthropic.encode(
      { ...plain, messages, dialect: 'anthropic-messages' },
      target,
    )
    expect(headers).toEqual({
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'files-api-2025-04-14',
    })
  })

  test('thoughts go back with their proof, and only Anthropic’s', () => {
    const redacted: AssistantPart = {
      type: 'reasoning',
      text: '',
      signature: null,
      encrypted: 'opaque',
      id: null,
    }
    const { messages } = body({
      messages: [
        user('hi'),
        assistant(
          thought('hm', 'sig'),
          redacted,
          thought('unproven', null),
          { ...redacted, id: 'rs_of_openai' },
          { type: 'text', text: 'yes' },
        ),
        user('and?'),
      ],
    })
    expect(messages).toMatchObject([
      {},
      {
        content: [
          { type: 'thinking', thinking: 'hm', signature: 'sig' },
          { type: 'redacted_thinking', data: 'opaque' },
          { type: 'text', text: 'yes' },
        ],
      },
      {},
    ])
  })
})

describe('tools', () => {
  const tools = [
    tool('look.up:now', {
      description: 'looks',
      parameters: { properties: { q: { type: 'string' } } },
      strict: true,
      cache: '5m',
    }),
  ]

  test('are declared under names that Anthropic takes, and read back', () => {
    const { tools: declared, messages } = body({
      messages: [user('hi'), assistant(call('functions.x:0', 'look.up:now', '{}'))],
      tools,
    })
    expect(declared).toEqual([
      {
        name: 'x-vg-look_2eup_3anow',
        description: 'looks',
        input_schema: { type: 'object', properties: { q: { type: 'string' } } },
        strict: true,
        cache_control: { type: 'ephemeral' },
      },
    ])
    const [, turn] = JSON.parse(JSON.stringify(messages))
    expect(turn.content[0].id).toMatch(/^[a-zA-Z0-9_-]+$/)
    const answer = anthropic.decode(
      Buffer.from(
        JSON.stringify({ type: 'message', content: [{ ...turn.content[0], input: { a: 1 } }] }),
      ),
      target,
    )
    expect(answer.choices[0]?.parts).toMatchObject([{ name: 'look.up:now', arguments: '{"a":1}' }])
  })

  test('a name that does not fit is refused', () => {
    expect(() => body({ tools: [tool('ü'.repeat(40))] })).toThrow(refused)
  })

  test('arguments keep their numbers to the digit; what is no object becomes an empty one', () => {
    const messages = [
      user('hi'),
      assistant(
        call('a', 'f', '{"id": 12345678901234567890, "x": 1.0, "__proto__": {"y": 1e400}}'),
        call('b', 'f', '[1]'),
        call('c', 'f', '{"half'),
        call('d', 'f', '['.repeat(100_000)),
      ),
    ]
    const text = textOf({ messages, tools: [tool('f')] })
    expect(text).toContain('"input":{"id":12345678901234567890,"x":1.0,"__proto__":{"y":1e400}}')
    expect(text.match(/"input":\{\}/g)).toHaveLength(3)
  })

  test.each([
    [{ toolChoice: { type: 'auto' } as const }, { type: 'auto' }],
    [{ toolChoice: { type: 'none' } as const, parallelToolCalls: false }, { type: 'none' }],
    [{ toolChoice: { type: 'required' } as const, parallelToolCalls: true }, { type: 'any' }],
    [
      { toolChoice: { type: 'tool', name: 'look.up:now' } as const, parallelToolCalls: false },
      { type: 'tool', name: 'x-vg-look_2eup_3anow', disable_parallel_tool_use: true },
    ],
    [{ parallelToolCalls: false }, { type: 'auto', disable_parallel_tool_use: true }],
    [{ parallelToolCalls: true }, undefined],
  ])('choice %j', (choice, expected) => {
    expect(body({ tools, ...choice })['tool_choice']).toEqual(expected)
  })

  test('calls of the past keep their tools declared', () => {
    expect(
      body({
        messages: [
          user('hi'),
          assistant(call('a', 'f', '{}'), call('b', 'f', '{}')),
          { role: 'tool', results: [result('a', '1'), result('b', '2')] },
        ],
      }),
    ).toMatchObject({
      tools: [{ name: 'f', input_schema: { type: 'object' } }],
      tool_choice: { type: 'none' },
    })
  })
})

describe('form of the answer', () => {
  const format = {
    type: 'json_schema',
    name: 'dog',
    description: null,
    schema: { type: 'object', properties: { name: { type: 'string' } } },
    strict: true,
  } as const

  test('a newer model knows it', () => {
    expect(body({ format })).toMatchObject({
      output_config: { format: { type: 'json_schema', schema: format.schema } },
    })
    expect(body({ format })).not.toHaveProperty('tools')
  })

  test('an older one is made to call a tool, which is read as text', () => {
    const asked = body({ format }, 'claude-3-5-haiku-20241022')
    expect(asked).toMatchObject({
      tools: [{ name: 'x-vg-_json', input_schema: format.schema }],
      tool_choice: { type: 'tool', name: 'x-vg-_json' },
    })
    const answer = anthropic.decode(
      Buffer.from(
        '{"type":"message","stop_reason":"tool_use","content":[{"type":"tool_use","id":"t","name":"x-vg-_json","input":{"name":"Rex","n":1.50}}]}',
      ),
      target,
    )
    expect(answer.choices).toMatchObject([
      { finish: 'stop', parts: [{ type: 'text', text: '{"name":"Rex","n":1.50}' }] },
    ])
  })

  test('beside tools of the client it may call either', () => {
    expect(body({ format: { type: 'json' }, tools: [tool('f')] })).toMatchObject({
      tools: [{ name: 'f' }, { name: 'x-vg-_json' }],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
    })
    expect(
      body({ format: { type: 'json' }, tools: [tool('f')], toolChoice: { type: 'required' } }),
    ).toMatchObject({ tools: [{ name: 'f' }], tool_choice: { type: 'any' } })
  })
})

describe('sampling', () => {
  const all = { temperature: 1.5, topP: 0.5, topK: 3 }
  test.each([
    ['claude-sonnet-4-0', all, { temperature: 1, top_p: 0.5, top_k: 3 }],
    ['claude-sonnet-4-5', all, { temperature: 1, top_p: undefined, top_k: 3 }],
    ['claude-sonnet-4-5', { topP: 0.5 }, { temperature: undefined, top_p: 0.5 }],
    ['claude-opus-4-7', all, { temperature: undefined, top_p: undefined, top_k: undefined }],
  ])('%s takes of %j what it can', (model, given, expected) => {
    const asked = sampled(given, model)
    for (const [name, value] of Object.entries(expected)) expect(asked[name], name).toBe(value)
  })

  test('hints are dropped, what would be missed is refused', () => {
    expect(sampled({ seed: 1, frequencyPenalty: 1, presencePenalty: 1, n: 1 })).toEqual(body({}))
    expect(sampled({ stop: ['\n\nHuman:'] })).toMatchObject({ stop_sequences: ['\n\nHuman:'] })
    expect(() => sampled({ n: 2 })).toThrow(refused)
    expect(() => sampled({ stop: ['\n'] })).toThrow(refused)
    expect(() => body({ logprobs: 3 })).toThrow(refused)
  })
})

describe('reasoning', () => {
  const effort = (level: 'none' | 'minimal' | 'low' | 'high' | 'xhigh' | 'max') => ({
    reasoning: { effort: level, budgetTokens: null },
  })
  const budget = (budgetTokens: number) => ({ reasoning: { effort: null, budgetTokens } })
  const limited = (maxTokens: number) => ({ sampling: { ...sampling, maxTokens } })
  const enabled = (tokens: number) => ({ type: 'enabled', budget_tokens: tokens })

  test.each([
    ['claude-3-5-haiku-20241022', effort('high'), undefined, undefined],
    ['claude-sonnet-4-5', effort('none'), undefined, undefined],
    ['claude-sonnet-4-5', effort('minimal'), enabled(1024), undefined],
    ['claude-sonnet-4-5', effort('high'), enabled(16_384), undefined],
    ['claude-sonnet-4-5', { ...effort('high'), ...limited(4000) }, enabled(3200), undefined],
    ['claude-sonnet-4-5', { ...budget(9000), ...limited(4000) }, enabled(3999), undefined],
    ['claude-sonnet-4-5', { ...budget(10), ...limited(4000) }, enabled(1024), undefined],
    ['claude-sonnet-4-5', { ...effort('low'), ...limited(1024) }, undefined, undefined],
    ['claude-opus-4-5', effort('max'), enabled(32_000), { effort: 'high' }],
    ['claude-opus-4-6', effort('xhigh'), { type: 'adaptive' }, { effort: 'high' }],
    ['claude-opus-4-7', effort('xhigh'), { type: 'adaptive' }, { effort: 'xhigh' }],
    ['claude-opus-4-6', effort('minimal'), { type: 'adaptive' }, { effort: 'low' }],
    ['claude-opus-4-6', effort('none'), { type: 'disabled' }, undefined],
    ['claude-opus-4-6', budget(8000), { type: 'adaptive' }, { effort: 'medium' }],
    ['kimi-k2', effort('low'), enabled(2048), undefined],
  ])('%s, %j', (model, request, thinking, output) => {
    const asked = body(request, model)
    expect(asked['thinking']).toEqual(thinking)
    expect(asked['output_config']).toEqual(output)
  })

  test('leaves room for the answer where the client gives no limit', () => {
    expect(body(budget(100_000))).toMatchObject({
      max_tokens: 101_024,
      thinking: enabled(100_000),
    })
  })

  test('gives way to a forced tool and keeps the temperature out', () => {
    const forced = { tools: [tool('f')], toolChoice: { type: 'required' } as const }
    expect(body({ ...effort('high'), ...forced })).not.toHaveProperty('thinking')
    expect(
      body({ ...effort('high'), sampling: { ...sampling, temperature: 0.2, topK: 3 } }),
    ).not.toMatchObject({ temperature: expect.anything() })
  })

  test('gives way in a tool loop whose thoughts were lost', () => {
    const loop = (...parts: readonly AssistantPart[]): Partial<CanonicalRequest> => ({
      ...effort('high'),
      tools: [tool('f')],
      messages: [
        user('hi'),
        assistant(...parts, call('a', 'f', '{}')),
        { role: 'tool', results: [result('a', '1')] },
      ],
    })
    expect(body(loop())).not.toHaveProperty('thinking')
    expect(body(loop(thought('hm', 'sig')))).toHaveProperty('thinking')
    expect(body(loop(), 'claude-opus-4-6')).toHaveProperty('thinking')
  })
})

test('members of another dialect stay away', () => {
  const extra = { metadata: { user_id: 'u' }, service_tier: 'auto' }
  expect(body({ extra })).toEqual(body({}))
  expect(body({ extra, dialect: 'openai-chat' })).toEqual(body({}))
  expect(body({ extra, dialect: 'anthropic-messages' })).toMatchObject(extra)
})
