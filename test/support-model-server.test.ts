import { request as httpsRequest } from 'node:https'
import { connect as connectTls } from 'node:tls'
import { once } from 'node:events'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { fakeClock } from './support/clock.ts'
import {
  startModelServer,
  startPlainModelServer,
  startRelay,
  type ModelServer,
} from './support/model-server.ts'
import { createTeeVendor } from './support/tee-vendor.ts'

const vendor = createTeeVendor()
const CHAT = '/v1/chat/completions'
const CANARY = 'canary 4b9ed498'

async function start(): Promise<ModelServer> {
  const server = await startModelServer({ vendor, clock: fakeClock() })
  onTestFinished(() => server.close())
  return server
}

interface Answer {
  readonly status: number
  readonly body: string
  readonly complete: boolean
}

const body = (extra: object = {}): string =>
  JSON.stringify({
    model: 'test-model',
    messages: [{ role: 'user', content: CANARY }],
    ...extra,
  })

/** A client that trusts exactly one certificate. */
function call(origin: string, ca: string, path: string, payload?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const method = payload === undefined ? 'GET' : 'POST'
    const request = httpsRequest(origin + path, { method, ca, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('error', () => undefined)
      response.on('close', () =>
        resolve({ status: response.statusCode ?? 0, body: text, complete: response.complete }),
      )
    })
    request.on('error', reject).end(payload)
  })
}

const ask = (server: ModelServer, extra?: object): Promise<Answer> =>
  call(server.origin, server.certificatePem(), CHAT, body(extra))

describe('model server', () => {
  test('answers with an echo and its usage, and keeps what it saw', async () => {
    const server = await start()
    const { status, body: text } = await ask(server)
    expect(status).toBe(200)
    expect(JSON.parse(text)).toMatchObject({
      object: 'chat.completion',
      model: 'test-model',
      choices: [{ message: { content: `You said: ${CANARY}` }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 2, completion_tokens: 4, total_tokens: 6 },
    })
    expect(server.requests).toHaveLength(1)
    expect(Buffer.from(server.requests[0]?.body ?? []).toString()).toBe(body())
    expect(server.connections()).toBe(1)
    expect(server.applicationBytes()).toBeGreaterThan(body().length)
  })

  test('streams events up to [DONE], with usage where it was asked for', async () => {
    const server = await start()
    const { body: text } = await ask(server, {
      stream: true,
      stream_options: { include_usage: true },
    })
    const events = text
      .trim()
      .split('\n\n')
      .map((event) => event.replace(/^data: /, ''))
    expect(events.at(-1)).toBe('[DONE]')
    const chunks = events.slice(0, -1).map((event) => JSON.parse(event))
    const content = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
    expect(content).toBe(`You said: ${CANARY}`)
    expect(chunks.at(-2).choices[0].finish_reason).toBe('stop')
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 6 } })
  })

  test('lists its models and serves its report', async () => {
    const server = await start()
    const ca = server.certificatePem()
    const models = await call(server.origin, ca, '/v1/models')
    expect(JSON.parse(models.body)).toMatchObject({ data: [{ id: 'test-model' }] })
    const nonce = 'ab'.repeat(32)
    const report = await call(server.origin, ca, `/v1/aci/attestation?nonce=${nonce}`)
    expect(JSON.parse(report.body)).toMatchObject({
      api_version: 'aci/1',
      workload_keyset_digest: await server.keysetDigest(),
    })
    const bad = await call(server.origin, ca, '/v1/aci/attestation?nonce=AB')
    expect(bad.status).toBe(400)
    server.evidence.status = 503
    expect((await call(server.origin, ca, '/v1/aci/attestation')).status).toBe(503)
  })

  test('cuts a stream, and a whole answer, in the middle', async () => {
    const server = await start()
    server.chat.cutAfterChunks = 2
    const streamed = await ask(server, { stream: true })
    expect(streamed.complete).toBe(false)
    expect(streamed.body.match(/data: /g)).toHaveLength(2)
    const whole = await ask(server)
    expect(whole.complete).toBe(false)
    expect(whole.body).not.toBe('')
  })

  test('answers what it was told to', async () => {
    const server = await start()
    server.chat.answer = { status: 429, headers: { 'retry-after': '7' }, body: 'slow down' }
    expect(await ask(server)).toMatchObject({ status: 429, body: 'slow down' })
  })

  test('notices a client that goes away', async () => {
    const server = await start()
    server.chat.hang = true
    const request = httpsRequest(server.origin + CHAT, {
      method: 'POST',
      ca: server.certificatePem(),
    })
    request.on('error', () => undefined).end(body())
    await vi.waitFor(() => expect(server.requests).toHaveLength(1))
    expect(server.aborted()).toBe(0)
    request.destroy()
    await vi.waitFor(() => expect(server.aborted()).toBe(1))
  })

  test('speaks TLS 1.3 alone', async () => {
    const server = await start()
    const port = Number(new URL(server.origin).port)
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      maxVersion: 'TLSv1.2',
      ca: server.certificatePem(),
    })
    await expect(once(socket, 'secureConnect')).rejects.toThrow('protocol version')
    expect(server.applicationBytes()).toBe(0)
  })

  test('has another key after a rotation and drops open connections', async () => {
    const server = await start()
    const before = server.certificatePem()
    server.chat.hang = true
    const open = ask(server).catch(() => 'dropped')
    await vi.waitFor(() => expect(server.requests).toHaveLength(1))
    server.rotate()
    expect(await open).toBe('dropped')
    server.chat.hang = false
    await expect(call(server.origin, before, CHAT, body())).rejects.toThrow(
      'self-signed certificate',
    )
    server.reset()
    expect(server.applicationBytes()).toBe(0)
    expect((await ask(server)).status).toBe(200)
    expect(server.connections()).toBe(1)
  })

  test('counts half a request too', async () => {
    const server = await start()
    const port = Number(new URL(server.origin).port)
    const socket = connectTls({ port, host: '127.0.0.1', ca: server.certificatePem() })
    await once(socket, 'secureConnect')
    expect(server.applicationBytes()).toBe(0)
    socket.write('POST /v1/chat')
    await vi.waitFor(() => expect(server.applicationBytes()).toBe(13))
    socket.destroy()
  })
})

