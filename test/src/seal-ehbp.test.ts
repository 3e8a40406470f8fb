import { sha256, type E2eeBinding } from '@vouchgate/attestation'
import { Identity, Transport } from 'ehbp'
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import { Pool } from 'undici'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { EhbpFrames } from '../../src/upstream/ehbp-frames.ts'
import { sealEhbp } from '../../src/upstream/seal-ehbp.ts'
import { send, type Outbound, type ResponseSink } from '../../src/upstream/send.ts'
import { expose, Sensitive } from '../../src/sensitive.ts'
import { newEhbpKey, type EhbpKey, type EhbpReply } from '../support/ehbp-server.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { hasVectors, vectorJson } from '../support/vectors.ts'

const key = await newEhbpKey()
const other = await newEhbpKey()

const bindingOf = async ({ publicKey }: EhbpKey): Promise<E2eeBinding> => ({
  kind: 'e2ee-public-key',
  protocol: 'ehbp-x25519',
  keyId: null,
  publicKey,
  digest: await sha256(publicKey),
})

const CANARY = '{"model":"m","messages":[{"role":"user","content":"canary"}]}'

const outbound = (body: string | Buffer = CANARY): Outbound => ({
  message: {
    operation: '/chat/completions',
    body: new Sensitive(Buffer.from(body)),
    stream: false,
    signal: new AbortController().signal,
  },
  path: '/v1/chat/completions',
  apiKey: new Sensitive('k'),
  authorize: () => ({}),
})

/** What reached the sink. */
class Recorder implements ResponseSink {
  status = 0
  headers: IncomingHttpHeaders = {}
  chunks: Buffer[] = []
  ready = true

  sent(): void {
    this.status = 0
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    this.status = status
    this.headers = headers
  }

  data(chunk: Buffer): boolean {
    this.chunks.push(chunk)
    return this.ready
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }
}

async function exchange(body: string | Buffer = CANARY) {
  const sealed = await sealEhbp(outbound(body), await bindingOf(key))
  const { request } = sealed
  const opened = await key.open(
    request.headers['ehbp-encapsulated-key'] ?? '',
    expose(request.body),
  )
  const sink = new Recorder()
  return { request, opened, sink, opening: sealed.open(sink), reply: opened.reply() }
}

const RESUME = (): void => undefined
const head = (reply: EhbpReply, extra: IncomingHttpHeaders = {}): IncomingHttpHeaders => ({
  'content-type': 'application/json',
  'ehbp-response-nonce': reply.nonce,
  ...extra,
})

test('the body is for the attested key alone, and says nothing in clear', async () => {
  const { request, opened } = await exchange()
  expect(opened.body.toString()).toBe(CANARY)
  expect(request.path).toBe('/v1/chat/completions')
  expect(expose(request.body).includes('canary')).toBe(false)
  const enc = request.headers['ehbp-encapsulated-key'] ?? ''
  expect(enc).toMatch(/^[0-9a-f]{64}$/)
  await expect(other.open(enc, expose(request.body))).rejects.toThrow('for another key')
})

test('a body over a mebibyte is several frames', async () => {
  const body = Buffer.alloc((2 << 20) + 5, 'x')
  const { request, opened } = await exchange(body)
  expect(opened.body.equals(body)).toBe(true)
  expect(expose(request.body)).toHaveLength(body.length + 3 * (4 + 16))
})

test('two messages share nothing', async () => {
  const [first, second] = [await exchange(), await exchange()]
  expect(first.request.headers).not.toEqual(second.request.headers)
  expect(() => {
    first.opening.head(200, head(second.reply))
    first.opening.data(second.reply.frame(Buffer.from('hello')), RESUME)
  }).toThrow('undecryptable')
})

test('a reply is decrypted frame by frame, however it is cut', async () => {
  const { opening, sink, reply } = await exchange()
  opening.head(200, head(reply))
  const pieces = ['data: one\n\n', '', 'data: two\n\n']
  const wire = Buffer.concat([
    ...pieces.map((piece) => reply.frame(Buffer.from(piece))),
    Buffer.alloc(4),
    reply.frame(Buffer.from('data: [DONE]\n\n')),
  ])
  for (const byte of wire) opening.data(Buffer.of(byte), RESUME)
  opening.end()
  expect(sink.text).toBe('data: one\n\ndata: two\n\ndata: [DONE]\n\n')
  expect(sink.headers['content-type']).toBe('application/json')
})

