import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonValue } from '@vouchgate/attestation'
import type {
  CanonicalAnswer,
  CanonicalEvent,
  CanonicalRequest,
} from '../../src/dialects/canonical.ts'
import { OpenAiChat } from '../../src/dialects/openai-chat/client.ts'
import { OpenAiChatProvider } from '../../src/dialects/openai-chat/provider.ts'
import { VARIANTS, type VariantName } from '../../src/dialects/openai-chat/variants.ts'
import { GatewayError } from '../../src/errors.ts'
import { operation } from '../../src/operations.ts'
import { readShape } from '../../src/prompt.ts'
import { Sensitive } from '../../src/sensitive.ts'
import { hasVectors } from '../support/vectors.ts'
import { violations } from './openapi.ts'
import { bodies, callsOf, exchanges, textOf } from './traffic.ts'
import { decodeIn, joined, target } from './decoding.ts'

const client = new OpenAiChat(null)
const asked = (more: Record<string, JsonValue> = {}): CanonicalRequest =>
  client.decode({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...more })

const USAGE = { uncachedInput: 3, cacheRead: 4, cacheWrite: 5, output: 6, reasoning: 7 }
const PROOFS: CanonicalAnswer = {
  id: 'chatcmpl-1',
  model: 'm',
  created: 1_700_000_000,
  usage: USAGE,
  choices: [
    {
      index: 0,
      finish: 'tool_calls',
      stopSequence: null,
      logprobs: [
        {
          token: 'a',
          logprob: -0.5,
          bytes: [97],
          top: [{ token: 'b', logprob: -1, bytes: null }],
        },
      ],
      parts: [
        { type: 'reasoning', text: 'thought', signature: 'sig', encrypted: null, id: null },
        { type: 'reasoning', text: '', signature: null, encrypted: 'blob', id: 'rs_1' },
        { type: 'text', text: 'said' },
        { type: 'tool_call', id: 'c1', name: 'f', arguments: '', signature: 'google' },
        { type: 'tool_call', id: 'c2', name: 'g', arguments: '{"a": 1}', signature: null },
      ],
    },
  ],
}

/** The events that a provider would stream the answer as. */
const EVENTS: CanonicalEvent[] = [
  { type: 'start', id: 'chatcmpl-1', model: 'm', created: 1_700_000_000, usage: null },
  { type: 'reasoning', choice: 0, block: 0, text: 'thought' },
  { type: 'reasoning_proof', choice: 0, block: 0, signature: 'sig', encrypted: null, id: null },
  { type: 'reasoning_proof', choice: 0, block: 1, signature: null, encrypted: 'blob', id: 'rs_1' },
  { type: 'text', choice: 0, text: 'said', logprobs: null },
  { type: 'refusal', choice: 0, text: 'no' },
  { type: 'tool_call', choice: 0, call: 0, id: 'c1', name: 'f', signature: 'google' },
  { type: 'tool_call', choice: 0, call: 1, id: 'c2', name: 'g', signature: null },
  { type: 'tool_arguments', choice: 0, call: 1, text: '{"a": 1}' },
  { type: 'tool_arguments', choice: 0, call: 0, text: '{}' },
  { type: 'finish', choice: 0, reason: 'tool_calls', stopSequence: null },
  { type: 'usage', usage: USAGE },
]

