import { describe, expect, test } from 'vitest'
import type {
  AssistantPart,
  CacheMark,
  CanonicalRequest,
  JsonObject,
  Message,
  TextPart,
  Tool,
  ToolChoice,
  ToolResult,
  UserPart,
} from '../../src/dialects/canonical.ts'
import { bedrock } from '../../src/dialects/bedrock/dialect.ts'
import { thinksAdaptively } from '../../src/dialects/bedrock/family.ts'
import { hasVectors } from '../support/vectors.ts'
import { asking, has, items, parse, pick, recordings, text, user } from './recordings.ts'
import { target } from './decoding.ts'

const CLAUDE = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const NOVA = 'us.amazon.nova-micro-v1:0'

const encode = (request: CanonicalRequest, model = CLAUDE): unknown =>
  parse(bedrock.encode(request, target(model)).body)

const refused = expect.objectContaining({ code: 'request_not_supported' })
const object = (value: unknown): JsonObject => JSON.parse(JSON.stringify(value ?? {}))
const numberOrNull = (value: unknown): number | null => (typeof value === 'number' ? value : null)
const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/** Puts a cache point onto the part that stands before it. */
function cached<T extends { readonly cache?: CacheMark }>(
  blocks: readonly unknown[],
  read: (block: unknown) => T,
): T[] {
  const parts: T[] = []
  for (const block of blocks) {
    const last = parts.at(-1)
    if (has(block, 'cachePoint') && last !== undefined)
      parts[parts.length - 1] = { ...last, cache: '5m' }
    else parts.push(read(block))
  }
  return parts
}

const FORMATS: Record<string, string> = { txt: 'text/plain' }

function userPart(block: unknown): UserPart & { cache?: CacheMark } {
  if (!has(block, 'document')) return { type: 'text', text: text(block, 'text') }
  const mediaType = FORMATS[text(block, 'document', 'format')] ?? ''
  const data = text(block, 'document', 'source', 'bytes')
  const name = text(block, 'document', 'name')
  return { type: 'file', source: { kind: 'base64', mediaType, data }, name }
}

function assistantPart(block: unknown): AssistantPart {
  const call = pick(block, 'toolUse')
  const thought = pick(block, 'reasoningContent')
  if (call !== undefined)
    return {
      type: 'tool_call',
      id: text(call, 'toolUseId'),
      name: text(call, 'name'),
      arguments: JSON.stringify(pick(call, 'input')),
      signature: null,
    }
  if (thought === undefined) return { type: 'text', text: text(block, 'text') }
  return {
    type: 'reasoning',
    text: text(thought, 'reasoningText', 'text'),
    signature: textOrNull(pick(thought, 'reasoningText', 'signature')),
    encrypted: textOrNull(pick(thought, 'redactedContent')),
    id: null,
  }
}

const toolResult = (block: unknown): ToolResult => ({
  callId: text(block, 'toolResult', 'toolUseId'),
  parts: items(block, 'toolResult', 'content').map((part) => ({
    type: 'text',
    text: text(part, 'text'),
  })),
  isError: text(block, 'toolResult', 'status') === 'error',
})

function messagesOf(message: unknown): Message[] {
  const blocks = items(message, 'content')
  if (text(message, 'role') === 'assistant')
    return [{ role: 'assistant', parts: blocks.map(assistantPart) }]
  const results = blocks.filter((block) => has(block, 'toolResult'))
  const rest = blocks.filter((block) => !has(block, 'toolResult'))
  return [
    ...(results.length === 0 ? [] : [{ role: 'tool' as const, results: results.map(toolResult) }]),
    ...(rest.length === 0
      ? []
      : [{ role: 'user' as const, parts: cached(rest, userPart), name: null }]),
  ]
}

function choiceOf(choice: unknown): ToolChoice | null {
  if (has(choice, 'auto')) return { type: 'auto' }
  if (has(choice, 'any')) return { type: 'required' }
  return null
}

