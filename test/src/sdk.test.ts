import OpenAI from 'openai'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { machineClock } from '../support/clock.ts'
import { CANARY, KEY, startWorld, type World } from './harness.ts'

describe('the official openai SDK, unchanged but for base URL, key and certificate', () => {
  let world: World
  let agent: Agent
  let client: OpenAI
  beforeAll(async () => {
    world = await startWorld({
      clock: machineClock(),
    })
    agent = new Agent({ connect: { ca: world.gateway.certificate() }, allowH2: false })
    client = new OpenAI({
      baseURL: `${world.gateway.url}/v1`,
      apiKey: KEY,
      maxRetries: 0,
      fetchOptions: { dispatcher: agent },
      fetch: Object.assign(undiciFetch),
    })
  })
  afterAll(async () => {
    await agent.destroy()
    await world.close()
  })

  const messages = [{ role: 'user' as const, content: CANARY }]

  test('completes', async () => {
    const completion = await client.chat.completions.create({ model: 'secure', messages })
    expect(completion.choices[0]?.message.content).toContain(CANARY)
  })

  test('streams', async () => {
    const stream = await client.chat.completions.create({
      model: 'secure',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    let tokens = 0
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      tokens = chunk.usage?.total_tokens ?? tokens
    }
    expect(text).toContain(CANARY)
    expect(tokens).toBeGreaterThan(0)
  })

  test('raises an error in a stream that breaks', async () => {
    world.model.chat.cutAfterChunks = 2
    const stream = await client.chat.completions.create({ model: 'secure', messages, stream: true })
    const read = async () => {
      for await (const chunk of stream) expect(chunk.object).toBe('chat.completion.chunk')
    }
    await expect(read()).rejects.toMatchObject({ code: 'upstream_broken' })
    world.model.chat.cutAfterChunks = null
  })

  test('lists models and reads errors', async () => {
    const models = await client.models.list()
    expect(models.data.map(({ id }) => id)).toContain('secure')
    await expect(
      client.chat.completions.create({ model: 'nothing', messages }),
    ).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
    const stranger = client.withOptions({ apiKey: 'wrong-key' })
    await expect(stranger.models.list()).rejects.toMatchObject({
      status: 401,
      code: 'invalid_api_key',
    })
  })
})