test('many frames in one chunk are one piece for the sink, whose pressure is passed on', async () => {
  const { opening, sink, reply } = await exchange()
  sink.ready = false
  opening.head(200, head(reply))
  const frame = (piece: string) => reply.frame(Buffer.from(piece))
  const [first, second, third] = [frame('a'), frame('b'), frame('c')]
  expect(opening.data(Buffer.concat([first, second, third.subarray(0, 9)]), RESUME)).toBe(false)
  expect(sink.chunks).toEqual([Buffer.from('ab')])
  // Nothing was handed on, so nothing presses.
  expect(opening.data(third.subarray(9, 10), RESUME)).toBe(true)
})

describe('refused', () => {
  test.each([200, 204, 299])('a success in clear: %d', async (status) => {
    const { opening, sink } = await exchange()
    expect(() => opening.head(status, { 'content-type': 'application/json' })).toThrow(
      'not_encrypted',
    )
    expect(sink.status).toBe(0)
  })

  test.each([
    ['short', 'ab'.repeat(31)],
    ['not hex', 'zz'.repeat(32)],
    ['twice', `${'ab'.repeat(32)}, ${'ab'.repeat(32)}`],
    ['empty', ''],
    ['a list', ['ab'.repeat(32)]],
  ])('a nonce that is %s', async (_name, nonce) => {
    const { opening } = await exchange()
    expect(() => opening.head(200, { 'ehbp-response-nonce': nonce })).toThrow('undecryptable')
  })

  const data = async (edit: (frame: Buffer) => Buffer) => {
    const { opening, reply, sink } = await exchange()
    opening.head(200, head(reply))
    const chunk = edit(reply.frame(Buffer.from('hello')))
    return { sink, run: () => opening.data(chunk, RESUME) }
  }

  test('a changed ciphertext, of which nothing is handed on', async () => {
    const { run, sink } = await data((frame) => {
      frame[4] = (frame[4] ?? 0) ^ 1
      return frame
    })
    expect(run).toThrow('undecryptable')
    expect(sink.chunks).toEqual([])
  })

  test('a changed tag', async () => {
    const { run } = await data((frame) => {
      frame[frame.length - 1] = (frame.at(-1) ?? 0) ^ 1
      return frame
    })
    expect(run).toThrow('undecryptable')
  })

  test('a frame shorter than its tag', async () => {
    const { run } = await data(() => Buffer.from('0000000f'.padEnd(38, '0'), 'hex'))
    expect(run).toThrow('undecryptable')
  })

  test('a frame over the bound, before it is held', async () => {
    const { run } = await data(() => Buffer.from('01000011', 'hex'))
    expect(run).toThrow('undecryptable')
    const { run: largest } = await data(() => Buffer.from('01000010', 'hex'))
    expect(largest()).toBe(true)
  })

  test('frames in another order', async () => {
    const { opening, reply } = await exchange()
    opening.head(200, head(reply))
    reply.frame(Buffer.from('first'))
    expect(() => opening.data(reply.frame(Buffer.from('second')), RESUME)).toThrow('undecryptable')
  })

  test.each([1, 4, 20])('a reply that ends %d bytes into a frame', async (cut) => {
    const { opening, reply } = await exchange()
    opening.head(200, head(reply))
    opening.data(reply.frame(Buffer.from('hello')), RESUME)
    opening.data(reply.frame(Buffer.from('hello')).subarray(0, cut), RESUME)
    expect(() => opening.end()).toThrow('undecryptable')
  })

  test.each([
    ['no point', new Uint8Array(31)],
    ['of low order', new Uint8Array(32)],
  ])('a key that is %s', async (_name, publicKey) => {
    const binding = { ...(await bindingOf(key)), publicKey }
    await expect(sealEhbp(outbound(), binding)).rejects.toMatchObject({ failure: 'unreachable' })
  })
})