/** A recorded request as a client would have made it. */
function canonical(native: unknown): CanonicalRequest {
  const config = pick(native, 'inferenceConfig')
  const budget = pick(native, 'additionalModelRequestFields', 'thinking', 'budget_tokens')
  const system = cached<TextPart>(items(native, 'system'), (block) => ({
    type: 'text',
    text: text(block, 'text'),
  }))
  return asking(
    [
      ...(system.length === 0 ? [] : [{ role: 'system' as const, parts: system }]),
      ...items(native, 'messages').flatMap(messagesOf),
    ],
    {
      tools: cached<Tool>(items(native, 'toolConfig', 'tools'), (tool) => ({
        name: text(tool, 'toolSpec', 'name'),
        description: textOrNull(pick(tool, 'toolSpec', 'description')),
        parameters: object(pick(tool, 'toolSpec', 'inputSchema', 'json')),
        strict: null,
      })),
      toolChoice: choiceOf(pick(native, 'toolConfig', 'toolChoice')),
      sampling: {
        ...asking([]).sampling,
        temperature: numberOrNull(pick(config, 'temperature')),
        topP: numberOrNull(pick(config, 'topP')),
        maxTokens: numberOrNull(pick(config, 'maxTokens')),
      },
      reasoning: budget === undefined ? null : { effort: null, budgetTokens: numberOrNull(budget) },
    },
  )
}

/** `success` need not be said, nor empty members; a guardrail is no client's to choose. */
function comparable(native: unknown): unknown {
  const { guardrailConfig: _, system, inferenceConfig, ...rest } = object(native)
  const said = JSON.stringify({
    ...rest,
    system: system ?? [],
    inferenceConfig: inferenceConfig ?? {},
  })
  return JSON.parse(said, (name, value: unknown) =>
    name === 'status' && value === 'success' ? undefined : value,
  )
}

/** What no client dialect can ask for: a document that is plain text, a tool of Amazon's own, thinking shown in short. */
const FOREIGN = ['"citations":', '"systemTool"', '"adaptive"', '"citationsContent"']

const asked = recordings('bedrock', '/converse')
  .filter(({ request }) => request !== null)
  .filter(({ request }) => !FOREIGN.some((word) => JSON.stringify(request).includes(word)))
  .map(({ name, request, url }) => ({ name, native: request, url }))

