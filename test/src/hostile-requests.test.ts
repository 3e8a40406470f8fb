import * as fc from 'fast-check'
import { once } from 'node:events'
import { connect } from 'node:tls'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { OPERATIONS, operation, type OperationName } from '../../src/operations.ts'
import { readable, readShape } from '../../src/prompt.ts'
import { Gathered } from '../../src/gathered.ts'
import { SseParser } from '../../src/dialects/sse.ts'
import { Sensitive } from '../../src/sensitive.ts'
import { unreadable } from '../../src/unreadable.ts'
import { startRecorder, type Recorder } from '../support/recorder.ts'
import { CANARY, KEY, startWorld, type Answer, type World } from './harness.ts'

const KINDS = ['openai', 'anthropic', 'cohere', 'gemini', 'bedrock'] as const
const NAMES = Object.keys(OPERATIONS).filter((name): name is OperationName => name in OPERATIONS)
const JSON_ROUTES = NAMES.map(operation).filter(({ takes }) => takes === 'json')

let world: World
let recorder: Recorder
const texts: string[] = []

beforeAll(async () => {
  recorder = await startRecorder()
  // A caller's mistake opens no breaker, so that every request reaches the provider or is refused for itself.
  recorder.answer = { status: 400, type: 'application/json', body: '{"error":{}}' }
  const provider = (kind: string) => ({
    id: `rec-${kind}`,
    kind,
    base_url: `${recorder.url}/v1`,
    api_key: { env: 'UPSTREAM_KEY' },
    ...(kind === 'bedrock' ? { region: 'eu-west-1' } : {}),
  })
  world = await startWorld({
    edit: (file) => Object.assign(file.limits, { body_bytes: 8 << 20, body_seconds: 2 }),
    extra: {
      providers: KINDS.map(provider),
      models: KINDS.map((kind) => ({
        name: kind,
        confidentiality: 'plain',
        routes: [{ provider: `rec-${kind}`, model: 'm' }],
      })),
    },
  })
})
afterAll(async () => {
  await world.close()
  await recorder.close()
})

const post = async (path: string, body: string | Buffer): Promise<Answer> => {
  const headers = { 'content-type': 'application/json' }
  const answer = await world.call(`/v1${path}`, { method: 'POST', body, headers })
  texts.push(answer.text)
  return answer
}

/** Whatever it was: a coded refusal of the request, in JSON, and no failure of the gateway. */
const isRefused = ({ status, text }: Answer): boolean =>
  [400, 404, 413].includes(status) && 'error' in Object(JSON.parse(text))

const needed = {
  messages: [{ role: 'user', content: 'x' }],
  input: 'x',
  prompt: 'x',
  query: 'q',
  documents: ['d'],
}
const deep = (open: string, close: string, depth: number): string =>
  open.repeat(depth) + close.repeat(depth)

const HOSTILE: readonly (readonly [string, (model: string) => string | Buffer])[] = [
  ['nothing', () => ''],
  ['half a document', () => `{"model":"${CANARY}`],
  ['two documents', (m) => `{"model":"${m}"}{"model":"${m}"}`],
  ['a byte order mark', (m) => `\uFEFF${JSON.stringify({ ...needed, model: m })}`],
  ['invalid UTF-8', () => Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ['a NUL', () => '\0'],
  ['deep lists', () => deep('[', ']', 1_000_000)],
  ['deep lists in a member', (m) => `{"model":"${m}","messages":${deep('[', ']', 500_000)}}`],
  [
    'deep objects in a message',
    (m) =>
      `{"model":"${m}","input":[${deep('{"a":', '}', 1).replace('}', `${deep('[', ']', 200_000)}}`)}],"messages":[${deep('[', ']', 200_000)}]}`,
  ],
  ['two models', (m) => `{"model":"${m}","model":"other","messages":[],"input":"x","prompt":"x"}`],
  [
    'two models, one escaped',
    (m) => `{"model":"${m}","mod\\u0065l":"other","messages":[],"input":"x"}`,
  ],
  [
    'a model that is half a character',
    () => String.raw`{"model":"\ud800","messages":[],"input":"x","prompt":"x"}`,
  ],
  ['a model in the prototype', (m) => `{"__proto__":{"model":"${m}","messages":[]}}`],
  ['a model of every type', () => `{"model":{"toString":1},"messages":[],"input":"x"}`],
  [
    'two constraints',
    (m) =>
      JSON.stringify({ ...needed, model: m, provider: 0 }).replace(
        '"provider":0',
        '"provider":{"aci_verified":true,"aci_verified":false}',
      ),
  ],
]