describe('a refusal', () => {
  test('in clear is a diagnostic', async () => {
    const { opening, sink } = await exchange()
    opening.head(429, { 'content-type': 'application/json', 'retry-after': '3' })
    opening.data(Buffer.from('{"error":{}}'), RESUME)
    opening.end()
    expect([sink.status, sink.text]).toEqual([429, '{"error":{}}'])
    expect(sink.headers['retry-after']).toBe('3')
  })

  test('that is encrypted is decrypted', async () => {
    const { opening, sink, reply } = await exchange()
    opening.head(400, head(reply))
    opening.data(reply.frame(Buffer.from('{"error":{}}')), RESUME)
    opening.end()
    expect([sink.status, sink.text]).toEqual([400, '{"error":{}}'])
  })

  test.each(['application/problem+json', 'application/problem+json; charset=utf-8'])(
    'of the key leads to another verification: %s',
    async (type) => {
      const { opening } = await exchange()
      expect(() => opening.head(422, { 'content-type': type })).toThrow('key_mismatch')
    },
  )

  test.each([
    [422, 'application/json'],
    [422, 'application/problem+jsonish'],
    [400, 'application/problem+json'],
  ])('of another kind does not: %d %s', async (status, type) => {
    const { opening, sink } = await exchange()
    opening.head(status, { 'content-type': type })
    expect(sink.status).toBe(status)
  })
})

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await stop(server)
})

/** Answers every sealed request with what it said, in two frames. */
async function startEcho(): Promise<{ origin: string; seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = []
  const answer = async (enc: string, body: Buffer, response: ServerResponse): Promise<void> => {
    try {
      const opened = await key.open(enc, body)
      const reply = opened.reply()
      response.writeHead(200, { 'ehbp-response-nonce': reply.nonce })
      const half = Math.ceil(opened.body.length / 2)
      response.write(reply.frame(opened.body.subarray(0, half)))
      response.end(reply.frame(opened.body.subarray(half)))
    } catch {
      response.writeHead(422, { 'content-type': 'application/problem+json' })
      response.end('{"type":"urn:ietf:params:ehbp:error:key-config"}')
    }
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      seen.push(request.headers)
      const enc = request.headers['ehbp-encapsulated-key']
      void answer(typeof enc === 'string' ? enc : '', Buffer.concat(chunks), response)
    })
  })
  servers.push(server)
  await listen(server)
  return { origin: `http://127.0.0.1:${portOf(server)}`, seen }
}

describe('over a connection', () => {
  test('the npm client ehbp understands the server of these tests', async () => {
    const { origin } = await startEcho()
    const hex = Buffer.from(key.publicKey).toString('hex')
    const transport = new Transport(await Identity.fromPublicKeyHex(hex), new URL(origin).host)
    const response = await transport.post(`${origin}/v1/x`, CANARY)
    expect(await response.text()).toBe(CANARY)
  })

  const roundTrip = async (to: EhbpKey) => {
    const { origin, seen } = await startEcho()
    const pool = new Pool(origin)
    try {
      const message = outbound()
      const sealed = await sealEhbp(message, await bindingOf(to))
      const { path, headers, body } = sealed.request
      const sink = new Recorder()
      const opening = sealed.open(sink)
      const sent = { ...message, path, headers, message: { ...message.message, body } }
      await send(pool, sent, opening)
      opening.end()
      return { sink, seen }
    } finally {
      await pool.close()
    }
  }

  test('and so do we', async () => {
    const { sink, seen } = await roundTrip(key)
    expect(sink.text).toBe(CANARY)
    // Servers decide by the header and read any framing of HTTP; a length of zero alone means no encryption.
    expect(Number(seen[0]?.['content-length'])).toBeGreaterThan(CANARY.length)
  })

  test('another key is a mismatch', async () => {
    await expect(roundTrip(other)).rejects.toMatchObject({ failure: 'key_mismatch' })
  })
})

const vectorSchema = z.object({
  exportedSecret: z.hex(),
  requestEnc: z.hex(),
  responseNonce: z.hex(),
  plaintext: z.hex(),
  encryptedResponse: z.hex(),
})

test.skipIf(!hasVectors)('the published vector of a reply', () => {
  const vector = vectorSchema.parse(vectorJson('ehbp', 'response-decryption.json'))
  const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')
  const frames = new EhbpFrames(
    { secret: bytes(vector.exportedSecret), enc: bytes(vector.requestEnc) },
    bytes(vector.responseNonce),
  )
  expect(frames.push(bytes(vector.encryptedResponse)).toString('hex')).toBe(vector.plaintext)
  frames.end()
})
