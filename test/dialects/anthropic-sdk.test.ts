import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import Anthropic, {
  AnthropicError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from '@anthropic-ai/sdk'
import type { JsonValue } from '@vouchgate/attestation'
import { afterEach, describe, expect, test } from 'vitest'
import { anthropicMessages } from '../../src/dialects/anthropic/client.ts'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import type {
  CanonicalAnswer,
  CanonicalEvent,
  CanonicalRequest,
} from '../../src/dialects/canonical.ts'
import { GatewayError, type ErrorCode } from '../../src/errors.ts'
import { hasTraffic, messages, streams, target } from './anthropic-recordings.ts'
import { decodeIn } from './decoding.ts'

/** What a server behind the dialect gives for a request. */
type Reply = (
  request: CanonicalRequest,
) =>
  | CanonicalAnswer
  | readonly CanonicalEvent[]
  | { readonly cut: readonly CanonicalEvent[] }
  | ErrorCode

let server: Server | null = null
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
  server = null
})

async function bodyOf(incoming: IncomingMessage): Promise<JsonValue> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString('utf8'))
}

function respond(outgoing: ServerResponse, request: CanonicalRequest, reply: Reply): void {
  const given = reply(request)
  if (typeof given === 'string') {
    outgoing.writeHead(new GatewayError(given).status, { 'content-type': 'application/json' })
    outgoing.end(anthropicMessages.error(given, null, 'req_1'))
  } else if ('choices' in given) {
    outgoing.writeHead(200, { 'content-type': 'application/json' })
    outgoing.end(anthropicMessages.encode(given, request))
  } else {
    const encoder = anthropicMessages.stream(request)
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' })
    const cut = 'cut' in given
    for (const event of cut ? given.cut : given) outgoing.write(encoder.push(event))
    outgoing.end(cut ? '' : encoder.end())
  }
}

/** The official client of a server that answers through the dialect. */
async function clientOf(reply: Reply): Promise<Anthropic> {
  const listening = createServer((incoming, outgoing) => {
    void bodyOf(incoming).then((body) => respond(outgoing, anthropicMessages.decode(body), reply))
  }).listen(0, '127.0.0.1')
  server = listening
  await once(listening, 'listening')
  const address = listening.address()
  const port = typeof address === 'object' ? address?.port : 0
  return new Anthropic({ apiKey: 'k', baseURL: `http://127.0.0.1:${port}`, maxRetries: 0 })
}

const usage = { uncachedInput: 11, cacheRead: 5, cacheWrite: 3, output: 7, reasoning: 2 }
const events: readonly CanonicalEvent[] = [
  { type: 'start', id: 'msg_1', model: 'claude-x', created: 1, usage: null },
  { type: 'reasoning', choice: 0, block: 0, text: 'hm' },
  { type: 'reasoning_proof', choice: 0, block: 0, signature: 'sig', encrypted: null, id: null },
  { type: 'reasoning_proof', choice: 0, block: 1, signature: null, encrypted: 'o', id: null },
  { type: 'text', choice: 0, text: 'It ', logprobs: null },
  { type: 'text', choice: 0, text: 'rains', logprobs: null },
  { type: 'tool_call', choice: 0, call: 0, id: 'a', name: 'f', signature: 'gsig' },
  { type: 'tool_arguments', choice: 0, call: 0, text: '{"city":' },
  { type: 'tool_arguments', choice: 0, call: 0, text: '"Oslo"}' },
  { type: 'tool_call', choice: 0, call: 1, id: 'b', name: 'g', signature: null },
  { type: 'tool_arguments', choice: 0, call: 1, text: '{}' },
  { type: 'finish', choice: 0, reason: 'tool_calls', stopSequence: null },
  { type: 'usage', usage },
]
const answer: CanonicalAnswer = {
  id: 'msg_1',
  model: 'claude-x',
  created: 1,
  choices: [
    {
      index: 0,
      finish: 'tool_calls',
      stopSequence: null,
      logprobs: null,
      parts: [
        { type: 'reasoning', text: 'hm', signature: 'sig', encrypted: null, id: null },
        { type: 'reasoning', text: '', signature: null, encrypted: 'o', id: null },
        { type: 'text', text: 'It rains' },
        {
          type: 'tool_call',
          id: 'a',
          name: 'f',
          arguments: '{"city":"Oslo"}',
          signature: 'gsig',
        },
        { type: 'tool_call', id: 'b', name: 'g', arguments: '{}', signature: null },
      ],
    },
  ],
  usage,
}
const expected = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude-x',
  content: [
    { type: 'thinking', thinking: 'hm', signature: 'sig' },
    { type: 'redacted_thinking', data: 'o' },
    { type: 'text', text: 'It rains' },
    {
      type: 'tool_use',
      id: 'a',
      name: 'f',
      input: { city: 'Oslo' },
      extra_content: { google: { thought_signature: 'gsig' } },
    },
    { type: 'tool_use', id: 'b', name: 'g', input: {} },
  ],
  stop_reason: 'tool_use',
  stop_sequence: null,
  usage: {
    input_tokens: 11,
    cache_read_input_tokens: 5,
    cache_creation_input_tokens: 3,
    output_tokens: 9,
  },
}
const asked: Anthropic.MessageCreateParamsNonStreaming = {
  model: 'm',
  max_tokens: 100,
  system: 'be brief',
  messages: [{ role: 'user', content: 'weather?' }],
  tools: [
    { name: 'f', input_schema: { type: 'object', properties: { city: { type: 'string' } } } },
  ],
  tool_choice: { type: 'auto', disable_parallel_tool_use: false },
}

