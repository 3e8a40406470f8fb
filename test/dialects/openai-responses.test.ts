import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonValue } from '@vouchgate/attestation'
import type {
  CanonicalAnswer,
  CanonicalEvent,
  CanonicalRequest,
  CanonicalUsage,
} from '../../src/dialects/canonical.ts'
import { ProviderError } from '../../src/dialects/dialect.ts'
import { OpenAiChat } from '../../src/dialects/openai-chat/client.ts'
import { OpenAiChatProvider } from '../../src/dialects/openai-chat/provider.ts'
import { OpenAiResponses } from '../../src/dialects/openai-responses/client.ts'
import { OpenAiResponsesProvider } from './responses-provider/provider.ts'
import { GatewayError } from '../../src/errors.ts'
import { hasVectors } from '../support/vectors.ts'
import { schemaOfEvent, violations } from './openapi.ts'
import { bodies, callsOf, cuts, exchanges, textOf } from './traffic.ts'
import { decodeIn, joined, target } from './decoding.ts'

const client = new OpenAiResponses(null)
const provider = new OpenAiResponsesProvider()
const asked = (more: Record<string, JsonValue> = {}): CanonicalRequest =>
  client.decode({ model: 'm', input: 'hi', ...more })
const sent = (request: CanonicalRequest, model = 'm'): Record<string, unknown> => {
  const { path, body } = provider.encode(request, target(model))
  expect(path).toBe('/responses')
  const parsed: Record<string, unknown> = JSON.parse(body.toString())
  return parsed
}

const frame = (line: string): string => {
  const type = /^.*"type":\s*"((?:response\.|error)[\w.]*)"/.exec(line)?.[1] ?? ''
  return `event: ${type}\ndata: ${line}\n\n`
}

const BODY_FOLDERS = ['openai', 'azure-openai', 'open-responses', 'xai'].map(
  (name) => `_vercel-ai/${name}`,
)
const recorded = [
  ...exchanges('openai-responses').filter(({ url }) => !url.endsWith('/input_tokens')),
  ...[...BODY_FOLDERS, '_gomodel/openai', '_gomodel/xai']
    .flatMap((folder) => bodies(folder, frame, ''))
    .filter(({ body }) => /"object":\s*"response"/.test(body.toString())),
]
/** Failures, answers that are not finished, a file whose lines are not whole, one that lost most of its deltas. */
const FAILING = [
  'openai-error.1',
  'background_mode',
  'parallel-tool-call-wrapper.1.chunks',
  'openai-phase.1.chunks',
]
const isGood = ({ status, name }: { status: number; name: string }): boolean =>
  status === 200 && !FAILING.some((part) => name.includes(part))
const whole = recorded.filter((one) => !one.isStream && isGood(one))
const streams = recorded.filter((one) => one.isStream && isGood(one))
const errors = recorded.filter(({ status }) => status >= 400)

interface RawResponse {
  output: {
    type: string
    name?: string
    arguments?: string
    content?: { type: string; text?: string }[] | null
    encrypted_content?: string | null
  }[]
  usage?: {
    input_tokens: number
    output_tokens: number
    input_tokens_details?: { cached_tokens?: number }
    output_tokens_details?: { reasoning_tokens?: number }
  }
}

const rawText = ({ output }: RawResponse): string =>
  output
    .filter(({ type }) => type === 'message')
    .flatMap(({ content }) => content ?? [])
    .map(({ text }) => text ?? '')
    .join('')
const rawCalls = ({ output }: RawResponse): [string, unknown][] =>
  output
    .filter(({ type }) => type === 'function_call')
    .map((call) => [call.name ?? '', JSON.parse(call.arguments || '{}')])

const rawCached = (raw: RawResponse['usage']): number =>
  raw?.input_tokens_details?.cached_tokens ?? 0
const rawReasoning = (raw: RawResponse['usage']): number =>
  raw?.output_tokens_details?.reasoning_tokens ?? 0