describe.each(JSON_ROUTES.map(({ path }) => path))('%s', (path) => {
  test.each(HOSTILE)('refuses %s', async (_name, body) => {
    for (const kind of KINDS) expect(isRefused(await post(path, body(kind)))).toBe(true)
  })

  test('refuses or passes on any type at any known member, and never fails', async () => {
    const odd = [
      null,
      true,
      -1,
      1e308,
      0.5,
      '',
      '\ud800',
      [],
      {},
      [null],
      [[[]]],
      { type: 'x' },
      { type: {} },
      [{ role: 1 }],
      [{ role: 'user', content: [{ type: 'text' }] }],
      [{ role: 'tool', content: null }],
      [{ type: 'function', function: 3 }],
    ]
    const members = [
      'messages',
      'input',
      'tools',
      'tool_choice',
      'stop',
      'stream_options',
      'response_format',
      'temperature',
      'max_tokens',
      'n',
      'system',
      'thinking',
      'reasoning',
      'reasoning_effort',
      'metadata',
      'instructions',
      'text',
      'include',
      'provider',
      'dimensions',
      'documents',
      'top_n',
      'logprobs',
      'stop_sequences',
      'unknown',
      '__proto__',
      'constructor',
      'toString',
    ]
    for (const kind of KINDS) {
      for (const name of members) {
        const bodies = odd.map((value) =>
          JSON.stringify({ ...needed, model: kind, max_tokens: 5, zzz: 0 }).replace(
            '"zzz":0',
            `${JSON.stringify(name)}:${JSON.stringify(value)}`,
          ),
        )
        const answers = await Promise.all(bodies.map((body) => post(path, body)))
        for (const [at, answer] of answers.entries()) {
          expect([400, 404], `${kind} ${bodies[at]}: ${answer.text}`).toContain(answer.status)
        }
      }
    }
  }, 60_000)
})

test('any JSON at all is answered with a coded refusal', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...JSON_ROUTES.map(({ path }) => path)),
      fc.constantFrom(...KINDS),
      fc.dictionary(
        fc.constantFrom(
          'messages',
          'input',
          'tools',
          'stream',
          'provider',
          'text',
          'system',
          '__proto__',
        ),
        fc.jsonValue({ maxDepth: 4 }),
      ),
      async (path, model, rest) => {
        const answer = await post(path, JSON.stringify({ ...needed, ...rest, model }))
        return [400, 404].includes(answer.status)
      },
    ),
    { numRuns: 150 },
  )
}, 60_000)

test.each([
  ['announced', true],
  ['chunked', false],
])('50 MB, %s, are refused before they are held', async (_name, announced) => {
  const size = 50_000_000
  const socket = connect({
    port: Number(new URL(world.gateway.url).port),
    host: '127.0.0.1',
    rejectUnauthorized: false,
  })
  socket.on('error', () => socket.destroy())
  await once(socket, 'secureConnect')
  const length = announced ? `content-length: ${size}` : 'transfer-encoding: chunked'
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\n${length}\r\n\r\n`,
  )
  const seen = { answer: '' }
  socket.on('data', (chunk: Buffer) => {
    seen.answer += chunk.toString()
  })
  const piece = Buffer.alloc(1 << 16, 0x20)
  const sent = announced
    ? piece
    : Buffer.concat([Buffer.from('10000\r\n'), piece, Buffer.from('\r\n')])
  for (let at = 0; at * piece.length < size && !socket.destroyed && seen.answer === ''; at++) {
    socket.write(sent)
    await delay(1)
  }
  await vi.waitFor(() => expect(seen.answer).toContain('body_too_large'))
  expect(seen.answer).toMatch(/^HTTP\/1\.1 413 /)
  socket.destroy()
})

test('a body that comes byte by byte, and one that never ends, hold up nobody', async () => {
  const open = async (lines: string) => {
    const socket = connect({
      port: Number(new URL(world.gateway.url).port),
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    socket.on('error', () => socket.destroy())
    await once(socket, 'secureConnect')
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\n${lines}\r\n\r\n`,
    )
    return socket
  }
  const never = await open('content-length: 1000')
  never.write('{"model":')
  const slow = await open('transfer-encoding: chunked')
  const body = JSON.stringify({ model: 'ordinary', messages: [{ role: 'user', content: 'x' }] })
  let answer = ''
  slow.on('data', (chunk: Buffer) => {
    answer += chunk.toString()
  })
  for (const byte of body) {
    slow.write(`1\r\n${byte}\r\n`)
    await delay(1)
  }
  expect((await world.call('/healthz')).status).toBe(200)
  slow.write('0\r\n\r\n')
  await vi.waitFor(() => expect(answer).toMatch(/^HTTP\/1\.1 200 /))
  never.destroy()
  slow.destroy()
})

