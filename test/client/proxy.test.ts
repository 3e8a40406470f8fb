import { connect } from 'node:net'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import OpenAI from 'openai'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PROXY_HEALTH_PATH, startProxy, type VerifyingProxy } from '../../client/index.ts'
import {
  startModelServer,
  startRelay,
  type ModelServer,
  type Relay,
} from '../support/model-server.ts'
import { MRTD, newWorld } from './world.ts'

const CANARY = 'canary-prompt-90fe'
const listen = { host: '127.0.0.1', port: 0 }
let world = newWorld()
let server: ModelServer
let relay: Relay
let proxy: VerifyingProxy

const start = (gatewayUrl = relay.origin) => startProxy({ ...world.options, gatewayUrl, listen })

beforeEach(async () => {
  world = newWorld()
  server = await startModelServer({ ...world, fields: { mrtd: MRTD } })
  relay = await startRelay({ target: server.origin, mode: 'passthrough' })
  proxy = await start()
})
afterEach(async () => {
  await proxy.close()
  await relay.close()
  await server.close()
})

const prompts = () => server.requests.filter(({ method }) => method === 'POST')
const chat = (stream = false) =>
  JSON.stringify({ model: 'test-model', stream, messages: [{ role: 'user', content: CANARY }] })
const post = (body: string, headers: Record<string, string> = {}) =>
  fetch(`${proxy.url}/v1/chat/completions`, { method: 'POST', headers, body })

test('the OpenAI SDK, changed in its base URL alone, completes and streams', async () => {
  const openai = new OpenAI({ baseURL: `${proxy.url}/v1`, apiKey: 'k-1' })
  const messages = [{ role: 'user' as const, content: CANARY }]
  const whole = await openai.chat.completions.create({ model: 'test-model', messages })
  expect(whole.choices[0]?.message.content).toBe(`You said: ${CANARY}`)
  const parts = await openai.chat.completions.create({
    model: 'test-model',
    messages,
    stream: true,
  })
  let text = ''
  for await (const part of parts) text += part.choices[0]?.delta.content ?? ''
  expect(text).toBe(`You said: ${CANARY}`)
  expect(prompts()[0]?.headers.authorization).toBe('Bearer k-1')
})

test('bodies and headers pass unchanged, but for those of the hop', async () => {
  const odd = '{ "messages" : [],"model":"test-model" , "ü":1}'
  server.chat.answer = {
    status: 418,
    headers: { 'x-kept': 'ä', 'x-receipt-id': 'r-1', 'content-type': 'application/json' },
    body: '{"odd" :  true}',
  }
  const response = await post(odd, { 'x-mine': 'yes', 'content-type': 'application/json' })
  expect(response.status).toBe(418)
  expect(await response.text()).toBe('{"odd" :  true}')
  expect(response.headers.get('x-receipt-id')).toBe('r-1')
  const [seen] = prompts()
  expect(Buffer.from(seen?.body ?? []).toString()).toBe(odd)
  expect(seen?.headers).toMatchObject({
    'x-mine': 'yes',
    host: relay.origin.slice('https://'.length),
    'content-length': String(Buffer.byteLength(odd)),
  })
})

test('a streamed body without a length is forwarded as a stream', async () => {
  const sending = httpRequest(`${proxy.url}/v1/chat/completions`, { method: 'POST' })
  sending.write(chat().slice(0, 10))
  sending.end(chat().slice(10))
  const [response] = await once(sending, 'response')
  expect(response.statusCode).toBe(200)
  response.resume()
  expect(Buffer.from(prompts()[0]?.body ?? []).toString()).toBe(chat())
})

test('events arrive while the upstream is still writing', async () => {
  server.chat.chunkDelayMs = 30
  const response = await post(chat(true))
  const reader = response.body?.getReader()
  const first = await reader?.read()
  expect(Buffer.from(first?.value ?? []).toString()).toMatch(/^data: /)
  expect(Buffer.from(first?.value ?? []).toString()).not.toContain('[DONE]')
  await reader?.cancel()
})