function expectUsage(usage: CanonicalUsage | null, raw: RawResponse['usage']): void {
  const { uncachedInput = 0, cacheRead = 0, output = 0, reasoning = 0 } = usage ?? {}
  expect(uncachedInput + cacheRead).toBe(raw?.input_tokens ?? 0)
  expect(cacheRead).toBe(rawCached(raw))
  expect(output + reasoning).toBe(raw?.output_tokens ?? 0)
  expect(reasoning).toBe(rawReasoning(raw))
}

const eventsOf = (stream: string): Record<string, unknown>[] =>
  stream
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line): Record<string, unknown> => JSON.parse(line.slice(6)))

const written = (
  request: CanonicalRequest,
  events: readonly CanonicalEvent[],
  by = client,
): string => {
  const encoder = by.stream(request)
  return Buffer.concat([...events.map((event) => encoder.push(event)), encoder.end()]).toString()
}

/** What is wrong with the events of a stream. */
const wrongs = (stream: string): string[] =>
  eventsOf(stream).flatMap((event, at) => {
    const type = String(event['type'])
    const order = event['sequence_number'] === at ? [] : ['sequence_number']
    return [...order, ...violations(schemaOfEvent(type), event)].map((one) => `${type}: ${one}`)
  })

describe.skipIf(!hasVectors)('recorded responses', () => {
  test('there are many', () => {
    expect(whole.length).toBeGreaterThan(40)
    expect(streams.length).toBeGreaterThan(25)
    expect(errors.length).toBeGreaterThan(2)
  })

  test.each(whole)('$name', ({ body }) => {
    const raw: RawResponse = JSON.parse(body.toString())
    const answer = provider.decode(body, target())
    const parts = answer.choices[0]?.parts ?? []
    expect(parts.map((part) => (part.type === 'text' ? part.text : '')).join('')).toBe(rawText(raw))
    const calls = parts.flatMap((part) => (part.type === 'tool_call' ? [part] : []))
    expect(calls.map((call) => [call.name, JSON.parse(call.arguments)])).toEqual(rawCalls(raw))
    const proofs = parts.flatMap((part) => (part.type === 'reasoning' ? [part.encrypted] : []))
    expect(proofs.filter((proof) => proof !== null)).toEqual(
      raw.output.flatMap((item) =>
        item.type === 'reasoning' ? (item.encrypted_content ?? []) : [],
      ),
    )
    expectUsage(answer.usage, raw.usage)
    const again: unknown = JSON.parse(client.encode(answer, asked()).toString())
    expect(violations('Response', again)).toEqual([])
    const back = provider.decode(Buffer.from(JSON.stringify(again)), target())
    expect(back.usage).toEqual(answer.usage)
    expect(callsAndText(back)).toEqual(callsAndText(answer))
  })

  const callsAndText = ({ choices }: CanonicalAnswer): unknown => ({
    calls: choices[0]?.parts.filter(({ type }) => type === 'tool_call'),
    text: choices[0]?.parts.map((part) => (part.type === 'text' ? part.text : '')).join(''),
  })

  test.each(streams)('$name', ({ body }) => {
    const events = decodeIn(provider.stream(target()), [body])
    const all = eventsOf(body.toString())
    // Some recordings hold one response after another; a stream is one.
    const end = all.findIndex(({ type }) => /response\.(?:completed|incomplete)/.test(String(type)))
    const raw: RawResponse = JSON.parse(JSON.stringify(all[end]?.['response']))
    expect(textOf(events)).toBe(rawText(raw))
    expect(callsOf(events)).toEqual(rawCalls(raw))
    const proofs = events.flatMap((event) =>
      event.type === 'reasoning_proof' ? [event.encrypted] : [],
    )
    // Encrypted anew in the last event, so that only those of complete items are the same.
    const items: RawResponse['output'] = all
      .slice(0, end)
      .filter(({ type }) => type === 'response.output_item.done')
      .map(({ item }): RawResponse['output'][number] => JSON.parse(JSON.stringify(item)))
    expect(proofs).toEqual(
      items.flatMap((item) => (item.type === 'reasoning' ? (item.encrypted_content ?? []) : [])),
    )
    const usage = events.flatMap((event) => (event.type === 'usage' ? [event.usage] : []))
    expectUsage(usage.at(-1) ?? null, raw.usage)
    expect(
      events.map(({ type }) => type).filter((type) => type === 'start' || type === 'finish'),
    ).toEqual(['start', 'finish'])
  })

  test.each(streams)(
    '$name is the same wherever it is cut, and broken before its end',
    ({ body }) => {
      const expected = joined(decodeIn(provider.stream(target()), [body]))
      const end = Math.max(
        body.indexOf('data: {"type":"response.completed"'),
        body.indexOf('data: {"type":"response.incomplete"'),
        body.indexOf('event: response.completed'),
      )
      expect(end).toBeGreaterThan(0)
      for (const at of cuts(body.length)) {
        const pieces = [body.subarray(0, at), body.subarray(at)]
        expect(joined(decodeIn(provider.stream(target()), pieces))).toEqual(expected)
      }
      for (const at of cuts(end)) {
        const decode = (): unknown => decodeIn(provider.stream(target()), [body.subarray(0, at)])
        expect(decode, `${at}`).toThrow(new GatewayError('upstream_broken'))
      }
    },
  )

  test.each(streams)('$name is written in the strict form', ({ body }) => {
    const events = decodeIn(provider.stream(target()), [body])
    const again = written(asked({ stream: true }), events)
    expect(wrongs(again)).toEqual([])
    const back = decodeIn(provider.stream(target()), [Buffer.from(again)])
    expect(textOf(back)).toBe(textOf(events))
    expect(callsOf(back)).toEqual(callsOf(events))
  })

  test.each(recorded.filter(({ name, isStream }) => isStream && name.includes('openai-error')))(
    '$name ends in a failure',
    ({ body }) => {
      const events = decodeIn(provider.stream(target()), [body])
      expect(events.at(-1)).toEqual({
        type: 'failure',
        failure: { class: 'quota', status: 402, retryAfterSeconds: null, message: null },
      })
    },
  )

  test.each(errors)('$name is classified', ({ body, status, name }) => {
    const failure = provider.classify(status, {}, body)
    const isMissing = name.includes('model-not-found')
    expect(failure.class).toBe(isMissing ? 'not_found' : 'bad_request')
    expect(failure.message === null).toBe(isMissing)
  })

  const multi = exchanges('openai-responses').filter(
    ({ url, status, request }) => url.endsWith('/responses') && status === 200 && request !== null,
  )
  const REFUSED = [
    ['background_mode', 'not_stateless'],
    ['openai_previous_response_id.1', 'not_stateless'],
    ['web_search_tool', 'request_not_supported'],
  ] as const
  const isRefused = ({ name }: { name: string }): boolean =>
    REFUSED.some(([part]) => name.includes(part))
  const again = (request: unknown): Record<string, unknown> => {
    const read: Record<string, JsonValue> & { model: string } = JSON.parse(JSON.stringify(request))
    return sent(client.decode(read), read.model)
  }

  test.each(multi.filter((one) => !isRefused(one)))(
    'the request of $name is sent as it was',
    ({ request }) => {
      expect(normal(again(request))).toEqual(normal(request))
    },
  )

  test.each(multi.filter(isRefused))('the request of $name is refused', ({ request, name }) => {
    const code = REFUSED.find(([part]) => name.includes(part))?.[1] ?? 'internal'
    expect(() => again(request)).toThrow(new GatewayError(code))
  })
})

