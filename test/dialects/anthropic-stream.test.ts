import { describe, expect, test } from 'vitest'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import { ProviderError } from '../../src/dialects/dialect.ts'
import { GatewayError } from '../../src/errors.ts'
import { target } from './anthropic-recordings.ts'
import { decodeIn } from './decoding.ts'

type Payload = { readonly type: string } & Record<string, unknown>

const start = {
  type: 'message_start',
  message: { id: 'msg_1', model: 'claude-x', usage: { input_tokens: 7, output_tokens: 1 } },
}
const begin = (index: number, block: object) => ({
  type: 'content_block_start',
  index,
  content_block: block,
})
const delta = (index: number, change: object) => ({
  type: 'content_block_delta',
  index,
  delta: change,
})
const stop = (index: number) => ({ type: 'content_block_stop', index })
const end = (reason: string | null, more: object = {}): Payload[] => [
  {
    type: 'message_delta',
    delta: { stop_reason: reason, stop_sequence: null, ...more },
    usage: { output_tokens: 9 },
  },
  { type: 'message_stop' },
]
const wire = (payloads: readonly Payload[]): Buffer =>
  Buffer.from(
    payloads.map((each) => `event: ${each.type}\ndata: ${JSON.stringify(each)} \n\n`).join(''),
  )
const read = (...payloads: readonly Payload[]) =>
  decodeIn(anthropic.stream(target), [wire(payloads)])

const malformed = new GatewayError('upstream_malformed')
const textBlock = { type: 'text', text: '' }

