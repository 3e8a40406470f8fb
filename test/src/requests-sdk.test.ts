import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { machineClock } from '../support/clock.ts'
import { CANARY, KEY, startWorld, type World } from './harness.ts'

let world: World
let agent: Agent
let openai: OpenAI
let anthropic: Anthropic

beforeAll(async () => {
  world = await startWorld({
    clock: machineClock(),
    edit: (file) => {
      Object.assign(file.limits, { keep_alive_seconds: 1, total_seconds: 4 })
      const [secure] = file.models
      Object.assign(secure ?? {}, { aliases: ['gpt-4o'] })
    },
  })
  await world.gateway.tick()
  agent = new Agent({ connect: { ca: world.gateway.certificate() }, allowH2: false })
  const request: typeof fetch = Object.assign((input: RequestInfo | URL, init?: RequestInit) =>
    Reflect.apply(undiciFetch, undefined, [input, { ...init, dispatcher: agent }]),
  )
  const { url } = world.gateway
  openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, maxRetries: 0, fetch: request })
  anthropic = new Anthropic({ baseURL: url, apiKey: KEY, maxRetries: 0, fetch: request })
})
afterAll(async () => {
  await agent.destroy()
  await world.close()
})

const messages = [{ role: 'user' as const, content: CANARY }]

async function read(stream: AsyncIterable<OpenAI.ChatCompletionChunk>): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  return text
}

test('openai: an alias, preferences in the body, and the attempts in a header', async () => {
  world.model.chat.answer = { status: 503, body: '{}' }
  const body = { model: 'resilient', messages, provider: { order: ['tee', 'tee-backup'] } }
  const { data, response } = await openai.chat.completions.create(body).withResponse()
  expect(data.choices[0]?.message.content).toContain(CANARY)
  expect(response.headers.get('x-vouchgate-attempts')).toBe('tee:upstream_overloaded,tee-backup:ok')
  world.model.chat.answer = null
  const aliased = await openai.chat.completions.create({ model: 'gpt-4o', messages })
  expect(aliased.choices[0]?.message.content).toContain(CANARY)
})

test('openai: a wish that is not followed is an error that names what is known', async () => {
  const body = { model: 'resilient', messages, provider: { zdr: true } }
  await expect(openai.chat.completions.create(body)).rejects.toMatchObject({
    status: 400,
    code: 'invalid_preference',
    message: expect.stringContaining('allow_fallbacks'),
  })
})

test('openai: a padded stream that is kept open reads as any other', async () => {
  world.model.reset()
  world.model.chat.delayMs = 1300
  const stream = await openai.chat.completions.create({ model: 'secure', messages, stream: true })
  expect(await read(stream)).toContain(CANARY)
  expect(world.model.requests).toHaveLength(1)
  world.model.chat.delayMs = 0
})

test('openai: an error after the stream was opened is raised', async () => {
  world.model.chat.delayMs = 1300
  world.model.chat.answer = { status: 500, body: '{}' }
  const stream = await openai.chat.completions.create({ model: 'secure', messages, stream: true })
  await expect(read(stream)).rejects.toMatchObject({ code: 'upstream_error' })
  Object.assign(world.model.chat, { delayMs: 0, answer: null })
})

test('openai: an answer that takes too long as a whole is raised, and nobody else is asked', async () => {
  world.backup.reset()
  world.model.chat.chunkDelayMs = 1500
  const body = { model: 'resilient', messages, stream: true, provider: { order: ['tee'] } } as const
  const stream = await openai.chat.completions.create(body)
  await expect(read(stream)).rejects.toMatchObject({ code: 'upstream_timeout' })
  world.model.chat.chunkDelayMs = 0
  world.model.chat.hang = true
  const whole = openai.chat.completions.create({ ...body, stream: false })
  await expect(whole).rejects.toMatchObject({ status: 504, code: 'upstream_timeout' })
  expect(world.backup.requests).toEqual([])
  world.model.chat.hang = false
}, 20_000)

test('anthropic: a stream that is kept open, and its error', async () => {
  world.model.chat.delayMs = 1300
  const ask = { model: 'gpt-4o', max_tokens: 64, messages, metadata: { user_id: CANARY } }
  const message = await anthropic.messages.stream(ask).finalMessage()
  expect(JSON.stringify(message.content)).toContain(CANARY)
  world.model.chat.answer = { status: 500, body: '{}' }
  await expect(anthropic.messages.stream(ask).finalMessage()).rejects.toThrow(/api_error/)
  Object.assign(world.model.chat, { delayMs: 0, answer: null })
})

test('openai responses: an error after the stream was opened is raised', async () => {
  world.model.chat.delayMs = 1300
  world.model.chat.answer = { status: 500, body: '{}' }
  const stream = await openai.responses.create({ model: 'secure', input: 'x', stream: true })
  const all = async (): Promise<void> => {
    for await (const event of stream) expect(event.type).toBe('error')
  }
  await expect(all()).rejects.toMatchObject({ code: 'upstream_error' })
  Object.assign(world.model.chat, { delayMs: 0, answer: null })
})