/** What we write otherwise on purpose: instructions as a message, ids left out, the same content in its short form. */
const normal = (value: unknown): unknown => {
  const body: Record<string, JsonValue> = JSON.parse(
    JSON.stringify(value, (_, one: unknown) => (one === null ? undefined : one)),
  )
  const { instructions, input, store: _, include: __, text, ...rest } = body
  const given = typeof input === 'string' ? [{ role: 'user', content: input }] : (input ?? [])
  const system = instructions ? [{ role: 'system', content: instructions }] : []
  const isEmpty = (item: JsonValue): boolean => Reflect.get(Object(item), 'content') === ''
  const items: JsonValue[] = [...system, ...(Array.isArray(given) ? given : [])].filter(
    (item) => !isEmpty(item),
  )
  const { format, ...style } = Object(text)
  const wanted = format?.type === 'text' ? style : { ...style, format }
  return {
    stream: false,
    ...rest,
    text: JSON.stringify(wanted) === '{}' ? undefined : wanted,
    input: items.map(normalItem),
  }
}
const normalItem = (item: JsonValue): unknown => {
  const { id, status: _, type = 'message', phase: __, content, summary, ...rest } = Object(item)
  const [only, ...more]: unknown[] = Array.isArray(content) ? content : []
  const short = more.length === 0 && Reflect.get(Object(only), 'text')
  return {
    ...rest,
    type,
    id: type === 'reasoning' ? id : undefined,
    // Parts of a summary become one.
    summary: summary?.map((part: { text: string }) => part.text).join('\n\n'),
    content: type === 'reasoning' || content?.length === 0 ? undefined : short || content,
  }
}

