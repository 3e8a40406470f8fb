import Anthropic from '@anthropic-ai/sdk'
import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { embed, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai'
import OpenAI from 'openai'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startToolModel, type ToolModel } from '../support/tool-model.ts'
import { machineClock } from '../support/clock.ts'
import { KEY, startWorld, type World } from './harness.ts'

let model: ToolModel
let world: World
let agent: Agent
let request: typeof fetch
let baseURL: string

beforeAll(async () => {
  model = await startToolModel()
  world = await startWorld({
    clock: machineClock(),
    extra: {
      providers: [
        { id: 'tools', kind: 'openai', base_url: model.url, api_key: { env: 'UPSTREAM_KEY' } },
      ],
      models: [
        {
          name: 'tool-model',
          confidentiality: 'plain',
          padding: 'on',
          routes: [{ provider: 'tools', model: 'tool-model' }],
        },
      ],
    },
  })
  agent = new Agent({ connect: { ca: world.gateway.certificate() }, allowH2: false })
  request = Object.assign((input: RequestInfo | URL, init?: RequestInit) =>
    Reflect.apply(undiciFetch, undefined, [input, { ...init, dispatcher: agent }]),
  )
  baseURL = `${world.gateway.url}/v1`
})
afterAll(async () => {
  await agent.destroy()
  await world.close()
  await model.close()
})

const weather = {
  name: 'weather',
  description: 'the weather of a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
} as const
const question = [{ role: 'user' as const, content: 'the weather in Oslo and Rome?' }]
const cities = (values: readonly unknown[]) =>
  values.map((value) => JSON.stringify(value)).toSorted()
const EXPECTED = cities([{ city: 'Oslo' }, { city: 'Rome' }])

describe('openai', () => {
  const client = () => new OpenAI({ baseURL, apiKey: KEY, maxRetries: 0, fetch: request })

  test('chat: tools, in parallel, streamed', async () => {
    const stream = client().chat.completions.stream({
      model: 'tool-model',
      messages: question,
      tools: [{ type: 'function', function: weather }],
    })
    const calls = (await stream.finalChatCompletion()).choices[0]?.message.tool_calls ?? []
    expect(
      cities(calls.map((call) => JSON.parse('function' in call ? call.function.arguments : ''))),
    ).toEqual(EXPECTED)
  })

  test('responses: text, with usage', async () => {
    const response = await client().responses.create({ model: 'tool-model', input: 'hello' })
    expect(response.output_text).toBe('got 1 messages')
    expect(response.status).toBe('completed')
    expect(response.usage).toMatchObject({
      input_tokens: 20,
      output_tokens: 10,
      total_tokens: 30,
      input_tokens_details: { cached_tokens: 5 },
      output_tokens_details: { reasoning_tokens: 3 },
    })
  })

  test('responses: a stream of tool calls, and the turn after', async () => {
    const tools = [{ type: 'function' as const, strict: true, ...weather }]
    const stream = client().responses.stream({ model: 'tool-model', input: question, tools })
    const events: string[] = []
    for await (const event of stream) events.push(event.type)
    expect(events[0]).toBe('response.created')
    expect(events.at(-1)).toBe('response.completed')
    const { output } = await stream.finalResponse()
    const calls = output.filter((item) => item.type === 'function_call')
    expect(cities(calls.map((call) => JSON.parse(call.arguments)))).toEqual(EXPECTED)
    const next = await client().responses.create({
      model: 'tool-model',
      tools,
      input: [
        ...question,
        ...calls.map(({ call_id, name, arguments: args }) => ({
          type: 'function_call' as const,
          call_id,
          name,
          arguments: args,
        })),
        ...calls.map(({ call_id }) => ({
          type: 'function_call_output' as const,
          call_id,
          output: 'rain',
        })),
      ],
    })
    expect(next.output_text).toMatch(/^got \d+ messages$/)
    expect(model.seen.at(-1)?.body).toMatchObject({
      messages: expect.arrayContaining([
        expect.objectContaining({ role: 'tool', content: 'rain', tool_call_id: 'call_0' }),
      ]),
    })
  })

  test('responses keep nothing', async () => {
    await expect(
      client().responses.create({
        model: 'tool-model',
        input: 'hello',
        previous_response_id: 'resp_1',
      }),
    ).rejects.toMatchObject({ status: 400, code: 'not_stateless' })
  })

  test('structured output', async () => {
    const { choices } = await client().chat.completions.parse({
      model: 'tool-model',
      messages: question,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'a', schema: { type: 'object' }, strict: true },
      },
    })
    expect(JSON.parse(choices[0]?.message.content ?? '')).toEqual({ answer: 42 })
  })

  test('embeddings', async () => {
    const { data } = await client().embeddings.create({ model: 'tool-model', input: ['a', 'b'] })
    expect(data.map(({ embedding }) => [...embedding])).toEqual([
      [1, 2],
      [1, 2],
    ])
  })

  test('the words of the provider about a request reach the client that made it', async () => {
    model.next = {
      status: 400,
      body: {
        error: { message: 'bad tool', type: 'invalid_request_error', param: null, code: null },
      },
    }
    await expect(
      client().chat.completions.create({ model: 'tool-model', messages: question }),
    ).rejects.toThrow('bad tool')
  })

  test('retries', async () => {
    model.next = { status: 429, body: { error: { message: 'slow down' } } }
    const patient = new OpenAI({ baseURL, apiKey: KEY, maxRetries: 2, fetch: request })
    const answer = await patient.chat.completions.create({
      model: 'tool-model',
      messages: question,
    })
    expect(answer.choices[0]?.message.content).toBe('got 1 messages')
  })

  test('what is given up is given up at the provider', async () => {
    const before = model.aborted()
    const controller = new AbortController()
    const stream = await client().chat.completions.create(
      { model: 'tool-model', stream: true, messages: [{ role: 'user', content: 'for ever' }] },
      { signal: controller.signal },
    )
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content === 'on') controller.abort()
    }
    await expect.poll(() => model.aborted()).toBe(before + 1)
  })

  test('the key goes nowhere', () => {
    expect(JSON.stringify(model.seen)).not.toContain(KEY)
  })
})