test('garbage for a chunk is a bad request', async () => {
  const socket = connect({
    port: Number(new URL(world.gateway.url).port),
    host: '127.0.0.1',
    rejectUnauthorized: false,
  })
  await once(socket, 'secureConnect')
  socket.end(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n${CANARY}`,
  )
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  expect(answer).toMatch(/ 400 /)
  texts.push(answer)
})

describe('a request that', () => {
  const answerTo = async (bytes: string): Promise<string> => {
    const port = Number(new URL(world.gateway.url).port)
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    socket.write(bytes)
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    texts.push(answer)
    return answer
  }
  const begun = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"${CANARY}`

  test.each([
    ['/v1/chat/completions', '{"error":{"message":'],
    ['/v1/messages', '{"type":"error","error":{"type":"invalid_request_error",'],
  ])('takes too long to arrive at %s is told so, and its connection ends', async (path, shape) => {
    const answer = await answerTo(begun(path))
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
    expect(answer).toMatch(/\r\nconnection: close\r\n/i)
    expect(answer.split('\r\n\r\n')[1]).toContain(shape)
    expect(answer).toContain('"code":"request_timeout"')
  })

  test('has headers without end is told so', async () => {
    const answer = await answerTo(`GET /healthz HTTP/1.1\r\nx: ${CANARY.repeat(1000)}\r\n\r\n`)
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/)
    expect(head).toContain(`content-length: ${Buffer.byteLength(body)}\r\n`)
    expect(JSON.parse(body)).toMatchObject({ error: { code: 'headers_too_large' } })
  })

  test.each([
    ['ERR_HTTP_REQUEST_TIMEOUT', 408, 'request_timeout'],
    ['HPE_HEADER_OVERFLOW', 431, 'headers_too_large'],
    ['HPE_INVALID_METHOD', 400, 'bad_request'],
  ])('never had a route is answered by its code alone: %s', (node, status, code) => {
    expect(unreadable(node)).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*"code":"${code}"`))
  })
})

test('nothing of a prompt is told or logged, and the gateway serves on', async () => {
  for (const text of [...texts, ...world.logs]) expect(text).not.toContain(CANARY)
  expect((await world.call('/healthz')).status).toBe(200)
})

describe('a body', () => {
  const prompt = new Sensitive(
    Buffer.from(
      JSON.stringify({
        model: 'm',
        messages: [],
        provider: { aci_verified: true, order: [] },
        ['__proto__']: 1,
      }),
    ),
  )

  test('is parsed once for all who ask, without what is said to the gateway', () => {
    const parse = vi.spyOn(JSON, 'parse')
    const { body } = readShape(prompt, operation('chat'))
    const [first, second] = [body.get(), body.get()]
    expect(parse).toHaveBeenCalledTimes(1)
    expect(first).toEqual(second)
    expect(first).toEqual({
      model: 'm',
      messages: [],
      ['__proto__']: 1,
    })
    body.drop()
    expect(body.get()).toEqual(first)
    expect(parse).toHaveBeenCalledTimes(2)
    parse.mockRestore()
  })

  test('is read with names replaced, and still without what is said to the gateway', () => {
    const shape = readShape(prompt, operation('chat'))
    const replaced = readable(prompt, shape, (_bytes, members) =>
      members
        .filter(({ name }) => name === 'model')
        .map(({ valueStart: start, end }) => ({ start, end, text: '"n"' })),
    )
    expect(replaced).toEqual({ model: 'n', messages: [], ['__proto__']: 1 })
  })

  test('that came in pieces of any size is whole', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 9000 }), { maxLength: 8 }),
        fc.integer({ min: 0, max: 40_000 }),
        (pieces, expected) => {
          const gathered = new Gathered(expected)
          // Slices of memory that others use, too.
          for (const piece of pieces) gathered.push(Buffer.from(piece))
          expect(gathered.take()).toEqual(Buffer.concat(pieces))
          expect(gathered.length).toBe(0)
          gathered.push(Buffer.from('again'))
          expect(gathered.take().toString()).toBe('again')
        },
      ),
    )
  })

  test('neither writes into what it was given nor keeps the memory around it', () => {
    const gathered = new Gathered()
    const record = Buffer.alloc(16_384, 0x61)
    gathered.push(record.subarray(0, 10))
    gathered.push(Buffer.from('b'))
    expect(record.every((byte) => byte === 0x61)).toBe(true)
    const whole = gathered.take()
    expect(whole.toString()).toBe('aaaaaaaaaab')
    expect(whole.buffer.byteLength).toBe(11)
    gathered.push(record)
    gathered.push(Buffer.from('c'))
    expect(record.every((byte) => byte === 0x61)).toBe(true)
  })
})

describe('server-sent events', () => {
  const text =
    'event: a\r\ndata: 1\r\ndata: grüße\r\n\r\n: c\r\n\r\nevent: b\ndata: 2\n\ndata: 3\r\revent: c\rdata: 4\r\r'
  const WHOLE = [
    { event: 'a', data: '1\ngrüße' },
    { event: 'b', data: '2' },
    { event: '', data: '3' },
    { event: 'c', data: '4' },
  ]

  test('are the same wherever the bytes are cut', () => {
    const bytes = Buffer.from(text)
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 60 }), (cuts) => {
        const parser = new SseParser()
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
        const events = at.flatMap((from, index) => parser.push(bytes.subarray(from, at[index + 1])))
        expect([...events, ...parser.end()]).toEqual(WHOLE)
      }),
    )
  })

  test('of endless empty lines of data are not held', () => {
    const parser = new SseParser()
    const lines = Buffer.from('data:\n'.repeat(100_000))
    const push = () => {
      for (let at = 0; at < 200; at++) parser.push(lines)
    }
    expect(push).toThrow(expect.objectContaining({ code: 'upstream_malformed' }))
  })
})
