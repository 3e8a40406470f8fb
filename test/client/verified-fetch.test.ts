import { connect, createServer } from 'node:net'
import { inspect } from 'node:util'
import OpenAI from 'openai'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { verifiedFetch, verifyGateway, type VerifiedFetch } from '../../client/index.ts'
import {
  startModelServer,
  startRelay,
  type ModelServer,
  type Relay,
} from '../support/model-server.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { MRTD, newWorld } from './world.ts'

const CANARY = 'canary-prompt-31c7'
const DAY = 86_400
const DEBUG_TD = { mrtd: MRTD, tdAttributes: '0100001000000000' }
let world = newWorld()
let server: ModelServer
let relay: Relay
let fetch: VerifiedFetch

beforeEach(async () => {
  world = newWorld()
  server = await startModelServer({ ...world, fields: { mrtd: MRTD } })
  relay = await startRelay({ target: server.origin, mode: 'passthrough' })
  fetch = verifiedFetch(await verifyGateway(relay.origin, world.options), world.options)
})
afterEach(async () => {
  await relay.close()
  await server.close()
})

const chat = JSON.stringify({ model: 'test-model', messages: [{ role: 'user', content: CANARY }] })
const post = (headers: Record<string, string> = {}) =>
  fetch(`${relay.origin}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: chat,
  })
const prompts = () => server.requests.filter(({ method }) => method === 'POST')

test('a request reaches the verified gateway with its exact body', async () => {
  const response = await post()
  expect(response).toBeInstanceOf(Response)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(await response.text()).toContain(`You said: ${CANARY}`)
  expect(prompts().map(({ body }) => Buffer.from(body).toString())).toEqual([chat])
})

test('the OpenAI SDK completes and streams through it', async () => {
  const openai = new OpenAI({ baseURL: `${relay.origin}/v1`, apiKey: 'k', fetch })
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
})

test('a platform Request works as well', async () => {
  const response = await fetch(new Request(`${relay.origin}/v1/models`))
  expect(await response.json()).toMatchObject({ object: 'list' })
})

test('another origin is refused before anything is sent', async () => {
  const other = await startModelServer({ ...world, fields: { mrtd: MRTD } })
  await expect(fetch(`${other.origin}/v1/models`)).rejects.toMatchObject({
    code: 'origin_not_verified',
  })
  await expect(fetch('http://127.0.0.1/v1/models')).rejects.toMatchObject({
    code: 'origin_not_verified',
  })
  expect(other.connections()).toBe(0)
  await other.close()
})

test('a redirect is handed to the caller, not followed', async () => {
  const headers = { location: 'https://127.0.0.1:1/stolen' }
  server.chat.answer = { status: 307, headers, body: '' }
  const response = await post()
  expect([response.status, response.headers.get('location')]).toEqual([307, headers.location])
})

test('a new key is verified before it is used, and the request is sent once', async () => {
  const before = fetch.gateway().endpoint.keysetDigest
  server.rotate()
  const response = await post()
  expect(response.status).toBe(200)
  expect(prompts()).toHaveLength(1)
  expect(fetch.gateway().endpoint.keysetDigest).not.toBe(before)
})

test('requests that meet a new key together share one verification', async () => {
  server.reset()
  server.rotate()
  const responses = await Promise.all([post(), post(), post()])
  expect(responses.map(({ status }) => status)).toEqual([200, 200, 200])
  const reports = server.requests.filter(({ path }) => path.startsWith('/v1/aci/attestation'))
  expect(reports).toHaveLength(1)
})

test('a gateway that comes back as a debug TD gets no prompt', async () => {
  server.evidence.quote = DEBUG_TD
  server.rotate()
  await expect(post()).rejects.toMatchObject({ name: 'PolicyError', code: 'debug_enabled' })
  expect(prompts()).toEqual([])
})

test('a relay that steps in after the verification reads no byte of a prompt', async () => {
  await (await post()).text()
  relay.interceptNow()
  await expect(post({ authorization: `Bearer ${CANARY}` })).rejects.toMatchObject({
    code: 'channel_not_attested',
  })
  expect(Buffer.from(relay.plaintext()).toString()).not.toContain(CANARY)
  expect(prompts()).toHaveLength(1)
})

/** Ends with a connection that the next request would use again. */
async function keepConnection(): Promise<void> {
  await expect
    .poll(async () => {
      const before = relay.connections()
      await (await post()).text()
      return relay.connections() - before
    })
    .toBe(0)
}

test('after expiry the gateway is verified again, once, and kept connections are not used', async () => {
  await keepConnection()
  const kept = relay.connections()
  world.clock.advance(DAY + 1)
  const identity = server.keyset()
  server.evidence.keyset = () => ({ ...identity, not_after: world.clock.now() + DAY })
  server.reset()
  await (await post()).text()
  await (await post()).text()
  const reports = server.requests.filter(({ path }) => path.startsWith('/v1/aci/attestation'))
  expect(reports).toHaveLength(1)
  expect(relay.connections()).toBeGreaterThan(kept + 1)
  expect(fetch.gateway().endpoint.expiresAt).toBe(world.clock.now() + DAY)
})

test('after expiry nothing is sent to a gateway that cannot be verified again', async () => {
  await keepConnection()
  world.clock.advance(DAY + 1)
  server.reset()
  await expect(post()).rejects.toMatchObject({ code: 'keyset_expired' })
  expect(prompts()).toEqual([])
})

test('evidence that expires while a connection is opened does not vouch for it', async () => {
  const start = world.clock.now()
  let looks = 0
  const clock = { now: () => (looks++ === 0 ? start : start + DAY + 1) }
  const late = verifiedFetch(fetch.gateway(), { ...world.options, clock })
  await expect(late(`${relay.origin}/v1/models`)).rejects.toMatchObject({ code: 'keyset_expired' })
  expect(server.requests.map(({ path }) => path)).not.toContain('/v1/models')
})

test('a key that changes with every connection sees no request', async () => {
  const other = await startModelServer({ ...world, fields: { mrtd: MRTD } })
  const ports = [server, other, server, other].map(({ origin }) => Number(new URL(origin).port))
  const balancer = createServer((socket) => {
    const target = connect(ports.shift() ?? 0, '127.0.0.1')
    for (const side of [socket, target]) side.on('error', () => side.destroy())
    socket.pipe(target).pipe(socket)
  })
  await listen(balancer)
  const origin = `https://127.0.0.1:${portOf(balancer)}`
  const verified = await verifyGateway(origin, world.options)
  const unsteady = verifiedFetch(verified, world.options)
  await expect(unsteady(`${origin}/v1/models`)).rejects.toMatchObject({
    code: 'channel_key_mismatch',
  })
  expect(ports).toEqual([])
  expect(other.applicationBytes()).toBe(0)
  await other.close()
  await stop(balancer)
})

test('the abort of the caller reaches the gateway', async () => {
  server.chat.hang = true
  const controller = new AbortController()
  const response = fetch(`${relay.origin}/v1/chat/completions`, {
    method: 'POST',
    body: chat,
    signal: controller.signal,
  })
  await expect.poll(() => prompts().length).toBe(1)
  controller.abort(new TypeError('enough'))
  await expect(response).rejects.toThrow('enough')
  await expect.poll(() => server.aborted()).toBe(1)
})

test('a broken request fails with a code that quotes nothing', async () => {
  server.chat.hang = true
  const response = post({ authorization: `Bearer ${CANARY}` })
  const failing = response.catch((error: unknown) => error)
  await expect.poll(() => prompts().length).toBe(1)
  await relay.close()
  const error = await failing
  expect(error).toMatchObject({ code: 'request_failed' })
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(CANARY)
})

test('what is not a verification is refused', async () => {
  const { evidence, endpoint } = fetch.gateway()
  const forged = Object.assign(Object.create(null), { origin: endpoint.origin })
  expect(() => verifiedFetch({ evidence, endpoint: forged }, world.options)).toThrow(TypeError)
})