describe('anthropic', () => {
  const client = () =>
    new Anthropic({ baseURL: world.gateway.url, apiKey: KEY, maxRetries: 0, fetch: request })
  const tools = [
    { name: weather.name, description: weather.description, input_schema: weather.parameters },
  ].map(({ input_schema, ...rest }) => ({
    ...rest,
    input_schema: { ...input_schema, required: [...input_schema.required] },
  }))

  test('a message', async () => {
    const message = await client().messages.create({
      model: 'tool-model',
      max_tokens: 100,
      system: 'be brief',
      messages: question,
    })
    expect(message.content).toEqual([
      expect.objectContaining({ type: 'text', text: 'got 2 messages' }),
    ])
    expect(message.stop_reason).toBe('end_turn')
    expect(message.usage).toMatchObject({
      input_tokens: 15,
      cache_read_input_tokens: 5,
      output_tokens: 10,
    })
  })

  test('a stream of tool calls, and the turn after', async () => {
    const stream = client().messages.stream({
      model: 'tool-model',
      max_tokens: 100,
      messages: question,
      tools,
    })
    const message = await stream.finalMessage()
    expect(message.stop_reason).toBe('tool_use')
    const calls = message.content.filter((block) => block.type === 'tool_use')
    expect(cities(calls.map(({ input }) => input))).toEqual(EXPECTED)
    const next = await client().messages.create({
      model: 'tool-model',
      max_tokens: 100,
      tools,
      messages: [
        ...question,
        { role: 'assistant', content: message.content },
        {
          role: 'user',
          content: calls.map(({ id }) => ({
            type: 'tool_result' as const,
            tool_use_id: id,
            content: 'rain',
          })),
        },
      ],
    })
    expect(next.content[0]).toMatchObject({ type: 'text' })
  })

  test.each([
    [{ model: 'no-such-model' }, 404, 'not_found_error'],
    [{ max_tokens: -1 }, 400, 'invalid_request_error'],
  ])('errors have the shape of the dialect: %j', async (change, status, type) => {
    const asked = client().messages.create({
      model: 'tool-model',
      max_tokens: 100,
      messages: question,
      ...change,
    })
    await expect(asked).rejects.toMatchObject({ status, error: { type: 'error', error: { type } } })
  })

  test('a key that is not known', async () => {
    const stranger = new Anthropic({
      baseURL: world.gateway.url,
      apiKey: 'x',
      maxRetries: 0,
      fetch: request,
    })
    await expect(
      stranger.messages.create({ model: 'tool-model', max_tokens: 1, messages: question }),
    ).rejects.toMatchObject({ status: 401, error: { error: { type: 'authentication_error' } } })
  })
})