const written = (
  request: CanonicalRequest,
  events: readonly CanonicalEvent[],
  by = client,
): string => {
  const encoder = by.stream(request)
  return Buffer.concat([...events.map((event) => encoder.push(event)), encoder.end()]).toString()
}
const chunksOf = (stream: string): Record<string, unknown>[] =>
  stream
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: {'))
    .map((frame): Record<string, unknown> => JSON.parse(frame.slice(6)))

const STREAMING = asked({ stream: true, stream_options: { include_usage: true } })

describe('an answer', () => {
  test('survives being written and read', () => {
    const back = new OpenAiChatProvider('generic').decode(client.encode(PROOFS), target())
    const [choice] = PROOFS.choices
    const parts = choice?.parts.map((part) =>
      part.type === 'tool_call' && part.arguments === '' ? { ...part, arguments: '{}' } : part,
    )
    expect(back).toEqual({ ...PROOFS, choices: [{ ...choice, parts }] })
  })

  test('survives being streamed and read', () => {
    const stream = Buffer.from(written(STREAMING, EVENTS))
    const back = joined(decodeIn(new OpenAiChatProvider('openai').stream(target()), [stream]))
    const sorted = (events: readonly CanonicalEvent[]): string[] =>
      events.map((event) => JSON.stringify(event)).toSorted()
    expect(sorted(back)).toEqual(sorted(EVENTS))
  })

  test('that ended in an error is not one', () => {
    const choices = PROOFS.choices.map((choice) => ({ ...choice, finish: 'error' as const }))
    expect(() => client.encode({ ...PROOFS, choices })).toThrow(new GatewayError('upstream_error'))
  })

  test('has no content where there are only calls, and an empty one where there is nothing', () => {
    const content = (parts: CanonicalAnswer['choices'][number]['parts']): unknown => {
      const choices = PROOFS.choices.map((choice) => ({ ...choice, parts }))
      const body: { choices: { message: { content: unknown } }[] } = JSON.parse(
        client.encode({ ...PROOFS, choices }).toString(),
      )
      return body.choices[0]?.message.content
    }
    expect(content([])).toBe('')
    expect(content([{ type: 'refusal', text: 'no' }])).toBeNull()
    expect(
      content([{ type: 'tool_call', id: 'a', name: 'b', arguments: '', signature: null }]),
    ).toBeNull()
  })
})

describe('a stream', () => {
  test('ends with the usage where it is asked for, and [DONE]', () => {
    const chunks = chunksOf(written(STREAMING, EVENTS))
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 25 } })
    expect(chunks.slice(0, -1).every((chunk) => chunk['usage'] === null)).toBe(true)
    const quiet = written(asked({ stream: true }), EVENTS)
    expect(quiet).not.toContain('usage')
    expect(quiet.endsWith('data: [DONE]\n\n')).toBe(true)
  })

  test('says once who speaks', () => {
    expect(written(STREAMING, EVENTS).match(/"role":"assistant"/g)).toHaveLength(1)
  })

  test('ends in an error and nothing after it', () => {
    const encoder = client.stream(STREAMING)
    const failure = {
      class: 'context_length',
      status: 400,
      retryAfterSeconds: null,
      message: 'too long',
    } as const
    expect(JSON.parse(encoder.push({ type: 'failure', failure }).toString().slice(6))).toEqual({
      error: {
        message: 'too long',
        type: 'invalid_request_error',
        param: null,
        code: 'context_length_exceeded',
      },
    })
    expect(encoder.push({ type: 'text', choice: 0, text: 'x', logprobs: null })).toHaveLength(0)
    expect(encoder.fail('upstream_broken', null)).toHaveLength(0)
    expect(encoder.end()).toHaveLength(0)
    const other = client.stream(STREAMING)
    const finish = { type: 'finish', choice: 0, reason: 'error', stopSequence: null } as const
    expect(other.push(finish).toString()).toContain('"code":"upstream_error"')
    expect(other.end()).toHaveLength(0)
  })

  test('gives a call without arguments an empty object', () => {
    const stream = Buffer.from(
      written(
        STREAMING,
        EVENTS.filter((event) => !(event.type === 'tool_arguments' && event.call === 0)),
      ),
    )
    const back = decodeIn(new OpenAiChatProvider('openai').stream(target()), [stream])
    expect(callsOf(back)).toEqual([
      ['f', {}],
      ['g', { a: 1 }],
    ])
  })

  test('is padded to frames of one size, unless the client wants none', () => {
    const padding = new OpenAiChat((length) => 'x'.repeat(length))
    const texts = ['a', ' word', '"quoted"\n', 'ü', '', 'exactly thirty-two characters...']
    const events = texts.map((text) => ({ type: 'text', choice: 0, text, logprobs: null }) as const)
    const frames = written(STREAMING, events, padding)
      .split('\n\n')
      .slice(1, 1 + texts.length)
    expect(new Set(frames.map((frame) => Buffer.byteLength(frame))).size).toBe(1)
    expect(frames.every((frame) => frame.includes('"obfuscation":"'))).toBe(true)
    const unwanted = asked({ stream: true, stream_options: { include_obfuscation: false } })
    expect(written(unwanted, events, padding)).not.toContain('obfuscation')
    expect(written(STREAMING, events)).not.toContain('obfuscation')
  })
})