const USAGE = { uncachedInput: 3, cacheRead: 4, cacheWrite: 5, output: 6, reasoning: 7 }
const EVENTS: CanonicalEvent[] = [
  { type: 'start', id: 'chatcmpl-1', model: 'm', created: 1_700_000_000, usage: null },
  { type: 'reasoning', choice: 0, block: 0, text: 'thou' },
  { type: 'reasoning', choice: 0, block: 0, text: 'ght' },
  { type: 'reasoning_proof', choice: 0, block: 0, signature: 'sig', encrypted: null, id: null },
  { type: 'reasoning_proof', choice: 0, block: 1, signature: null, encrypted: 'blob', id: 'rs_1' },
  {
    type: 'text',
    choice: 0,
    text: 'said',
    logprobs: [
      { token: 'said', logprob: -1, bytes: null, top: [{ token: 'x', logprob: -2, bytes: [120] }] },
    ],
  },
  { type: 'refusal', choice: 0, text: 'no' },
  { type: 'tool_call', choice: 0, call: 0, id: 'c1', name: 'f', signature: 'google' },
  { type: 'tool_call', choice: 0, call: 1, id: 'c2', name: 'g', signature: null },
  { type: 'tool_arguments', choice: 0, call: 1, text: '{"a": 1}' },
  { type: 'finish', choice: 0, reason: 'tool_calls', stopSequence: null },
  { type: 'usage', usage: USAGE },
]

