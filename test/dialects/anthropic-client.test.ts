import type { JsonValue } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { anthropicMessages } from '../../src/dialects/anthropic/client.ts'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import type {
  AssistantPart,
  CanonicalAnswer,
  CanonicalChoice,
  CanonicalEvent,
  ProviderFailure,
} from '../../src/dialects/canonical.ts'
import { GatewayError, type ErrorCode } from '../../src/errors.ts'
import { target } from './anthropic-recordings.ts'

const decode = (more: Record<string, JsonValue>) =>
  anthropicMessages.decode({ model: 'm', max_tokens: 10, messages: [], ...more })
const request = decode({})
const invalid = new GatewayError('invalid_request')
const unsupported = new GatewayError('request_not_supported')

describe('a request', () => {
  test('with everything in it', () => {
    expect(
      decode({
        stream: true,
        system: [
          { type: 'text', text: 'be brief', cache_control: { type: 'ephemeral', ttl: '1h' } },
        ],
        messages: [
          { role: 'user', content: 'hi' },
          {
            role: 'assistant',
            content: [
              { type: 'thinking', thinking: 'hm', signature: 'sig' },
              { type: 'redacted_thinking', data: 'opaque' },
              { type: 'text', text: 'yes' },
              {
                type: 'tool_use',
                id: 'a',
                name: 'f',
                input: { x: 1 },
                extra_content: { google: { thought_signature: 'gsig' } },
              },
              { type: 'tool_use', id: 'b', name: 'f', input: {} },
            ],
          },
          {
            role: 'user',
            content: [
              { type: 'tool_result', tool_use_id: 'a', content: 'one' },
              {
                type: 'tool_result',
                tool_use_id: 'b',
                is_error: true,
                content: [
                  { type: 'text', text: 'no' },
                  { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
                ],
                cache_control: { type: 'ephemeral' },
              },
              { type: 'text', text: 'so?' },
            ],
          },
        ],
        tools: [
          {
            name: 'f',
            description: 'd',
            input_schema: { type: 'object' },
            type: 'custom',
            strict: true,
          },
        ],
        tool_choice: { type: 'any', disable_parallel_tool_use: true },
        stop_sequences: ['END'],
        temperature: 0.5,
        top_p: 0.9,
        top_k: 5,
        metadata: { user_id: 'u' },
        thinking: { type: 'enabled', budget_tokens: 2000 },
        output_config: { effort: 'low' },
      }),
    ).toEqual({
      model: 'm',
      stream: true,
      messages: [
        { role: 'system', parts: [{ type: 'text', text: 'be brief', cache: '1h' }] },
        { role: 'user', parts: [{ type: 'text', text: 'hi' }], name: null },
        {
          role: 'assistant',
          parts: [
            { type: 'reasoning', text: 'hm', signature: 'sig', encrypted: null, id: null },
            { type: 'reasoning', text: '', signature: null, encrypted: 'opaque', id: null },
            { type: 'text', text: 'yes' },
            { type: 'tool_call', id: 'a', name: 'f', arguments: '{"x":1}', signature: 'gsig' },
            { type: 'tool_call', id: 'b', name: 'f', arguments: '{}', signature: null },
          ],
        },
        {
          role: 'tool',
          results: [
            { callId: 'a', parts: [{ type: 'text', text: 'one' }], isError: false },
            {
              callId: 'b',
              parts: [
                { type: 'text', text: 'no' },
                {
                  type: 'image',
                  source: { kind: 'url', url: 'https://example.com/a.png' },
                  detail: null,
                },
              ],
              isError: true,
              cache: '5m',
            },
          ],
        },
        { role: 'user', parts: [{ type: 'text', text: 'so?' }], name: null },
      ],
      tools: [{ name: 'f', description: 'd', parameters: { type: 'object' }, strict: true }],
      toolChoice: { type: 'required' },
      parallelToolCalls: false,
      sampling: {
        maxTokens: 10,
        temperature: 0.5,
        topP: 0.9,
        topK: 5,
        seed: null,
        frequencyPenalty: null,
        presencePenalty: null,
        stop: ['END'],
        n: null,
      },
      format: null,
      reasoning: { effort: 'low', budgetTokens: 2000 },
      logprobs: null,
      streamUsage: true,
      extra: {
        metadata: { user_id: 'u' },
        thinking: { type: 'enabled', budget_tokens: 2000 },
        output_config: { effort: 'low' },
      },
      dialect: 'anthropic-messages',
    })
  })

  test.each<[JsonValue, object | null]>([
    [null, null],
    [{ type: 'disabled' }, { effort: 'none', budgetTokens: null }],
    [{ type: 'adaptive' }, { effort: null, budgetTokens: null }],
  ])('thinking %j', (thinking, expected) => {
    expect(decode({ thinking }).reasoning).toEqual(expected)
  })

  test('the form of the answer', () => {
    const schema = { type: 'object' }
    expect(decode({ output_config: { format: { type: 'json_schema', schema } } }).format).toEqual({
      type: 'json_schema',
      name: 'answer',
      description: null,
      schema,
      strict: true,
    })
  })

  test('documents', () => {
    const content = [
      {
        type: 'document',
        title: 't',
        source: { type: 'text', media_type: 'text/plain', data: 'hé' },
      },
      { type: 'document', source: { type: 'file', file_id: 'file_1' } },
      {
        type: 'document',
        source: { type: 'base64', media_type: 'application/pdf', data: 'JVBE' },
      },
    ]
    expect(decode({ messages: [{ role: 'user', content }] }).messages).toMatchObject([
      {
        parts: [
          {
            name: 't',
            source: { kind: 'base64', mediaType: 'text/plain', data: 'aMOp' },
          },
          { name: null, source: { kind: 'id', id: 'file_1' } },
          { source: { kind: 'base64', mediaType: 'application/pdf', data: 'JVBE' } },
        ],
      },
    ])
  })

  const block = (content: JsonValue, role = 'user'): Record<string, JsonValue> => ({
    messages: [{ role, content: [content] }],
  })
  test.each<Record<string, JsonValue>>([
    { model: '' },
    { model: 5 },
    { max_tokens: null },
    { max_tokens: 0 },
    { max_tokens: 1.5 },
    { max_tokens: '10' },
    { messages: null },
    { messages: {} },
    { messages: ['hi'] },
    { messages: [{ role: 'root', content: 'hi' }] },
    { messages: [{ role: 'user' }] },
    { messages: [{ role: 'user', content: 5 }] },
    block('hi'),
    block({ type: 'text' }),
    block({ type: 'text', text: 'x', cache_control: { type: 'forever' } }),
    block({ type: 'image' }),
    block({ type: 'image', source: { type: 'base64', data: 'AAAA' } }),
    block({ type: 'image', source: { type: 'url', url: '' } }),
    block({ type: 'tool_result' }),
    block({ type: 'tool_result', tool_use_id: 'a', is_error: 'yes' }),
    block({ type: 'tool_use', id: 'a', name: 'f', input: '{}' }, 'assistant'),
    block({ type: 'thinking' }, 'assistant'),
    { system: 5 },
    { stream: 'yes' },
    { temperature: '1' },
    { top_k: -1 },
    { stop_sequences: 'END' },
    { stop_sequences: [1] },
    { tools: {} },
    { tools: [{ name: 'f' }] },
    { tools: [{ name: '', input_schema: {} }] },
    { tool_choice: 'auto' },
    { tool_choice: { type: 'some' } },
    { tool_choice: { type: 'tool' } },
    { thinking: 'yes' },
    { thinking: {} },
    { thinking: { type: 'enabled' } },
    { output_config: { effort: 'huge' } },
    { output_config: { format: { type: 'xml' } } },
  ])('%j is none', (more) => {
    expect(() => decode(more)).toThrow(invalid)
  })

  test.each<JsonValue>([null, 'hi', [], {}])('%j is none', (body) => {
    expect(() => anthropicMessages.decode(body)).toThrow(invalid)
  })

  test.each<Record<string, JsonValue>>([
    { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
    block({ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }, 'assistant'),
    block({ type: 'search_result', title: 't' }),
    block({ type: 'image', source: { type: 'file', file_id: 'f' } }),
    block({ type: 'tool_result', tool_use_id: 'a', content: [{ type: 'tool_reference' }] }),
  ])('%j only Anthropic can do', (more) => {
    expect(() => decode(more)).toThrow(unsupported)
  })

  test('a member __proto__ is a member', () => {
    const body: JsonValue = JSON.parse(
      '{"model":"m","max_tokens":1,"messages":[],"__proto__":{"stream":true}}',
    )
    const decoded = anthropicMessages.decode(body)
    expect(decoded.stream).toBe(false)
    expect(Object.keys(decoded.extra)).toEqual(['__proto__'])
  })
})

const answerOf = (choice: Partial<CanonicalChoice>): CanonicalAnswer => ({
  id: 'msg_1',
  model: 'claude-x',
  created: 1,
  choices: [{ index: 0, parts: [], finish: 'stop', stopSequence: null, logprobs: null, ...choice }],
  usage: { uncachedInput: 1, cacheRead: 2, cacheWrite: 3, output: 4, reasoning: 5 },
})
const encoded = (choice: Partial<CanonicalChoice>) =>
  JSON.parse(anthropicMessages.encode(answerOf(choice), request).toString('utf8'))

describe('an answer', () => {
  test('is a message', () => {
    const parts: AssistantPart[] = [
      { type: 'reasoning', text: 'hm', signature: 'sig', encrypted: null, id: null },
      { type: 'reasoning', text: 'unproven', signature: null, encrypted: null, id: null },
      { type: 'reasoning', text: 'open', signature: null, encrypted: 'opaque', id: null },
      { type: 'text', text: '' },
      { type: 'text', text: 'yes' },
      { type: 'tool_call', id: 'a', name: 'f', arguments: '{"x":1.0}', signature: 'gsig' },
      { type: 'tool_call', id: 'b', name: 'f', arguments: '', signature: null },
    ]
    expect(encoded({ parts, finish: 'tool_calls' })).toEqual({
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'claude-x',
      content: [
        { type: 'thinking', thinking: 'hm', signature: 'sig' },
        { type: 'thinking', thinking: 'unproven', signature: '' },
        { type: 'thinking', thinking: 'open', signature: '' },
        { type: 'redacted_thinking', data: 'opaque' },
        { type: 'text', text: 'yes' },
        {
          type: 'tool_use',
          id: 'a',
          name: 'f',
          input: { x: 1 },
          extra_content: { google: { thought_signature: 'gsig' } },
        },
        { type: 'tool_use', id: 'b', name: 'f', input: {} },
      ],
      stop_reason: 'tool_use',
      stop_sequence: null,
      usage: {
        input_tokens: 1,
        cache_read_input_tokens: 2,
        cache_creation_input_tokens: 3,
        output_tokens: 9,
        output_tokens_details: { thinking_tokens: 5 },
      },
    })
  })

  test.each<[Partial<CanonicalChoice>, string]>([
    [{ finish: 'stop' }, 'end_turn'],
    [{ finish: 'stop', stopSequence: 'END' }, 'stop_sequence'],
    [{ finish: 'stop', nativeFinish: 'pause_turn' }, 'pause_turn'],
    [{ finish: 'stop', nativeFinish: 'of_another' }, 'end_turn'],
    [{ finish: 'length' }, 'max_tokens'],
    [{ finish: 'content_filter' }, 'refusal'],
  ])('%j stops for %s', (choice, reason) => {
    expect(encoded(choice).stop_reason).toBe(reason)
  })

  test('that failed is none', () => {
    expect(() => encoded({ finish: 'error' })).toThrow(new GatewayError('upstream_error'))
    expect(() => anthropicMessages.encode({ ...answerOf({}), choices: [] }, request)).toThrow(
      new GatewayError('upstream_error'),
    )
  })

  test('brings another provider’s encrypted thoughts through a client and back', () => {
    const part: AssistantPart = {
      type: 'reasoning',
      text: 'summary',
      signature: null,
      encrypted: 'gAAAA=',
      id: 'rs_1',
    }
    const { content } = encoded({ parts: [part] })
    expect(content).toMatchObject([{ type: 'thinking', thinking: 'summary' }])
    const back = decode({ messages: [{ role: 'assistant', content }] })
    expect(back.messages).toEqual([{ role: 'assistant', parts: [part] }])
    const { body } = anthropic.encode(back, target)
    expect(body.toString('utf8')).not.toContain('summary')
    for (const signature of ['vg1.', 'vg1.e30', 'vg1.WzEsMl0']) {
      const block = { type: 'thinking', thinking: 't', signature }
      expect(
        decode({ messages: [{ role: 'assistant', content: [block] }] }).messages,
      ).toMatchObject([{ parts: [{ signature, encrypted: null, id: null }] }])
    }
  })
})

const call = (number: number, name: string): CanonicalEvent => ({
  type: 'tool_call',
  choice: 0,
  call: number,
  id: `id_${number}`,
  name,
  signature: null,
})
const args = (number: number, text: string): CanonicalEvent => ({
  type: 'tool_arguments',
  choice: 0,
  call: number,
  text,
})
const says = (text: string): CanonicalEvent => ({ type: 'text', choice: 0, text, logprobs: null })

/** What is written, as `event:` names with index and the part that matters. */
function written(events: readonly CanonicalEvent[]): string[] {
  const encoder = anthropicMessages.stream(request)
  const bytes = Buffer.concat([...events.map((event) => encoder.push(event)), encoder.end()])
  return bytes
    .toString('utf8')
    .split('\n\n')
    .filter(Boolean)
    .map((frame) => {
      const [first = '', second = ''] = frame.split('\n')
      const { type, index, content_block: block, delta } = JSON.parse(second.slice(6))
      expect(first).toBe(`event: ${type}`)
      return [type.replace('content_block_', ''), index, block?.type, ...Object.values(delta ?? {})]
        .filter((each) => each !== undefined && each !== null)
        .join(' ')
    })
}

describe('a stream', () => {
  test('opens blocks late and closes them before the next', () => {
    expect(
      written([
        { type: 'start', id: 'msg_1', model: 'm', created: 1, usage: null },
        { type: 'reasoning', choice: 0, block: 0, text: 'h' },
        { type: 'reasoning', choice: 0, block: 0, text: 'm' },
        {
          type: 'reasoning_proof',
          choice: 0,
          block: 0,
          signature: 'sig',
          encrypted: null,
          id: null,
        },
        {
          type: 'reasoning_proof',
          choice: 0,
          block: 1,
          signature: null,
          encrypted: 'opaque',
          id: null,
        },
        says(''),
        says('a'),
        { type: 'refusal', choice: 0, text: 'b' },
        says('c'),
        { type: 'text', choice: 1, text: 'of another choice', logprobs: null },
        call(0, 'f'),
        args(0, '{"x":'),
        args(0, '"}\\""}'),
        call(1, 'g'),
        args(1, '{}'),
        { type: 'finish', choice: 0, reason: 'tool_calls', stopSequence: null },
      ]),
    ).toEqual([
      'message_start',
      'ping',
      'start 0 thinking',
      'delta 0 thinking_delta h',
      'delta 0 thinking_delta m',
      'delta 0 signature_delta sig',
      'stop 0',
      'start 1 redacted_thinking',
      'stop 1',
      'start 2 text',
      'delta 2 text_delta a',
      'delta 2 text_delta b',
      'delta 2 text_delta c',
      'stop 2',
      'start 3 tool_use',
      'delta 3 input_json_delta {"x":',
      'delta 3 input_json_delta "}\\""}',
      'stop 3',
      'start 4 tool_use',
      'delta 4 input_json_delta {}',
      'stop 4',
      'message_delta tool_use',
      'message_stop',
    ])
  })

  test('two calls written in turns come one after the other', () => {
    expect(
      written([
        call(0, 'f'),
        call(1, 'g'),
        args(1, '{"b":'),
        args(0, '{"a":'),
        says('later'),
        args(1, '2}'),
        args(0, '1}'),
      ]),
    ).toEqual([
      'start 0 tool_use',
      'delta 0 input_json_delta {"a":',
      'delta 0 input_json_delta 1}',
      'stop 0',
      'start 1 tool_use',
      'delta 1 input_json_delta {"b":',
      'delta 1 input_json_delta 2}',
      'stop 1',
      'start 2 text',
      'delta 2 text_delta later',
      'stop 2',
      'message_delta end_turn',
      'message_stop',
    ])
  })

  test('arguments that never end hold back only until the end', () => {
    expect(written([call(0, 'f'), args(0, '{'), call(1, 'g'), says('x')])).toEqual([
      'start 0 tool_use',
      'delta 0 input_json_delta {',
      'stop 0',
      'start 1 tool_use',
      'stop 1',
      'start 2 text',
      'delta 2 text_delta x',
      'stop 2',
      'message_delta end_turn',
      'message_stop',
    ])
  })

  test('that fails has no end', () => {
    for (const last of [
      { type: 'finish', choice: 0, reason: 'error', stopSequence: null },
      {
        type: 'failure',
        failure: { class: 'server', status: 500, retryAfterSeconds: null, message: null },
      },
    ] as const) {
      expect(written([says('a'), last, says('b')])).toEqual([
        'start 0 text',
        'delta 0 text_delta a',
        'error',
      ])
    }
    const encoder = anthropicMessages.stream(request)
    expect(encoder.fail('upstream_broken', null).toString()).toContain('event: error\n')
    expect(encoder.fail('upstream_broken', null)).toHaveLength(0)
  })
})

describe('an error', () => {
  test.each<[ErrorCode, string]>([
    ['invalid_json', 'invalid_request_error'],
    ['invalid_api_key', 'authentication_error'],
    ['model_not_allowed', 'permission_error'],
    ['model_not_found', 'not_found_error'],
    ['method_not_allowed', 'invalid_request_error'],
    ['session_not_accepted', 'invalid_request_error'],
    ['body_too_large', 'request_too_large'],
    ['upstream_rate_limited', 'rate_limit_error'],
    ['internal', 'api_error'],
    ['upstream_error', 'api_error'],
    ['upstream_overloaded', 'overloaded_error'],
    ['upstream_timeout', 'timeout_error'],
  ])('%s is a %s', (code, type) => {
    expect(JSON.parse(anthropicMessages.error(code, null, 'req_1').toString())).toEqual({
      type: 'error',
      error: { type, message: new GatewayError(code).message, code },
      request_id: 'req_1',
    })
  })

  test('has the provider’s words where there are some', () => {
    const failure: ProviderFailure = {
      class: 'bad_request',
      status: 400,
      retryAfterSeconds: null,
      message: 'temperature: too hot',
    }
    expect(
      JSON.parse(anthropicMessages.error('request_rejected', failure, 'req_1').toString()).error,
    ).toEqual({
      type: 'invalid_request_error',
      message: 'temperature: too hot',
      code: 'request_rejected',
    })
  })
})