describe('a request', () => {
  test('is read member by member', () => {
    const tool = { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true }
    const request = asked({
      stream: true,
      tools: [{ type: 'function', function: tool }],
      tool_choice: { type: 'function', function: { name: 'f' } },
      parallel_tool_calls: false,
      max_tokens: 5,
      max_completion_tokens: 6,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      seed: 7,
      frequency_penalty: 1,
      presence_penalty: -1,
      stop: 'end',
      n: 2,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 's', schema: {}, strict: true },
      },
      reasoning_effort: 'low',
      logprobs: true,
      top_logprobs: 3,
      stream_options: { include_usage: true },
      store: false,
      user: 'u',
      provider: { aci_verified: true, order: ['a'] },
    })
    expect(request).toEqual({
      dialect: 'openai-chat',
      model: 'm',
      stream: true,
      messages: [{ role: 'user', parts: [{ type: 'text', text: 'hi' }], name: null }],
      tools: [tool],
      toolChoice: { type: 'tool', name: 'f' },
      parallelToolCalls: false,
      sampling: {
        maxTokens: 6,
        temperature: 0.5,
        topP: 0.9,
        topK: 40,
        seed: 7,
        frequencyPenalty: 1,
        presencePenalty: -1,
        stop: ['end'],
        n: 2,
      },
      format: { type: 'json_schema', name: 's', description: null, schema: {}, strict: true },
      reasoning: { effort: 'low', budgetTokens: null },
      logprobs: 3,
      streamUsage: true,
      extra: {
        user: 'u',
        stream_options: { include_usage: true },
      },
    })
  })

  const messages = (...list: JsonValue[]): unknown => asked({ messages: list }).messages
  test('messages of every role', () => {
    expect(
      messages(
        {
          role: 'developer',
          content: [{ type: 'text', text: 'd', cache_control: { type: 'ephemeral' } }],
        },
        {
          role: 'user',
          name: 'n',
          content: [
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA', detail: 'low' } },
            { type: 'image_url', image_url: { url: 'https://x/y.png' } },
            { type: 'input_audio', input_audio: { data: 'BBBB', format: 'wav' } },
            {
              type: 'file',
              file: { file_data: 'data:application/pdf;base64,CCCC', filename: 'f' },
            },
            { type: 'file', file: { file_id: 'file-1' } },
          ],
        },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'r',
          tool_calls: [
            {
              id: 'c',
              type: 'function',
              function: { name: 'f', arguments: '' },
              extra_content: { google: { thought_signature: 's' } },
            },
          ],
        },
        { role: 'tool', tool_call_id: 'c', content: 'one' },
        { role: 'tool', tool_call_id: 'd', content: '' },
      ),
    ).toEqual([
      { role: 'developer', parts: [{ type: 'text', text: 'd', cache: '5m' }] },
      {
        role: 'user',
        name: 'n',
        parts: [
          {
            type: 'image',
            source: { kind: 'base64', mediaType: 'image/png', data: 'AAAA' },
            detail: 'low',
          },
          { type: 'image', source: { kind: 'url', url: 'https://x/y.png' }, detail: null },
          { type: 'audio', format: 'wav', data: 'BBBB' },
          {
            type: 'file',
            source: { kind: 'base64', mediaType: 'application/pdf', data: 'CCCC' },
            name: 'f',
          },
          { type: 'file', source: { kind: 'id', id: 'file-1' }, name: null },
        ],
      },
      {
        role: 'assistant',
        parts: [
          { type: 'reasoning', text: 'r', signature: null, encrypted: null, id: null },
          { type: 'tool_call', id: 'c', name: 'f', arguments: '{}', signature: 's' },
        ],
      },
      {
        role: 'tool',
        results: [
          { callId: 'c', parts: [{ type: 'text', text: 'one' }], isError: false },
          { callId: 'd', parts: [], isError: false },
        ],
      },
    ])
  })

  test.each([
    ['not_stateless', { store: true }],
    ['request_not_supported', { functions: [] }],
    ['request_not_supported', { tools: [{ type: 'custom', custom: {} }] }],
    ['request_not_supported', { tool_choice: { type: 'allowed_tools' } }],
    ['request_not_supported', { response_format: { type: 'grammar' } }],
    ['request_not_supported', { messages: [{ role: 'user', content: [{ type: 'video_url' }] }] }],
    ['request_not_supported', { messages: [{ role: 'assistant', audio: { id: 'a' } }] }],
    ['request_not_supported', { messages: [{ role: 'function', name: 'f', content: '' }] }],
    [
      'request_not_supported',
      { messages: [{ role: 'system', content: [{ type: 'image_url', text: 't' }] }] },
    ],
    ['request_not_supported', { messages: [{ role: 'assistant', function_call: { name: 'f' } }] }],
    [
      'request_not_supported',
      {
        messages: [
          {
            role: 'assistant',
            tool_calls: [{ id: 'c', type: 'custom', function: { name: 'f', arguments: '' } }],
          },
        ],
      },
    ],
    ['invalid_request', { messages: 'hi' }],
    ['invalid_request', { messages: [{ role: 'king', content: 'hi' }] }],
    ['invalid_request', { messages: [{ role: 'user', content: 7 }] }],
    ['invalid_request', { messages: [{ role: 'tool', content: 'x' }] }],
    ['invalid_request', { model: '' }],
    ['invalid_request', { temperature: '1' }],
    ['invalid_request', { max_tokens: 1.5 }],
    ['invalid_request', { n: 1000 }],
    ['invalid_request', { stop: [1] }],
    ['invalid_request', { reasoning_effort: 'huge' }],
    ['invalid_request', { stream: 'yes' }],
    ['invalid_request', { stream_options: 1 }],
  ] as const)('%s: %j', (code, more) => {
    expect(() => asked(more)).toThrow(new GatewayError(code))
  })

  test('is bounded in depth, and no member reaches a prototype', () => {
    const deep: JsonValue = JSON.parse('['.repeat(50_000) + ']'.repeat(50_000))
    const tools = [{ type: 'function', function: { name: 'f', parameters: { deep } } }]
    expect(() => asked({ tools })).toThrow(new GatewayError('invalid_request'))
    expect(() => asked({ deep })).toThrow(new GatewayError('invalid_request'))
    const polluting: JsonValue = JSON.parse(
      '{"model":"m","messages":[],"__proto__":{"polluted":1},"provider":{"__proto__":{"polluted":1}}}',
    )
    const { extra } = client.decode(polluting)
    expect(Reflect.get(extra, 'polluted')).toBeUndefined()
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    const body = new OpenAiChatProvider('generic').encode(client.decode(polluting), target()).body
    expect(body.toString()).toContain('"__proto__":{"polluted":1}')
  })

  test('anything else is a coded error', () => {
    const names = fc.constantFrom(
      'model',
      'messages',
      'role',
      'content',
      'tools',
      'function',
      'name',
      'tool_calls',
      'id',
      'type',
      'text',
      'image_url',
      'url',
      'stop',
      'reasoning',
      'reasoning_details',
      '__proto__',
      'stream_options',
      'provider',
    )
    const { tree } = fc.letrec<{ tree: JsonValue }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 6 },
        fc.constantFrom<JsonValue>(
          'user',
          'assistant',
          'tool',
          'text',
          'function',
          '',
          0,
          1e300,
          null,
          true,
        ),
        fc.dictionary(names, tie('tree'), { maxKeys: 6 }),
        fc.array(tie('tree'), { maxLength: 3 }),
      ),
    }))
    fc.assert(
      fc.property(tree, tree, (body, message) => {
        for (const value of [
          body,
          { model: 'm', messages: [message] },
          { model: 'm', messages: [], tools: [body] },
        ]) {
          try {
            const request = client.decode(value)
            for (const variant of NAMES) new OpenAiChatProvider(variant).encode(request, target())
          } catch (error) {
            if (!(error instanceof GatewayError)) throw error
          }
        }
      }),
      { numRuns: 1000 },
    )
  })
})