describe('a stream', () => {
  const stream = written(asked({ stream: true }), EVENTS)

  test('is a sequence of whole items', () => {
    const text = (name: string): string[] => [`${name}.delta`, `${name}.done`]
    expect(eventsOf(stream).map(({ type }) => String(type).replace('response.', ''))).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'reasoning_summary_part.added',
      'reasoning_summary_text.delta',
      ...text('reasoning_summary_text'),
      'reasoning_summary_part.done',
      'output_item.done',
      'output_item.added',
      'output_item.done',
      'output_item.added',
      'content_part.added',
      ...text('output_text'),
      'content_part.done',
      'content_part.added',
      ...text('refusal'),
      'content_part.done',
      'output_item.done',
      'output_item.added',
      'output_item.added',
      'function_call_arguments.delta',
      ...text('function_call_arguments'),
      'output_item.done',
      'function_call_arguments.done',
      'output_item.done',
      'completed',
    ])
    expect(stream).not.toContain('[DONE]')
  })

  test('survives being written and read, here and by a whole answer', () => {
    const back = joined(decodeIn(provider.stream(target()), [Buffer.from(stream)]))
    const told = back.map((event) => JSON.stringify(event)).toSorted()
    const meant: CanonicalEvent[] = [
      ...EVENTS.map((event) =>
        event.type === 'start'
          ? { ...event, id: 'resp_1' }
          : event.type === 'reasoning_proof' && event.id === null
            ? { ...event, id: 'rs_1_0' }
            : event.type === 'text'
              ? { ...event, logprobs: [TOKEN] }
              : event,
      ),
      { type: 'tool_arguments', choice: 0, call: 0, text: '{}' },
    ]
    expect(told).toEqual(
      joined(meant)
        .map((event) => JSON.stringify(event))
        .toSorted(),
    )
    const last = eventsOf(stream).at(-1)
    const answer = provider.decode(Buffer.from(JSON.stringify(last?.['response'])), target())
    expect(answer.usage).toEqual(USAGE)
    expect(answer.choices[0]?.finish).toBe('tool_calls')
    const again: { output: unknown } = JSON.parse(client.encode(answer, asked()).toString())
    expect(again.output).toEqual(Reflect.get(Object(last?.['response']), 'output'))
  })
  const TOKEN = {
    token: 'said',
    logprob: -1,
    bytes: [115, 97, 105, 100],
    top: [{ token: 'x', logprob: -2, bytes: [120] }],
  }

  test.each([
    ['length', 'response.incomplete', 'max_output_tokens'],
    ['content_filter', 'response.incomplete', 'content_filter'],
    ['stop', 'response.completed', undefined],
  ] as const)('that ended for %s is %s', (reason, type, detail) => {
    const finish: CanonicalEvent = { type: 'finish', choice: 0, reason, stopSequence: null }
    const last = eventsOf(written(asked({ stream: true }), [finish])).at(-1)
    expect(last?.['type']).toBe(type)
    const details = Reflect.get(Object(last?.['response']), 'incomplete_details')
    expect(Reflect.get(Object(details), 'reason')).toBe(detail)
  })

  test('ends in an error and nothing after it', () => {
    const encoder = client.stream(asked({ stream: true }))
    const failure = {
      class: 'rate_limit',
      status: 429,
      retryAfterSeconds: null,
      message: null,
    } as const
    const frames = encoder.fail('upstream_rate_limited', failure).toString()
    expect(eventsOf(frames)).toMatchObject([
      { type: 'error', code: 'upstream_rate_limited', error: { code: 'upstream_rate_limited' } },
      {
        type: 'response.failed',
        response: { status: 'failed', error: { code: 'rate_limit_exceeded' } },
      },
    ])
    expect(encoder.push({ type: 'text', choice: 0, text: 'x', logprobs: null })).toHaveLength(0)
    expect(encoder.end()).toHaveLength(0)
  })

  test('is padded to frames of one size', () => {
    const padding = new OpenAiResponses((length) => 'x'.repeat(length))
    const events = ['a', ' word', '"quoted"\n', ''].map(
      (text) => ({ type: 'text', choice: 0, text, logprobs: null }) as const,
    )
    const frames = written(asked({ stream: true }), events, padding).split('\n\n')
    const deltas = frames.filter((one) => one.includes('output_text.delta'))
    expect(new Set(deltas.map((one) => Buffer.byteLength(one))).size).toBe(1)
    expect(deltas).toHaveLength(4)
  })

  test.skipIf(!hasVectors)('is of the strict form', () => {
    expect(wrongs(stream)).toEqual([])
    const encoder = client.stream(asked({ stream: true }))
    expect(wrongs(encoder.fail('upstream_broken', null).toString())).toEqual([])
    const tools = [{ type: 'function', name: 'f', parameters: null, strict: null }]
    const format = { type: 'json_schema', name: 's', schema: { type: 'object' } }
    const rich = asked({
      stream: true,
      tools,
      tool_choice: { type: 'function', name: 'f' },
      text: { format },
    })
    expect(wrongs(written(rich, EVENTS))).toEqual([])
  })
})