describe('the official SDK', () => {
  test('reads an answer', async () => {
    const requests: CanonicalRequest[] = []
    const client = await clientOf((request) => {
      requests.push(request)
      return answer
    })
    expect(await client.messages.create(asked)).toMatchObject(expected)
    expect(requests).toMatchObject([
      {
        model: 'm',
        stream: false,
        messages: [{ role: 'system' }, { role: 'user' }],
        tools: [{ name: 'f' }],
        toolChoice: { type: 'auto' },
        parallelToolCalls: true,
      },
    ])
  })

  test('reads a stream as the same message', async () => {
    const client = await clientOf(() => events)
    const stream = client.messages.stream(asked)
    const texts: string[] = []
    stream.on('text', (text) => texts.push(text))
    expect(await stream.finalMessage()).toMatchObject(expected)
    expect(texts).toEqual(['It ', 'rains'])
  })

  test('reads the events of a stream in their order', async () => {
    const client = await clientOf(() => events)
    const types: string[] = []
    for await (const event of await client.messages.create({ ...asked, stream: true })) {
      types.push(event.type)
    }
    expect(types.at(0)).toBe('message_start')
    expect(types.slice(-2)).toEqual(['message_delta', 'message_stop'])
    expect(types.filter((type) => type === 'content_block_start')).toHaveLength(5)
    expect(types.filter((type) => type === 'content_block_stop')).toHaveLength(5)
  })

  test('sends back what it was given, and the next turn carries the proofs', async () => {
    const requests: CanonicalRequest[] = []
    const client = await clientOf((request) => {
      requests.push(request)
      return events
    })
    const first = await client.messages.stream(asked).finalMessage()
    await client.messages
      .stream({
        ...asked,
        messages: [
          ...asked.messages,
          { role: 'assistant', content: first.content },
          {
            role: 'user',
            content: [
              { type: 'tool_result', tool_use_id: 'a', content: 'rain' },
              { type: 'tool_result', tool_use_id: 'b', content: [{ type: 'text', text: 'x' }] },
            ],
          },
        ],
      })
      .finalMessage()
    expect(requests[1]?.messages).toMatchObject([
      { role: 'system' },
      { role: 'user' },
      { role: 'assistant', parts: answer.choices[0]?.parts },
      { role: 'tool', results: [{ callId: 'a' }, { callId: 'b' }] },
    ])
  })

  test.each<[ErrorCode, new (...parameters: never[]) => Error]>([
    ['invalid_request', BadRequestError],
    ['invalid_api_key', AuthenticationError],
    ['plaintext_not_allowed', PermissionDeniedError],
    ['model_not_found', NotFoundError],
    ['upstream_rate_limited', RateLimitError],
    ['upstream_error', InternalServerError],
  ])('raises %s as its own class', async (code, expectedClass) => {
    const client = await clientOf(() => code)
    const raised: unknown = await client.messages.create(asked).catch((error: unknown) => error)
    expect(raised).toBeInstanceOf(expectedClass)
    expect(raised).toMatchObject({
      status: new GatewayError(code).status,
      error: { type: 'error', error: { message: new GatewayError(code).message } },
    })
  })

  test('raises a failure in the midst of a stream, and a stream without its end', async () => {
    const failure: CanonicalEvent = {
      type: 'failure',
      failure: { class: 'overloaded', status: 529, retryAfterSeconds: null, message: null },
    }
    const failing = await clientOf(() => [...events.slice(0, 6), failure])
    await expect(failing.messages.stream(asked).finalMessage()).rejects.toMatchObject({
      error: { error: { type: 'overloaded_error' } },
    })
    const cut = await clientOf(() => ({ cut: events }))
    await expect(cut.messages.stream(asked).finalMessage()).rejects.toThrow(AnthropicError)
  })
})

describe.skipIf(!hasTraffic)(
  'the official SDK reads what was recorded, through the dialects',
  () => {
    const plain = (content: readonly object[]) => JSON.parse(JSON.stringify(content))

    test.each(messages)('$name', async ({ body }) => {
      const client = await clientOf(() => anthropic.decode(body, target))
      const message = await client.messages.create(asked)
      const raw: { content: { type: string }[]; stop_reason: string } = JSON.parse(
        body.toString('utf8'),
      )
      expect(message.stop_reason).toBe(raw.stop_reason)
      expect(message.content.filter(({ type }) => type === 'tool_use')).toHaveLength(
        raw.content.filter(({ type }) => type === 'tool_use').length,
      )
    })

    test.each(streams.filter(({ name }) => !/spliced/.test(name)))('$name', async ({ body }) => {
      const decoded = decodeIn(anthropic.stream(target), [body])
      const client = await clientOf(() => decoded)
      const whole = await client.messages.stream(asked).finalMessage()
      const calls = decoded.filter(({ type }) => type === 'tool_call')
      const texts = decoded.map((event) => (event.type === 'text' ? event.text : ''))
      const content: { type: string; text?: string }[] = plain(whole.content)
      expect(content.filter(({ type }) => type === 'tool_use')).toHaveLength(calls.length)
      const refusals = decoded.map((event) => (event.type === 'refusal' ? event.text : ''))
      expect(content.map(({ text = '' }) => text).join('')).toBe([...texts, ...refusals].join(''))
    })
  },
)