const isVariant = (name: string): name is VariantName => Object.hasOwn(VARIANTS, name)
const NAMES = Object.keys(VARIANTS).filter(isVariant)

const sent = (
  variant: VariantName,
  request: CanonicalRequest,
  model = 'm',
): Record<string, unknown> => {
  const { path, body } = new OpenAiChatProvider(variant).encode(request, target(model))
  expect(path).toBe('/chat/completions')
  const parsed: Record<string, unknown> = JSON.parse(body.toString())
  return parsed
}

describe('what each provider is sent', () => {
  test.each([
    ['openai', 'gpt-4o', 'max_completion_tokens'],
    ['azure', 'deployment', 'max_completion_tokens'],
    ['groq', 'm', 'max_completion_tokens'],
    ['mistral', 'm', 'max_tokens'],
    ['vllm', 'm', 'max_tokens'],
    ['generic', 'm', 'max_tokens'],
    ['generic', 'openai/o3-mini', 'max_completion_tokens'],
    ['generic', 'gpt-5-mini', 'max_completion_tokens'],
  ] as const)('%s %s: %s', (variant, model, member) => {
    expect(sent(variant, asked({ max_tokens: 9 }), model)[member]).toBe(9)
  })

  test('mistral gets only what it knows', () => {
    const body = sent(
      'mistral',
      asked({ seed: 1, stream: true, user: 'u', logit_bias: {}, safe_prompt: true }),
    )
    expect(body).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: 'hi' }],
      random_seed: 1,
      stream: true,
      safe_prompt: true,
    })
    const request = asked({
      messages: [
        {
          role: 'assistant',
          content: 'said',
          reasoning_content: 'thought',
          tool_calls: [{ id: 'call_0123456789', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'call_0123456789', content: 'r' },
        { role: 'tool', tool_call_id: 'abcDEF123', content: 'r' },
      ],
    })
    const { messages } = sent('mistral', request)
    const id = expect.stringMatching(/^[0-9a-f]{9}$/)
    expect(messages).toMatchObject([
      {
        content: [
          { type: 'thinking', thinking: [{ type: 'text', text: 'thought' }] },
          { type: 'text', text: 'said' },
        ],
        tool_calls: [{ id }],
      },
      { tool_call_id: id },
      { tool_call_id: 'abcDEF123' },
    ])
    expect(() => sent('mistral', asked({ logprobs: true }))).toThrow(GatewayError)
  })

  test.each([
    ['openai', {}],
    ['deepseek', {}],
    ['vllm', { reasoning: 'thought' }],
    ['generic', { reasoning_content: 'thought' }],
    [
      'openrouter',
      {
        reasoning: 'thought',
        reasoning_details: [{ type: 'reasoning.text', text: 'thought', signature: 's', index: 0 }],
      },
    ],
  ] as const)('thoughts of earlier turns: %s', (variant, expected) => {
    const details = [{ type: 'reasoning.text', text: 'thought', signature: 's', index: 0 }]
    const request = asked({
      messages: [{ role: 'assistant', content: 'said', reasoning_details: details }],
    })
    const base = { role: 'assistant', content: 'said' }
    expect(sent(variant, request)['messages']).toEqual([{ ...base, ...expected }])
  })

  test('deepseek wants thoughts back where tools were called', () => {
    const calls = [{ id: 'c', function: { name: 'f', arguments: '{}' } }]
    const request = asked({
      messages: [
        { role: 'assistant', content: '', reasoning_content: 'thought', tool_calls: calls },
      ],
    })
    expect(sent('deepseek', request)['messages']).toMatchObject([{ reasoning_content: 'thought' }])
  })

  test.each([
    ['openai', 'xhigh', { reasoning_effort: 'xhigh' }],
    ['groq', 'max', { reasoning_effort: 'high' }],
    ['xai', 'minimal', { reasoning_effort: 'low' }],
    ['xai', 'medium', { reasoning_effort: 'low' }],
    ['openrouter', 'low', { reasoning: { effort: 'low' } }],
    ['deepseek', 'none', { thinking: { type: 'disabled' } }],
    ['deepseek', 'high', { thinking: { type: 'enabled' } }],
  ] as const)('effort: %s %s', (variant, effort, expected) => {
    expect(sent(variant, asked({ reasoning_effort: effort }))).toMatchObject(expected)
  })

  test('images of tool results follow in a message of the user', () => {
    const url = { url: 'data:image/png;base64,AAAA' }
    const request = asked({
      messages: [
        {
          role: 'tool',
          tool_call_id: 'c',
          content: [
            { type: 'text', text: 't' },
            { type: 'image_url', image_url: url },
          ],
        },
      ],
    })
    expect(sent('openai', request)['messages']).toEqual([
      { role: 'tool', tool_call_id: 'c', content: 't' },
      { role: 'user', content: [{ type: 'image_url', image_url: url }] },
    ])
  })

  test('members of another dialect do not follow', () => {
    const foreign: CanonicalRequest = {
      ...asked(),
      dialect: 'anthropic-messages',
      extra: { metadata: { a: 1 } },
    }
    expect(sent('generic', foreign)).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: 'hi' }],
      stream: false,
    })
  })
})