test('a slow reader slows the gateway down instead of filling memory', async () => {
  const size = 64 << 20
  server.chat.answer = { status: 200, body: 'x'.repeat(size) }
  const reading = httpRequest(`${proxy.url}/v1/chat/completions`, { method: 'POST' })
  reading.end(chat())
  const [response] = await once(reading, 'response')
  response.pause()
  const before = process.memoryUsage().external
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(process.memoryUsage().external - before).toBeLessThan(size / 2)
  let length = 0
  response.on('data', (chunk: Buffer) => {
    length += chunk.length
  })
  response.resume()
  await once(response, 'end')
  expect(length).toBe(size)
})

test('a client that goes away ends the request at the gateway', async () => {
  server.chat.hang = true
  const controller = new AbortController()
  const response = fetch(`${proxy.url}/v1/chat/completions`, {
    method: 'POST',
    body: chat(),
    signal: controller.signal,
  })
  await expect.poll(() => prompts().length).toBe(1)
  controller.abort()
  await expect(response).rejects.toThrow('aborted')
  await expect.poll(() => server.aborted()).toBe(1)
})

test('a stream that breaks ends with an error, never cleanly', async () => {
  server.chat.cutAfterChunks = 2
  const response = await post(chat(true))
  await expect(response.text()).rejects.toThrow('terminated')
})

test('a gateway that cannot be verified is not proxied at all', async () => {
  relay.interceptNow()
  await expect(start()).rejects.toMatchObject({ code: 'channel_not_attested' })
})

test('when verification fails later, the answer is an OpenAI error and nothing is sent', async () => {
  relay.interceptNow()
  const response = await post(chat(), { authorization: `Bearer ${CANARY}` })
  expect(response.status).toBe(503)
  expect(await response.json()).toEqual({
    error: {
      message: 'the gateway could not be verified; nothing was sent to it',
      type: 'gateway_verification_failed',
      param: null,
      code: 'gateway_verification_failed',
    },
  })
  expect(Buffer.from(relay.plaintext()).toString()).not.toContain(CANARY)
  expect(prompts()).toEqual([])
})

test('a gateway that is gone is unreachable, not unverified', async () => {
  await relay.close()
  const response = await post(chat())
  expect(response.status).toBe(502)
  expect(await response.json()).toMatchObject({ error: { code: 'gateway_unreachable' } })
})

test('a gateway with a new key is verified again on the way', async () => {
  server.rotate()
  expect((await post(chat())).status).toBe(200)
  expect(prompts()).toHaveLength(1)
})

test('the proxy tells its own health', async () => {
  const response = await fetch(proxy.url + PROXY_HEALTH_PATH)
  expect(await response.json()).toEqual({
    gateway: relay.origin,
    keyset_digest: await server.keysetDigest(),
    verified_at: world.clock.now(),
    expires_at: world.clock.now() + 86_400,
    workload: 'pinned',
  })
  expect(server.requests.every(({ path }) => !path.includes('health'))).toBe(true)
})

test('a request for another host is not routed', async () => {
  const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1')
  socket.write('GET http://127.0.0.1:1/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  const [data] = await once(socket, 'data')
  expect(String(data)).toContain('400 Bad Request')
  expect(String(data)).toContain('bad_request')
})

test('it listens on loopback alone unless told otherwise', async () => {
  const open = { ...world.options, gatewayUrl: relay.origin, listen: { host: '0.0.0.0', port: 0 } }
  await expect(startProxy(open)).rejects.toMatchObject({ code: 'listen_not_loopback' })
  const allowed = await startProxy({ ...open, remoteClients: 'allow' })
  await allowed.close()
})

test('a port that is taken is a coded error', async () => {
  const { port } = new URL(proxy.url)
  const taken = { ...world.options, gatewayUrl: relay.origin }
  await expect(
    startProxy({ ...taken, listen: { host: '127.0.0.1', port: Number(port) } }),
  ).rejects.toMatchObject({ code: 'listen_failed' })
})