describe('a stream', () => {
  test('blocks become events, counted anew for each kind', () => {
    expect(
      read(
        start,
        { type: 'ping' },
        begin(0, { type: 'thinking', thinking: '', signature: '' }),
        delta(0, { type: 'thinking_delta', thinking: 'hm' }),
        delta(0, { type: 'signature_delta', signature: 'sig' }),
        stop(0),
        begin(1, { type: 'redacted_thinking', data: 'opaque' }),
        stop(1),
        begin(2, { type: 'server_tool_use', id: 's', name: 'web_search', input: {} }),
        delta(2, { type: 'input_json_delta', partial_json: '{"query":"x"}' }),
        stop(2),
        begin(3, textBlock),
        delta(3, { type: 'citations_delta', citation: {} }),
        delta(3, { type: 'text_delta', text: 'yes' }),
        stop(3),
        begin(5, { type: 'tool_use', id: 'a', name: 'f', input: {} }),
        delta(5, { type: 'input_json_delta', partial_json: '' }),
        delta(5, { type: 'input_json_delta', partial_json: '{"a":' }),
        delta(5, { type: 'input_json_delta', partial_json: '1}' }),
        stop(5),
        begin(6, { type: 'tool_use', id: 'b', name: 'g', input: {} }),
        delta(6, { type: 'input_json_delta', partial_json: '' }),
        stop(6),
        begin(7, { type: 'tool_use', id: 'c', name: 'h', input: { whole: true } }),
        stop(7),
        ...end('tool_use'),
      ),
    ).toEqual([
      {
        type: 'start',
        id: 'msg_1',
        model: 'claude-x',
        created: 1_700_000_000,
        usage: { uncachedInput: 7, cacheRead: 0, cacheWrite: 0, output: 1, reasoning: 0 },
      },
      { type: 'reasoning', choice: 0, block: 0, text: 'hm' },
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
      { type: 'text', choice: 0, text: 'yes', logprobs: null },
      { type: 'tool_call', choice: 0, call: 0, id: 'a', name: 'f', signature: null },
      { type: 'tool_arguments', choice: 0, call: 0, text: '{"a":' },
      { type: 'tool_arguments', choice: 0, call: 0, text: '1}' },
      { type: 'tool_call', choice: 0, call: 1, id: 'b', name: 'g', signature: null },
      { type: 'tool_arguments', choice: 0, call: 1, text: '{}' },
      { type: 'tool_call', choice: 0, call: 2, id: 'c', name: 'h', signature: null },
      { type: 'tool_arguments', choice: 0, call: 2, text: '{"whole":true}' },
      { type: 'finish', choice: 0, reason: 'tool_calls', stopSequence: null },
      {
        type: 'usage',
        usage: { uncachedInput: 7, cacheRead: 0, cacheWrite: 0, output: 9, reasoning: 0 },
      },
    ])
  })

  test.each([
    ['end_turn', { reason: 'stop' }],
    ['max_tokens', { reason: 'length' }],
    [
      'model_context_window_exceeded',
      { reason: 'length', nativeFinish: 'model_context_window_exceeded' },
    ],
    ['refusal', { reason: 'content_filter' }],
    ['pause_turn', { reason: 'stop', nativeFinish: 'pause_turn' }],
    ['of_tomorrow', { reason: 'stop' }],
    ['tool_use', { reason: 'stop' }],
    [null, { reason: 'stop' }],
  ])('that stops for %s', (reason, expected) => {
    const finish = read(start, ...end(reason)).find(({ type }) => type === 'finish')
    expect(finish).toEqual({ type: 'finish', choice: 0, stopSequence: null, ...expected })
  })

  test('says which stop sequence, and why it refused', () => {
    const events = read(
      start,
      ...end('refusal', {
        stop_sequence: 'END',
        stop_details: { type: 'refusal', explanation: 'no' },
      }),
    )
    expect(events).toContainEqual({ type: 'refusal', choice: 0, text: 'no' })
    expect(events).toContainEqual(expect.objectContaining({ stopSequence: 'END' }))
  })

  test('the later count replaces the earlier; thoughts are counted apart', () => {
    const first = { ...start, message: { usage: { input_tokens: 5, cache_read_input_tokens: 3 } } }
    const usage = {
      input_tokens: 6,
      cache_creation_input_tokens: null,
      output_tokens: 20,
      output_tokens_details: { thinking_tokens: 15 },
    }
    const events = read(
      first,
      { type: 'message_delta', delta: {}, usage },
      { type: 'message_stop' },
    )
    expect(events.at(-1)).toEqual({
      type: 'usage',
      usage: { uncachedInput: 6, cacheRead: 3, cacheWrite: 0, output: 5, reasoning: 15 },
    })
    expect(events[0]).toMatchObject({ id: expect.stringMatching(/^msg_/), model: target.model })
  })

  test('a failure within it is its last word', () => {
    const error = { type: 'overloaded_error', message: 'Overloaded' }
    expect(
      read(start, begin(0, textBlock), { type: 'error', error }, { type: 'message_stop' }).at(-1),
    ).toEqual({
      type: 'failure',
      failure: { class: 'overloaded', status: 529, retryAfterSeconds: null, message: null },
    })
  })

  test('a second start before any content is the same answer, after it a failure', () => {
    expect(read(start, start, begin(0, textBlock), ...end('end_turn'))).toHaveLength(3)
    expect(read(start, begin(0, textBlock), start).at(-1)).toMatchObject({ type: 'failure' })
  })

  test('the answer of the JSON tool is text', () => {
    const events = read(
      start,
      begin(0, { type: 'tool_use', id: 'a', name: 'x-vg-_json', input: {} }),
      delta(0, { type: 'input_json_delta', partial_json: '{"a":1}' }),
      stop(0),
      ...end('tool_use'),
    )
    expect(events[1]).toEqual({ type: 'text', choice: 0, text: '{"a":1}', logprobs: null })
    expect(events[2]).toMatchObject({ type: 'finish', reason: 'stop' })
  })

  test.each<[string, readonly Payload[]]>([
    ['content before its start', [begin(0, textBlock)]],
    ['the end before its start', end('end_turn')],
    ['a block begun twice', [start, begin(0, textBlock), begin(0, textBlock)]],
    ['a delta of no block', [start, delta(0, { type: 'text_delta', text: 'x' })]],
    ['the end of no block', [start, stop(0)]],
    ['an index that is none', [start, { type: 'content_block_start', index: '0' }]],
    [
      'text in a tool',
      [
        start,
        begin(0, { type: 'tool_use', id: 'a', name: 'f', input: {} }),
        delta(0, { type: 'text_delta', text: 'x' }),
      ],
    ],
    [
      'a text that is a number',
      [start, begin(0, textBlock), delta(0, { type: 'text_delta', text: 1 })],
    ],
    ['a message that is a string', [{ type: 'message_start', message: 'x' }]],
    [
      'blocks without end',
      [start, ...Array.from({ length: 4097 }, (_, at) => begin(at, textBlock))],
    ],
  ])('with %s is malformed', (_, payloads) => {
    expect(() => anthropic.stream(target).push(wire(payloads))).toThrow(malformed)
  })

  test.each(['{', '[]', `{"type":"ping","x":${'['.repeat(2000)}${']'.repeat(2000)}}`])(
    'whose data is %.20s is malformed',
    (data) => {
      expect(() => anthropic.stream(target).push(Buffer.from(`data: ${data}\n\n`))).toThrow(
        malformed,
      )
    },
  )

  test('without its end, or cut within a frame, is broken', () => {
    const whole = wire([start, begin(0, textBlock), ...end('end_turn')])
    for (const cut of [0, 10, whole.length - 20]) {
      const decoder = anthropic.stream(target)
      decoder.push(whole.subarray(0, cut))
      expect(() => decoder.end(), String(cut)).toThrow(new GatewayError('upstream_broken'))
    }
  })
})