describe('a request', () => {
  test('is read item by item', () => {
    const { messages, ...rest } = asked({
      instructions: 'be good',
      input: [
        { role: 'developer', content: 'd' },
        {
          type: 'message',
          role: 'user',
          content: [
            { type: 'input_text', text: 't' },
            { type: 'input_image', image_url: 'data:image/png;base64,AAAA', detail: 'original' },
            { type: 'input_file', file_data: 'data:application/pdf;base64,BBBB', filename: 'f' },
            { type: 'input_file', file_url: 'https://x/y' },
          ],
        },
        {
          type: 'reasoning',
          id: 'rs_1',
          summary: [
            { type: 'summary_text', text: 'a' },
            { type: 'summary_text', text: 'b' },
          ],
          encrypted_content: 'blob',
        },
        { type: 'reasoning', id: 'rs_2', summary: [], encrypted_content: 'signature:sig' },
        { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 's' }] },
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
        { type: 'function_call', call_id: 'd', name: 'g', arguments: '' },
        { type: 'function_call_output', call_id: 'c', output: 'one' },
        {
          type: 'function_call_output',
          call_id: 'd',
          output: [{ type: 'input_text', text: 'two' }],
        },
      ],
      tools: [{ type: 'function', name: 'f', parameters: { type: 'object' }, strict: true }],
      tool_choice: 'required',
      max_output_tokens: 9,
      text: { format: { type: 'json_object' }, verbosity: 'low' },
      reasoning: { effort: 'high', summary: 'auto' },
      include: ['message.output_text.logprobs'],
      metadata: { a: 'b' },
      store: false,
    })
    const result = (callId: string, text: string): unknown => ({
      callId,
      parts: [{ type: 'text', text }],
      isError: false,
    })
    expect(messages).toEqual([
      { role: 'system', parts: [{ type: 'text', text: 'be good' }] },
      { role: 'developer', parts: [{ type: 'text', text: 'd' }] },
      {
        role: 'user',
        name: null,
        parts: [
          { type: 'text', text: 't' },
          {
            type: 'image',
            source: { kind: 'base64', mediaType: 'image/png', data: 'AAAA' },
            detail: 'high',
          },
          {
            type: 'file',
            source: { kind: 'base64', mediaType: 'application/pdf', data: 'BBBB' },
            name: 'f',
          },
          { type: 'file', source: { kind: 'url', url: 'https://x/y' }, name: null },
        ],
      },
      {
        role: 'assistant',
        parts: [
          { type: 'reasoning', text: 'a\n\nb', signature: null, encrypted: 'blob', id: 'rs_1' },
          { type: 'reasoning', text: '', signature: 'sig', encrypted: null, id: 'rs_2' },
          { type: 'text', text: 's' },
          { type: 'tool_call', id: 'c', name: 'f', arguments: '{}', signature: null },
          { type: 'tool_call', id: 'd', name: 'g', arguments: '{}', signature: null },
        ],
      },
      { role: 'tool', results: [result('c', 'one'), result('d', 'two')] },
    ])
    expect(rest).toMatchObject({
      dialect: 'openai-responses',
      toolChoice: { type: 'required' },
      sampling: { maxTokens: 9 },
      format: { type: 'json' },
      reasoning: { effort: 'high', budgetTokens: null },
      logprobs: 0,
      streamUsage: true,
      extra: { metadata: { a: 'b' }, text: { verbosity: 'low' }, reasoning: { summary: 'auto' } },
    })
  })

  test.each([
    ['not_stateless', { store: true }],
    ['not_stateless', { background: true }],
    ['not_stateless', { previous_response_id: 'resp_1' }],
    ['not_stateless', { conversation: { id: 'c' } }],
    ['not_stateless', { prompt: { id: 'p' } }],
    ['not_stateless', { input: [{ type: 'item_reference', id: 'i' }] }],
    ['request_not_supported', { tools: [{ type: 'web_search' }] }],
    ['request_not_supported', { tool_choice: { type: 'mcp' } }],
    ['request_not_supported', { input: [{ type: 'computer_call' }] }],
    [
      'request_not_supported',
      { input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] },
    ],
    ['request_not_supported', { text: { format: { type: 'grammar' } } }],
    [
      'request_not_supported',
      { input: [{ role: 'user', content: [{ type: 'input_audio', text: 't' }] }] },
    ],
    ['invalid_request', { input: 7 }],
    ['invalid_request', { input: [{ role: 'king', content: 'x' }] }],
    ['invalid_request', { input: [{ type: 'function_call', call_id: 'c' }] }],
    ['invalid_request', { store: 'no' }],
    ['invalid_request', { max_output_tokens: -1 }],
    ['invalid_request', { reasoning: { effort: 'huge' } }],
    ['invalid_request', { model: 7 }],
  ] as const)('%s: %j', (code, more) => {
    expect(() => asked(more)).toThrow(new GatewayError(code))
  })

  test('to the provider always says that nothing is to be stored', () => {
    expect(sent(asked())).toEqual({
      model: 'm',
      input: [{ role: 'user', content: 'hi' }],
      stream: false,
      store: false,
    })
    expect(sent(asked({ reasoning: { effort: 'low' } }))['include']).toEqual([
      'reasoning.encrypted_content',
    ])
    expect(sent(asked(), 'gpt-5')['include']).toEqual(['reasoning.encrypted_content'])
  })

  test('of chat completions becomes one of responses', () => {
    const request = new OpenAiChat(null).decode({
      model: 'm',
      messages: [
        { role: 'user', content: 'hi' },
        {
          role: 'assistant',
          content: 'said',
          reasoning_details: [
            { type: 'reasoning.encrypted', data: 'blob', id: 'rs_1', index: 0 },
            { type: 'reasoning.text', text: 'foreign', signature: 's', index: 1 },
          ],
          tool_calls: [{ id: 'c', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'c', content: 'r' },
      ],
      user: 'u',
      verbosity: 'low',
      logit_bias: {},
    })
    expect(sent(request)).toEqual({
      model: 'm',
      input: [
        { role: 'user', content: 'hi' },
        { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'blob' },
        { role: 'assistant', content: 'said' },
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: 'r' },
      ],
      stream: false,
      store: false,
      user: 'u',
      text: { verbosity: 'low' },
    })
    const chat = new OpenAiChat(null)
    const many = chat.decode({ model: 'm', messages: [], stop: 'x' })
    expect(() => sent(many)).toThrow(new GatewayError('request_not_supported'))
  })

  test('of responses becomes one of chat completions', () => {
    const { body } = new OpenAiChatProvider('openai').encode(
      asked({
        instructions: 'i',
        max_output_tokens: 5,
        user: 'u',
        include: ['x'],
        text: { verbosity: 'low' },
      }),
      target('m'),
    )
    expect(JSON.parse(body.toString())).toEqual({
      model: 'm',
      messages: [
        { role: 'system', content: 'i' },
        { role: 'user', content: 'hi' },
      ],
      max_completion_tokens: 5,
      stream: false,
      store: false,
      user: 'u',
    })
  })
})