describe.skipIf(!hasVectors)('recorded requests to Bedrock', () => {
  test('are there', () => {
    expect(asked.length).toBeGreaterThan(30)
  })

  test.each(asked)('$name comes out as it was sent', ({ native, url }) => {
    const model = decodeURIComponent(/\/model\/([^/]+)\//.exec(url)?.[1] ?? '')
    const stream = url.endsWith('converse-stream')
    const encoded = bedrock.encode({ ...canonical(native), stream }, target(model))
    expect(url.endsWith(encoded.path)).toBe(true)
    expect(comparable(parse(encoded.body))).toEqual(comparable(native))
  })
})

const call = (id: string, name: string, input = '{"a":1}'): AssistantPart => ({
  type: 'tool_call',
  id,
  name,
  arguments: input,
  signature: null,
})
const thought = (signature: string | null, id: string | null = null): AssistantPart => ({
  type: 'reasoning',
  text: 'hm',
  signature,
  encrypted: null,
  id,
})
const assistant = (...parts: AssistantPart[]): Message => ({ role: 'assistant', parts })
const answered = (callId: string, said: string, isError = false): Message => ({
  role: 'tool',
  results: [{ callId, parts: [{ type: 'text', text: said }], isError }],
})
const tool = (name: string): Tool => ({ name, description: '', parameters: null, strict: true })
const spec = (name: string) => ({
  toolSpec: { name, inputSchema: { json: { type: 'object', properties: {} } } },
})

describe('a request to Bedrock', () => {
  test('has turns that alternate and drops what is empty', () => {
    const messages = [
      user('a'),
      user(''),
      user('b'),
      assistant({ type: 'text', text: '' }, call('1', 'f'), call('2', 'f', ' ')),
      answered('1', 'x'),
      answered('2', '', true),
      user('c'),
    ]
    expect(pick(encode(asking(messages)), 'messages')).toEqual([
      { role: 'user', content: [{ text: 'a' }, { text: 'b' }] },
      {
        role: 'assistant',
        content: [
          { toolUse: { toolUseId: '1', name: 'f', input: { a: 1 } } },
          { toolUse: { toolUseId: '2', name: 'f', input: {} } },
        ],
      },
      {
        role: 'user',
        content: [
          { toolResult: { toolUseId: '1', content: [{ text: 'x' }] } },
          { toolResult: { toolUseId: '2', content: [], status: 'error' } },
          { text: 'c' },
        ],
      },
    ])
  })

  test('gives back thoughts with a proof of its own only', () => {
    const redacted: AssistantPart = {
      type: 'reasoning',
      text: '',
      signature: null,
      encrypted: 'R',
      id: null,
    }
    const messages = [
      user('a'),
      assistant(thought(null), thought('S'), thought('G', 'gemini_thought'), redacted),
    ]
    expect(pick(encode(asking(messages)), 'messages', 1, 'content')).toEqual([
      { reasoningContent: { reasoningText: { text: 'hm', signature: 'S' } } },
      { reasoningContent: { redactedContent: 'R' } },
    ])
  })

  test.each([
    [CLAUDE, true],
    ['us.anthropic.claude-sonnet-4-20250514-v1:0', undefined],
    [NOVA, undefined],
  ])('to %s says strict: %s', (model, wanted) => {
    const sent = encode(asking([user('a')], { tools: [tool('f')] }), model)
    expect(pick(sent, 'toolConfig', 'tools', 0, 'toolSpec', 'strict')).toBe(wanted)
  })

  const idOf = (id: string, model: string): unknown[] => {
    const sent = encode(asking([user('a'), assistant(call(id, 'f')), answered(id, 'x')]), model)
    return [
      pick(sent, 'messages', 1, 'content', 0, 'toolUse', 'toolUseId'),
      pick(sent, 'messages', 2, 'content', 0, 'toolResult', 'toolUseId'),
    ]
  }
  test('has ids of calls that its model takes, the same for call and result', () => {
    expect(idOf('call_1', CLAUDE)).toEqual(['call_1', 'call_1'])
    expect(idOf('functions.f:0', 'moonshot.kimi')).toEqual(['functions.f:0', 'functions.f:0'])
    const [made, same] = idOf('functions.f:0', CLAUDE)
    expect(made).toMatch(/^tooluse_[\w-]{40}$/)
    expect(same).toBe(made)
    expect(idOf('x'.repeat(65), 'moonshot.kimi')[0]).toMatch(/^tooluse_[\w-]{40}$/)
  })

  test.each<[string, Tool[], ToolChoice | null, Message[], unknown]>([
    ['no tools', [], null, [], undefined],
    ['tools', [tool('f')], null, [], { tools: [spec('f')] }],
    [
      'a choice',
      [tool('f')],
      { type: 'auto' },
      [],
      { tools: [spec('f')], toolChoice: { auto: {} } },
    ],
    [
      'a need',
      [tool('f')],
      { type: 'required' },
      [],
      { tools: [spec('f')], toolChoice: { any: {} } },
    ],
    [
      'one tool',
      [tool('f')],
      { type: 'tool', name: 'f' },
      [],
      { tools: [spec('f')], toolChoice: { tool: { name: 'f' } } },
    ],
    ['none of them', [tool('f')], { type: 'none' }, [], undefined],
    [
      'none of them after a call',
      [tool('f')],
      { type: 'none' },
      [assistant(call('1', 'g'))],
      { tools: [spec('f')] },
    ],
    [
      'none at all after a call',
      [],
      null,
      [assistant(call('1', 'g'), call('2', 'g'))],
      { tools: [spec('g')] },
    ],
  ])('with %s', (...row) => {
    const [, tools, toolChoice, more, wanted] = row
    const sent = encode(asking([user('a'), ...more], { tools, toolChoice }))
    const strict = JSON.parse(JSON.stringify(pick(sent, 'toolConfig') ?? null), (name, value) =>
      name === 'strict' ? undefined : value,
    )
    expect(strict ?? undefined).toEqual(wanted)
  })

  const sampling = {
    ...asking([]).sampling,
    maxTokens: 9000,
    temperature: 1.5,
    topP: 0.5,
    topK: 3,
    stop: ['x'],
  }
  test.each([
    [CLAUDE, { top_k: 3 }],
    [NOVA, { inferenceConfig: { topK: 3 } }],
    ['meta.llama3', undefined],
  ])('to %s has every setting in its place', (model, fields) => {
    const sent = encode(asking([user('a')], { sampling }), model)
    expect(pick(sent, 'inferenceConfig')).toEqual({
      maxTokens: 9000,
      temperature: 1,
      topP: 0.5,
      stopSequences: ['x'],
    })
    expect(pick(sent, 'additionalModelRequestFields')).toEqual(fields)
  })

  const enabled = (budget_tokens: number) => ({ thinking: { type: 'enabled', budget_tokens } })
  const loop = [user('a'), assistant(call('1', 'f')), answered('1', 'x')]
  const proven = [user('a'), assistant(thought('S'), call('1', 'f')), answered('1', 'x')]
  const effort = (level: 'none' | 'minimal' | 'low' | 'high' | 'max') => ({
    reasoning: { effort: level, budgetTokens: null },
  })
  test.each<[string, string, Message[], Partial<CanonicalRequest>, unknown]>([
    ['an effort', CLAUDE, [user('a')], effort('high'), enabled(16_384)],
    [
      'a budget',
      CLAUDE,
      [user('a')],
      { reasoning: { effort: null, budgetTokens: 2000 } },
      enabled(2000),
    ],
    [
      'a small budget',
      CLAUDE,
      [user('a')],
      { reasoning: { effort: null, budgetTokens: 5 } },
      enabled(1024),
    ],
    [
      'little room',
      CLAUDE,
      [user('a')],
      { ...effort('max'), sampling: { ...asking([]).sampling, maxTokens: 2000 } },
      enabled(1999),
    ],
    [
      'no room',
      CLAUDE,
      [user('a')],
      { ...effort('max'), sampling: { ...asking([]).sampling, maxTokens: 1000 } },
      undefined,
    ],
    ['none', CLAUDE, [user('a')], effort('none'), undefined],
    [
      'a tool that must be called',
      CLAUDE,
      [user('a')],
      { ...effort('high'), tools: [tool('f')], toolChoice: { type: 'required' } },
      undefined,
    ],
    ['a loop that began without', CLAUDE, loop, effort('low'), undefined],
    ['a loop that began with', CLAUDE, proven, effort('low'), enabled(1024)],
    [
      'a newer Claude',
      'us.anthropic.claude-sonnet-5',
      [user('a')],
      effort('minimal'),
      { thinking: { type: 'adaptive' }, output_config: { effort: 'low' } },
    ],
    [
      'gpt-oss',
      'openai.gpt-oss-120b-1:0',
      [user('a')],
      effort('max'),
      { reasoning_effort: 'high' },
    ],
    [
      'Nova',
      'us.amazon.nova-2-lite-v1:0',
      [user('a')],
      effort('low'),
      { reasoningConfig: { type: 'enabled', maxReasoningEffort: 'low' } },
    ],
    [
      'Nova that must not',
      'us.amazon.nova-2-lite-v1:0',
      [user('a')],
      effort('none'),
      { reasoningConfig: { type: 'disabled' } },
    ],
    ['a model that has no such thing', 'meta.llama3', [user('a')], effort('low'), undefined],
  ])('thinks with %s', (...row) => {
    const [, model, messages, rest, wanted] = row
    expect(pick(encode(asking(messages, rest), model), 'additionalModelRequestFields')).toEqual(
      wanted,
    )
  })

  test('has no temperature where Claude thinks', () => {
    const sent = encode(asking([user('a')], { sampling, ...effort('low') }))
    expect(pick(sent, 'inferenceConfig')).toEqual({ maxTokens: 9000, stopSequences: ['x'] })
    expect(pick(sent, 'additionalModelRequestFields')).toEqual(enabled(1024))
  })

  test.each([
    ['us.anthropic.claude-3-7-sonnet-20250219-v1:0', false],
    ['us.anthropic.claude-sonnet-4-20250514-v1:0', false],
    ['us.anthropic.claude-sonnet-4-5-20250929-v1:0', false],
    ['anthropic.claude-opus-4-6-v1', true],
    ['us.anthropic.claude-sonnet-5', true],
  ])('knows whether %s thinks as it likes', (model, wanted) => {
    expect(thinksAdaptively(model)).toBe(wanted)
  })

  const marked = asking([
    { role: 'user', parts: [{ type: 'text', text: 'a', cache: '1h' }], name: null },
  ])
  test.each([
    [CLAUDE, [{ text: 'a' }, { cachePoint: { type: 'default', ttl: '1h' } }]],
    [
      'arn:aws:bedrock:us-east-1:1:application-inference-profile/x',
      [{ text: 'a' }, { cachePoint: { type: 'default', ttl: '1h' } }],
    ],
    ['meta.llama3', [{ text: 'a' }]],
  ])('to %s is cached where it can be', (model, wanted) => {
    expect(pick(encode(marked, model), 'messages', 0, 'content')).toEqual(wanted)
  })

  test('has images and documents, the latter under names that differ', () => {
    const source = { kind: 'base64', mediaType: 'application/pdf', data: 'AA' } as const
    const parts: UserPart[] = [
      {
        type: 'image',
        source: { kind: 'base64', mediaType: 'image/webp', data: 'BB' },
        detail: 'low',
      },
      { type: 'image', source: { kind: 'url', url: 's3://b/c.jpg' }, detail: null },
      { type: 'file', source, name: 'a_b.pdf' },
      { type: 'file', source, name: 'a_b.pdf' },
      { type: 'file', source, name: null },
    ]
    const sent = encode(asking([{ role: 'user', parts, name: null }]))
    expect(pick(sent, 'messages', 0, 'content')).toEqual([
      { image: { format: 'webp', source: { bytes: 'BB' } } },
      { image: { format: 'jpeg', source: { s3Location: { uri: 's3://b/c.jpg' } } } },
      { document: { format: 'pdf', name: 'a-b-pdf', source: { bytes: 'AA' } } },
      { document: { format: 'pdf', name: 'a-b-pdf (2)', source: { bytes: 'AA' } } },
      { document: { format: 'pdf', name: 'Document 3', source: { bytes: 'AA' } } },
    ])
  })

  test('has a schema for its answer as text', () => {
    const format = {
      type: 'json_schema',
      name: 'n',
      description: null,
      schema: { type: 'object' },
      strict: true,
    } as const
    expect(pick(encode(asking([user('a')], { format })), 'outputConfig')).toEqual({
      textFormat: {
        type: 'json_schema',
        structure: { jsonSchema: { schema: '{"type":"object"}', name: 'n' } },
      },
    })
  })

  const part = (one: UserPart) => asking([{ role: 'user', parts: [one], name: null }])
  test.each<[string, CanonicalRequest]>([
    ['no turn of the user’s first', asking([assistant({ type: 'text', text: 'a' }), user('b')])],
    ['no turn', asking([])],
    [
      'an address',
      part({
        type: 'image',
        source: { kind: 'url', url: 'https://e.example/a.png' },
        detail: null,
      }),
    ],
    [
      'an image of an unknown kind',
      part({
        type: 'image',
        source: { kind: 'base64', mediaType: '__proto__', data: '' },
        detail: null,
      }),
    ],
    [
      'an image in its storage of an unknown kind',
      part({ type: 'image', source: { kind: 'url', url: 's3://b/c.tiff' }, detail: null }),
    ],
    ['sound', part({ type: 'audio', format: 'wav', data: '' })],
    [
      'a file that only another provider has',
      part({ type: 'file', source: { kind: 'id', id: 'x' }, name: null }),
    ],
    ['several answers', asking([user('a')], { sampling: { ...asking([]).sampling, n: 2 } })],
    ['log probabilities', asking([user('a')], { logprobs: 0 })],
    ['JSON without a schema', asking([user('a')], { format: { type: 'json' } })],
    ['arguments that are no object', asking([user('a'), assistant(call('1', 'f', 'x'))])],
  ])('is refused with %s', (_, request) => {
    expect(() => encode(request)).toThrow(refused)
  })
})