test('the plain model server answers over HTTP and counts bytes', async () => {
  const server = await startPlainModelServer({ clock: fakeClock(), models: ['a', 'b'] })
  onTestFinished(() => server.close())
  expect(server.applicationBytes()).toBe(0)
  const response = await fetch(server.origin + CHAT, { method: 'POST', body: body() })
  expect(await response.json()).toMatchObject({
    choices: [{ message: { content: `You said: ${CANARY}` } }],
  })
  expect(server.applicationBytes()).toBeGreaterThan(body().length)
})

async function startBoth(mode: 'intercept' | 'passthrough') {
  const server = await start()
  const relay = await startRelay({ target: server.origin, mode })
  onTestFinished(() => relay.close())
  return { server, relay }
}

describe('relay', () => {
  test('reads what a client sends that does not check the key', async () => {
    const { server, relay } = await startBoth('intercept')
    const socket = connectTls({
      port: Number(new URL(relay.origin).port),
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    await once(socket, 'secureConnect')
    expect(relay.spkiSha256).not.toBe(server.spkiSha256())
    const text = body()
    socket.write(
      `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    )
    const answer = await socket.toArray()
    expect(Buffer.concat(answer).toString()).toContain(CANARY)
    expect(Buffer.from(relay.plaintext()).toString()).toContain(CANARY)
    expect(server.requests).toHaveLength(1)
  })

  test('reads nothing of a client that knows the key', async () => {
    const { server, relay } = await startBoth('intercept')
    await expect(call(relay.origin, server.certificatePem(), CHAT, body())).rejects.toThrow(
      'self-signed certificate',
    )
    expect(relay.plaintext()).toHaveLength(0)
    expect(server.applicationBytes()).toBe(0)
  })

  test('passes the real key through until it starts to intercept', async () => {
    const { server, relay } = await startBoth('passthrough')
    const ca = server.certificatePem()
    expect((await call(relay.origin, ca, CHAT, body())).status).toBe(200)
    expect(relay.plaintext()).toHaveLength(0)
    relay.interceptNow()
    await expect(call(relay.origin, ca, CHAT, body())).rejects.toThrow('self-signed certificate')
    expect(relay.connections()).toBe(2)
    expect(relay.plaintext()).toHaveLength(0)
  })
})