describe('a whole answer', () => {
  const decode = (value: unknown) => anthropic.decode(Buffer.from(JSON.stringify(value)), target)

  test('that is an error is thrown as one', () => {
    const error = { type: 'overloaded_error', message: 'Overloaded' }
    expect(() => decode({ type: 'error', error })).toThrow(ProviderError)
  })

  test.each([
    {},
    [],
    null,
    { type: 'message', content: 'text' },
    { type: 'message', content: ['text'] },
    { type: 'message', content: [{ type: 'text', text: 1 }] },
    { type: 'message', content: [{ type: 'tool_use', name: 'f', input: '{}' }] },
    { type: 'message', content: [{ type: 'tool_use', name: {}, input: {} }] },
    { type: 'message', content: [], stop_sequence: 1 },
  ])('that is %j is malformed', (value) => {
    expect(() => decode(value)).toThrow(malformed)
  })

  test('that is not JSON is malformed', () => {
    expect(() => anthropic.decode(Buffer.from('<html>'), target)).toThrow(malformed)
  })

  test('counts nothing where the counts are none', () => {
    const usage = { input_tokens: -1, output_tokens: '5', cache_read_input_tokens: 1e300 }
    expect(decode({ type: 'message', content: [], usage }).usage).toEqual({
      uncachedInput: 0,
      cacheRead: 0,
      cacheWrite: 0,
      output: 0,
      reasoning: 0,
    })
    expect(decode({ type: 'message', content: [] }).usage).toBeNull()
  })
})

describe('any other status', () => {
  const classify = (status: number, type: string, message: string, headers = {}) =>
    anthropic.classify(
      status,
      headers,
      Buffer.from(JSON.stringify({ type: 'error', error: { type, message } })),
    )

  test.each([
    [400, 'invalid_request_error', 'max_tokens: Field required', 'bad_request'],
    [400, 'invalid_request_error', 'prompt is too long: 9 tokens > 8 maximum', 'context_length'],
    [
      400,
      'invalid_request_error',
      'input length and `max_tokens` exceed context limit',
      'context_length',
    ],
    [400, 'invalid_request_error', 'Output blocked by content filtering policy', 'content_filter'],
    [413, 'request_too_large', 'Request exceeds the maximum size', 'bad_request'],
    [422, 'of_a_proxy', 'no', 'bad_request'],
  ])('%i %s "%s" is about the request', (status, type, message, expected) => {
    expect(classify(status, type, message)).toEqual({
      class: expected,
      status,
      retryAfterSeconds: null,
      message,
    })
  })

  test.each([
    [400, 'invalid_request_error', 'Your credit balance is too low to access the API', 'quota'],
    [401, 'authentication_error', 'invalid x-api-key', 'auth'],
    [402, 'billing_error', 'pay', 'quota'],
    [403, 'permission_error', 'no', 'auth'],
    [404, 'not_found_error', 'model: x', 'not_found'],
    [429, 'rate_limit_error', 'slow down', 'rate_limit'],
    [500, 'api_error', 'Internal server error', 'server'],
    [500, 'invalid_request_error', 'of a proxy', 'server'],
    [503, '', 'busy', 'overloaded'],
    [504, 'timeout_error', 'late', 'server'],
    [529, 'overloaded_error', 'Overloaded', 'overloaded'],
    [302, '', '', 'server'],
  ])('%i %s "%s" is not, and its words stay here', (status, type, message, expected) => {
    expect(classify(status, type, message)).toEqual({
      class: expected,
      status,
      retryAfterSeconds: null,
      message: null,
    })
  })

  test.each([
    [{ 'retry-after': '24' }, 24],
    [{ 'retry-after': '86400' }, 86_400],
    [{ 'retry-after': '86401' }, null],
    [{ 'retry-after': '-1' }, null],
    [{ 'retry-after': '1e99' }, null],
    [{}, null],
  ])('%j', (headers, seconds) => {
    expect(classify(429, 'rate_limit_error', '', headers).retryAfterSeconds).toBe(seconds)
  })

  test('a long message is cut', () => {
    expect(classify(400, 'invalid_request_error', 'x'.repeat(5000)).message).toHaveLength(1000)
  })

  test.each(['', 'null', '<html>', '{"error":"text"}', '[['.repeat(5000)])(
    'with the body %.20s has no words',
    (body) => {
      expect(anthropic.classify(400, {}, Buffer.from(body)).message).toBeNull()
    },
  )
})