const kit = () => ({
  'openai-compatible': createOpenAICompatible({
    name: 'vouchgate',
    baseURL,
    apiKey: KEY,
    fetch: request,
    includeUsage: true,
  })('tool-model'),
  anthropic: createAnthropic({ baseURL, apiKey: KEY, fetch: request })('tool-model'),
})

describe.each(['openai-compatible', 'anthropic'] as const)('ai with %s', (name) => {
  const tools = {
    weather: tool({
      description: weather.description,
      inputSchema: jsonSchema<{ city: string }>({
        ...weather.parameters,
        required: [...weather.parameters.required],
      }),
      execute: async ({ city }) => `rain in ${city}`,
    }),
  }

  test('a tool loop', async () => {
    const { text, steps } = await generateText({
      model: kit()[name],
      prompt: 'the weather?',
      tools,
      stopWhen: stepCountIs(3),
    })
    expect(steps).toHaveLength(2)
    expect(cities(steps[0]?.toolCalls.map(({ input }) => input) ?? [])).toEqual(EXPECTED)
    expect(text).toMatch(/^got \d+ messages$/)
  })

  test('a stream', async () => {
    const result = streamText({ model: kit()[name], prompt: 'hello' })
    let text = ''
    for await (const piece of result.textStream) text += piece
    expect(text).toBe('got 1 messages')
    expect(await result.finishReason).toBe('stop')
    expect((await result.usage).outputTokens).toBe(10)
  })

  test('structured output', async () => {
    const { output } = await generateText({
      model: kit()[name],
      prompt: 'the answer?',
      output: Output.object({
        schema: jsonSchema<{ answer: number }>({
          type: 'object',
          properties: { answer: { type: 'number' } },
          required: ['answer'],
          additionalProperties: false,
        }),
      }),
    })
    expect(output).toEqual({ answer: 42 })
  })
})

test('ai: embeddings', async () => {
  const provider = createOpenAICompatible({ name: 'v', baseURL, apiKey: KEY, fetch: request })
  const { embedding } = await embed({ model: provider.embeddingModel('tool-model'), value: 'a' })
  expect(embedding).toEqual([1, 2])
})

describe('langchain', () => {
  const chat = () =>
    new ChatOpenAI({
      model: 'tool-model',
      apiKey: KEY,
      maxRetries: 0,
      configuration: { baseURL, fetch: request },
    })

  test('tools', async () => {
    const bound = chat().bindTools([{ type: 'function', function: weather }])
    const { tool_calls: calls = [] } = await bound.invoke('the weather?')
    expect(cities(calls.map(({ args }) => args))).toEqual(EXPECTED)
  })

  test('a stream', async () => {
    let text = ''
    for await (const chunk of await chat().stream('hello')) text += chunk.text
    expect(text).toBe('got 1 messages')
  })

  test('embeddings', async () => {
    const embeddings = new OpenAIEmbeddings({
      model: 'tool-model',
      apiKey: KEY,
      configuration: { baseURL, fetch: request },
    })
    expect(await embeddings.embedQuery('a')).toEqual([1, 2])
  })

  test('an error', async () => {
    const stranger = new ChatOpenAI({
      model: 'no-such-model',
      apiKey: KEY,
      maxRetries: 0,
      configuration: { baseURL, fetch: request },
    })
    await expect(stranger.invoke('hello')).rejects.toThrow('404')
  })
})