describe.skipIf(!hasVectors)('recorded conversations', () => {
  const FOLDERS: [string, VariantName][] = [
    ['openai-chat', 'openai'],
    ['azure-openai', 'azure'],
    ['groq', 'groq'],
    ['deepseek', 'deepseek'],
    ['openrouter', 'openrouter'],
    ['cerebras', 'cerebras'],
    ['zai', 'generic'],
    ['huggingface-tgi', 'tgi'],
    ['ollama', 'ollama'],
    ['mistral', 'mistral'],
  ]
  const all = FOLDERS.flatMap(([folder, variant]) =>
    exchanges(folder)
      .filter((one) => one.url.includes('/chat/completions') && one.status === 200)
      .map((one) => ({ ...one, variant })),
  )

  const withoutNulls = (value: unknown): string =>
    JSON.stringify(value, (_, one: unknown) => (one === null ? undefined : one))

  /** What we write otherwise on purpose: defaults said, old names replaced, the same content in its short form. */
  const normal = (value: unknown): unknown => {
    const body: Record<string, unknown> = JSON.parse(withoutNulls(value))
    const { max_tokens: limit, stream_options: _, store: __, ...rest } = body
    const messages = Array.isArray(body['messages']) ? body['messages'] : []
    return {
      max_completion_tokens: limit,
      stream: false,
      ...rest,
      messages: messages.map(normalMessage),
      tools: Array.isArray(body['tools']) && body['tools'].length > 0 ? body['tools'] : undefined,
    }
  }
  const normalMessage = ({
    content,
    tool_calls: calls,
    prefix: _,
    ...rest
  }: Record<string, unknown>): unknown => {
    const [only, ...more]: unknown[] = Array.isArray(content) ? content : []
    const isText = more.length === 0 && Reflect.get(Object(only), 'type') === 'text'
    const role = rest['role'] === 'developer' ? 'system' : rest['role']
    const details = Reflect.get(Object(content), 'length') === 0
    return {
      ...rest,
      role,
      content:
        details || content === null
          ? undefined
          : isText
            ? Reflect.get(Object(only), 'text')
            : content,
      tool_calls: Array.isArray(calls) && calls.length > 0 ? calls : undefined,
    }
  }

  /** Sent otherwise than recorded: OpenRouter's own tool is refused, Mistral's thoughts become one text. */
  const OTHERWISE = ['openrouter_web_search_annotations', 'mistral_model_thinking_part.1']
  const alike = all.filter(({ name }) => !OTHERWISE.some((part) => name.includes(part)))

  test.each(alike)('the request of $name is sent as it was', ({ request, variant }) => {
    const read: { model: string } & Record<string, JsonValue> = JSON.parse(JSON.stringify(request))
    const again = sent(variant, client.decode(read), read.model)
    // What `provider` says is said to the gateway.
    const { provider: _consumed, ...rest } = read
    expect(normal(again)).toEqual(normal(rest))
  })

  test('what is written otherwise is little', () => {
    expect(alike.length).toBeGreaterThan(70)
    expect(all.length - alike.length).toBe(2)
  })

  test.each(
    all.filter(({ isStream, name }) => !isStream && !/text_response|invalid_response/.test(name)),
  )('the answer of $name is written in the strict form', ({ body, variant }) => {
    const answer = new OpenAiChatProvider(variant).decode(body, target())
    const again: unknown = JSON.parse(client.encode(answer).toString())
    expect(violations('CreateChatCompletionResponse', again)).toEqual([])
  })

  const frame = (line: string): string => `data: ${line}\n\n`
  const streams = [
    ...all.filter(({ isStream }) => isStream),
    ...[
      'openai',
      'groq',
      'mistral',
      'deepseek',
      'alibaba',
      'perplexity',
      'openai-compatible',
    ].flatMap((folder) =>
      bodies(`_vercel-ai/${folder}`, frame, 'data: [DONE]\n\n')
        .filter(
          (one) => one.isStream && one.body.includes('"delta":{') && !one.body.includes('"error"'),
        )
        .map((one) => ({ ...one, variant: 'generic' as const })),
    ),
  ]
  test.each(streams)('the stream of $name is written in the strict form', ({ body, variant }) => {
    const events = decodeIn(new OpenAiChatProvider(variant).stream(target()), [body])
    const again = written(STREAMING, events)
    for (const chunk of chunksOf(again).filter((one) => !('error' in one))) {
      expect(violations('CreateChatCompletionStreamResponse', chunk)).toEqual([])
    }
    const broken = events.some(({ type }) => type === 'failure')
    expect(again.endsWith('data: [DONE]\n\n')).toBe(!broken)
    const whole = broken ? `${again}data: [DONE]\n\n` : again
    const back = decodeIn(new OpenAiChatProvider('openai').stream(target()), [Buffer.from(whole)])
    expect(textOf(back)).toBe(textOf(events))
    expect(callsOf(back)).toEqual(callsOf(events))
  })
})

