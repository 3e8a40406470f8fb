import OpenAI, { APIError } from 'openai'
import { describe, expect, test } from 'vitest'
import type { CanonicalAnswer, CanonicalEvent } from '../../src/dialects/canonical.ts'
import type { ClientDialect } from '../../src/dialects/dialect.ts'
import { OpenAiChat } from '../../src/dialects/openai-chat/client.ts'
import { OpenAiResponses } from '../../src/dialects/openai-responses/client.ts'

const USAGE = { uncachedInput: 3, cacheRead: 4, cacheWrite: 0, output: 6, reasoning: 7 }
const EVENTS: CanonicalEvent[] = [
  { type: 'start', id: 'x', model: 'm', created: 1_700_000_000, usage: null },
  { type: 'reasoning', choice: 0, block: 0, text: 'thought' },
  { type: 'text', choice: 0, text: 'sa', logprobs: null },
  { type: 'text', choice: 0, text: 'id', logprobs: null },
  { type: 'tool_call', choice: 0, call: 0, id: 'c1', name: 'f', signature: null },
  { type: 'tool_call', choice: 0, call: 1, id: 'c2', name: 'g', signature: null },
  { type: 'tool_arguments', choice: 0, call: 1, text: '{"a":1}' },
  { type: 'finish', choice: 0, reason: 'tool_calls', stopSequence: null },
  { type: 'usage', usage: USAGE },
]
const ANSWER: CanonicalAnswer = {
  id: 'x',
  model: 'm',
  created: 1_700_000_000,
  usage: USAGE,
  choices: [
    {
      index: 0,
      parts: [
        { type: 'text', text: 'said' },
        { type: 'tool_call', id: 'c1', name: 'f', arguments: '', signature: null },
      ],
      finish: 'tool_calls',
      stopSequence: null,
      logprobs: null,
    },
  ],
}

/** The official client, with our encoder in the place of a server. */
const sdk = (dialect: ClientDialect, cut?: 'fail' | 'error'): OpenAI =>
  new OpenAI({
    apiKey: 'k',
    maxRetries: 0,
    fetch: async (_, init) => {
      const request = dialect.decode(JSON.parse(String(init?.body)))
      if (cut === 'error') {
        return new Response(dialect.error('model_not_found', null, 'r').toString(), {
          status: 404,
          headers: { 'content-type': 'application/json' },
        })
      }
      const encoder = dialect.stream(request)
      const frames = EVENTS.slice(0, cut === 'fail' ? 4 : undefined).map((event) =>
        encoder.push(event),
      )
      const last = cut === 'fail' ? encoder.fail('upstream_broken', null) : encoder.end()
      const body = request.stream
        ? Buffer.concat([...frames, last])
        : dialect.encode(ANSWER, request)
      const type = request.stream ? 'text/event-stream' : 'application/json'
      return new Response(new Uint8Array(body), { headers: { 'content-type': type } })
    },
  })

const pad = (length: number): string => 'x'.repeat(length)
const chatRequest = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }
const request = { model: 'm', input: 'hi' }

describe('the official client of chat completions', () => {
  test('reads a whole answer', async () => {
    const answer = await sdk(new OpenAiChat(pad)).chat.completions.create(chatRequest)
    expect(answer.choices[0]?.message).toMatchObject({
      content: 'said',
      tool_calls: [{ id: 'c1', function: { name: 'f', arguments: '{}' } }],
    })
    expect(answer.usage?.total_tokens).toBe(20)
  })

  test('reads a stream', async () => {
    const stream = sdk(new OpenAiChat(pad)).chat.completions.stream({
      ...chatRequest,
      stream_options: { include_usage: true },
    })
    const answer = await stream.finalChatCompletion()
    expect(answer.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: 'said',
        tool_calls: [
          { id: 'c1', function: { name: 'f', arguments: '{}' } },
          { id: 'c2', function: { name: 'g', arguments: '{"a":1}' } },
        ],
      },
    })
    expect(answer.usage?.total_tokens).toBe(20)
  })

  test('raises where a stream fails', async () => {
    const stream = sdk(new OpenAiChat(pad), 'fail').chat.completions.stream(chatRequest)
    await expect(stream.finalChatCompletion()).rejects.toMatchObject({ code: 'upstream_broken' })
  })

  test('reads an error', async () => {
    const answer = sdk(new OpenAiChat(pad), 'error').chat.completions.create(chatRequest)
    await expect(answer).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
  })
})

describe('the official client of responses', () => {
  test('reads a whole answer', async () => {
    const answer = await sdk(new OpenAiResponses(pad)).responses.create(request)
    expect(answer.output_text).toBe('said')
    expect(answer.output).toMatchObject([
      { type: 'message' },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
    ])
    expect(answer.usage?.total_tokens).toBe(20)
  })

  test('reads a stream', async () => {
    const answer = await sdk(new OpenAiResponses(pad)).responses.stream(request).finalResponse()
    expect(answer.output_text).toBe('said')
    expect(answer.status).toBe('completed')
    expect(answer.output).toMatchObject([
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'thought' }] },
      { type: 'message', status: 'completed' },
      { type: 'function_call', call_id: 'c1', arguments: '{}' },
      { type: 'function_call', call_id: 'c2', arguments: '{"a":1}' },
    ])
  })

  test('raises where a stream fails', async () => {
    const stream = await sdk(new OpenAiResponses(pad), 'fail').responses.create({
      ...request,
      stream: true,
    })
    const read = async (): Promise<void> => {
      for await (const event of stream) expect(event.type).not.toBe('response.completed')
    }
    await expect(read()).rejects.toThrow(APIError)
  })
})