describe('an answer', () => {
  const decode = (value: unknown): CanonicalAnswer =>
    provider.decode(Buffer.from(JSON.stringify(value)), target())

  test('that failed or is not finished is none', () => {
    expect(() =>
      decode({ status: 'failed', error: { code: 'server_error', message: 'm' } }),
    ).toThrow(ProviderError)
    expect(() => decode({ status: 'in_progress', output: [] })).toThrow('cannot be read')
    expect(() => decode({ status: 'completed' })).toThrow('cannot be read')
    const choices = [
      { index: 0, parts: [], finish: 'error', stopSequence: null, logprobs: null },
    ] as const
    const answer = { id: 'a', model: 'm', created: 0, choices, usage: null }
    expect(() => client.encode(answer, asked())).toThrow(new GatewayError('upstream_error'))
  })

  test('with an error, or a call that has no name', () => {
    const error = { code: 'server_error', message: 'm' }
    expect(() => decode({ status: 'completed', error, output: [] })).toThrow(ProviderError)
    expect(() => decode({ status: 'failed', error: null, output: [] })).toThrow(ProviderError)
    expect(() => decode({ output: [{ type: 'function_call', call_id: 'c' }] })).toThrow(malformed)
  })
  const malformed = new GatewayError('upstream_malformed')
  const broken = new GatewayError('upstream_broken')

  const read =
    (...events: JsonValue[]) =>
    (): unknown =>
      decodeIn(
        provider.stream(target()),
        events.map((event) => Buffer.from(`data: ${JSON.stringify(event)}\n\n`)),
      )
  const COMPLETED = { type: 'response.completed', response: { id: 'r', output: [] } }
  const call = (at: number, name: string): JsonValue => ({
    type: 'response.output_item.added',
    output_index: at,
    item: { type: 'function_call', call_id: `c${at}`, name },
  })

  test('as a stream ends with its last event, and cut off it is none', () => {
    expect(read(COMPLETED)).not.toThrow()
    expect(read()).toThrow(broken)
    expect(read({ type: 'response.created', response: { id: 'r' } })).toThrow(broken)
    const cut = Buffer.from(`data: ${JSON.stringify(COMPLETED).slice(0, -1)}`)
    expect(() => decodeIn(provider.stream(target()), [cut])).toThrow(broken)
    expect(read('text', COMPLETED)).toThrow(malformed)
  })

  test('as a stream with calls that cannot be, or too much', () => {
    expect(read(call(0, ''), COMPLETED)).toThrow(malformed)
    expect(read(call(0, 'f'), call(0, 'g'), COMPLETED)).toThrow(malformed)
    const many = Array.from({ length: 1025 }, (_, at) => call(at, 'f'))
    expect(read(...many, COMPLETED)).toThrow(malformed)
    const argument = { type: 'response.function_call_arguments.delta', output_index: 0, delta: '{' }
    expect(read(argument, COMPLETED)).toThrow(malformed)
    const blocks = Array.from({ length: 10_001 }, (_, at) => ({
      type: 'response.reasoning_text.delta',
      output_index: at,
      delta: 't',
    }))
    expect(read(...blocks, COMPLETED)).toThrow(malformed)
  })

  test('to audio is not to be had here', () => {
    const audio = { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }
    const messages = [{ role: 'user', content: [audio] }]
    const request = new OpenAiChat(null).decode({ model: 'm', messages })
    expect(() => sent(request)).toThrow(new GatewayError('request_not_supported'))
  })

  const only = (run: () => unknown): void => {
    try {
      run()
    } catch (error) {
      if (!(error instanceof GatewayError) && !(error instanceof ProviderError)) throw error
    }
  }
  const names = fc.constantFrom(
    'type',
    'response',
    'output',
    'item',
    'output_index',
    'delta',
    'id',
    'name',
    'arguments',
    'content',
    'summary',
    'text',
    'status',
    'error',
    'usage',
    '__proto__',
    'constructor',
    'input',
    'model',
    'tools',
    'role',
    'logprobs',
  )
  const words = fc.constantFrom<JsonValue>(
    'response.created',
    'response.completed',
    'response.output_item.added',
    'response.output_item.done',
    'response.output_text.delta',
    'response.reasoning_text.delta',
    'response.function_call_arguments.delta',
    'error',
    'function_call',
    'message',
    'reasoning',
    'user',
    'assistant',
    '',
    0,
    7,
    1e300,
    null,
    true,
  )
  const { tree } = fc.letrec<{ tree: JsonValue }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 6 },
      words,
      fc.dictionary(names, tie('tree'), { maxKeys: 6 }),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
  }))

  test('of any shape gives only coded errors', () => {
    fc.assert(
      fc.property(tree, fc.array(tree, { maxLength: 5 }), words, (value, list, type) => {
        only(() => decode(value))
        only(() => decode({ status: 'completed', output: list }))
        const frames = list
          .map((one) => `data: ${JSON.stringify({ ...Object(one), type })}\n\n`)
          .join('')
        only(() => decodeIn(provider.stream(target()), [Buffer.from(frames)]))
        only(() => sent(client.decode(value)))
        only(() => sent(asked({ input: list })))
      }),
      { numRuns: 2000 },
    )
  })
})