describe.skipIf(!hasVectors)('the strict form', () => {
  test('of answers, streams and errors', () => {
    const answer: unknown = JSON.parse(client.encode(PROOFS).toString())
    expect(violations('CreateChatCompletionResponse', answer)).toEqual([])
    for (const chunk of chunksOf(written(STREAMING, EVENTS))) {
      expect(violations('CreateChatCompletionStreamResponse', chunk)).toEqual([])
    }
    const error: unknown = JSON.parse(client.error('model_not_found', null).toString())
    expect(violations('ErrorResponse', error)).toEqual([])
  })

  test('finds what is not of it', () => {
    const answer: unknown = JSON.parse(client.encode(PROOFS).toString())
    expect(
      violations('CreateChatCompletionResponse', { ...Object(answer), created: null }),
    ).toEqual(['/created type integer'])
    expect(violations('ErrorResponse', { error: { message: 'm' } })).toEqual([
      '/error required code',
      '/error required param',
      '/error required type',
    ])
  })
})

describe('a legacy completion', () => {
  const completionShape = (body: unknown) => {
    const bytes = new Sensitive(Buffer.from(JSON.stringify(body)))
    const { model, stream } = readShape(bytes, operation('completions'))
    return { model, stream }
  }
  const recorded = exchanges('openai-legacy')
  test.skipIf(!hasVectors)('is recognised in every recording', () => {
    const shapes = recorded.map(({ request }) => completionShape(request))
    expect(shapes).toEqual(
      recorded.map(({ request, isStream }) => ({
        model: Reflect.get(Object(request), 'model'),
        stream: isStream,
      })),
    )
    const failed = recorded.filter(({ status }) => status >= 400)
    const provider = new OpenAiChatProvider('openai')
    const classes = failed.map(({ status, body }) => provider.classify(status, {}, body).class)
    expect(classes.toSorted()).toEqual(['bad_request', 'not_found'])
  })

  test.each([['text'], [['a', 'b']], [[1, 2]], [[[1], [2]]]])('%j', (prompt) => {
    const body = { model: 'm', prompt, stream: true }
    expect(completionShape(body)).toEqual({ model: 'm', stream: true })
  })

  test.each([[{ prompt: 1 }], [{ model: 1 }], [{ stream: 1 }]])('%j', (more) => {
    expect(() => completionShape({ model: 'm', prompt: 'p', ...more })).toThrow(
      new GatewayError('invalid_request'),
    )
  })
})
