import { gzipSync } from 'node:zlib'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  chunked,
  flood,
  head,
  startRawUpstream,
  whole,
  written,
  type Behaviour,
  type RawUpstream,
} from '../support/raw-upstream.ts'
import { prompt, startWorld, UPSTREAM_SECRET, type Answer, type World } from './harness.ts'

const SECRET = 'words-of-the-provider-51c2'
const KINDS = ['openai', 'anthropic', 'cohere', 'gemini', 'bedrock'] as const

let world: World
let upstream: RawUpstream
const answers: Answer[] = []

beforeAll(async () => {
  upstream = await startRawUpstream()
  const secret = { env: 'UPSTREAM_KEY' }
  const provider = (kind: string) => ({
    id: `raw-${kind}`,
    kind,
    base_url: `${upstream.url}/v1`,
    api_key: secret,
    ...(kind === 'bedrock' ? { region: 'eu-west-1' } : {}),
  })
  world = await startWorld({
    edit: (file) =>
      Object.assign(file.limits, {
        response_bytes: 1 << 20,
        first_byte_seconds: 2,
        idle_seconds: 2,
      }),
    extra: {
      providers: KINDS.map(provider),
      models: KINDS.flatMap((kind) =>
        // A route that fails is left alone for a while, so each way to fail gets a model of its own.
        Array.from({ length: 40 }, (_, at) => ({
          name: `${kind}-${at}`,
          confidentiality: 'plain',
          routes: [{ provider: `raw-${kind}`, model: `m-${at}` }],
        })),
      ),
    },
  })
})
afterAll(async () => {
  await world.close()
  await upstream.close()
})
let next = 0
async function ask(kind: string, behave: Behaviour, stream: boolean): Promise<Answer> {
  upstream.behave = behave
  next += 1
  const answer = await world.chat(prompt(`${kind}-${next % 40}`, { stream }))
  answers.push(answer)
  // Whatever it was, the process serves on.
  if ((await world.chat(prompt('ordinary'))).status !== 200) throw new Error('it does not serve')
  return answer
}

const SSE = { 'content-type': 'text/event-stream', 'transfer-encoding': 'chunked' }
const JSON_TYPE = 'application/json'
const end =
  (bytes: string | Buffer): Behaviour =>
  (socket) =>
    void socket.end(bytes)
const streamed =
  (...chunks: readonly (string | Buffer)[]): Behaviour =>
  (socket) =>
    void socket.end(
      Buffer.concat([Buffer.from(head(200, SSE)), ...chunks.map(chunked), chunked('')]),
    )

const WHOLE: readonly (readonly [string, Behaviour, number, string])[] = [
  ['HTML', end(whole(200, 'text/html', `<html>${SECRET}</html>`)), 502, 'upstream_malformed'],
  [
    'half a JSON',
    end(whole(200, JSON_TYPE, `{"id":"${SECRET}","choices":[{"mess`)),
    502,
    'upstream_malformed',
  ],
  ['a list', end(whole(200, JSON_TYPE, '[]')), 502, 'upstream_malformed'],
  ['nothing', end(whole(200, JSON_TYPE, '')), 502, 'upstream_malformed'],
  ['another type', end(whole(200, 'image/png', SECRET)), 502, 'upstream_malformed'],
  [
    'a redirect',
    end(whole(302, JSON_TYPE, '{}', { location: 'http://127.0.0.1:1/' })),
    502,
    'upstream_error',
  ],
  [
    'a permanent redirect',
    end(whole(308, JSON_TYPE, '{}', { location: '/v1/other' })),
    502,
    'upstream_error',
  ],
  ['no HTTP', end(`220 ${SECRET} ESMTP\r\n`), 502, 'upstream_malformed'],
  ['nothing at all', end(''), 502, 'upstream_unreachable'],
  [
    'garbage for a chunk',
    end(`${head(200, { 'transfer-encoding': 'chunked' })}zz\r\n${SECRET}`),
    502,
    'upstream_broken',
  ],
  [
    'a body that is cut',
    end(head(200, { 'content-length': '100' }) + SECRET),
    502,
    'upstream_broken',
  ],
  [
    'two lengths',
    end(`HTTP/1.1 200 X\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}`),
    502,
    'upstream_malformed',
  ],
  [
    'gzip',
    end(whole(200, JSON_TYPE, gzipSync(Buffer.alloc(1 << 24)), { 'content-encoding': 'gzip' })),
    502,
    'upstream_malformed',
  ],
  [
    'a body over the limit',
    end(whole(200, JSON_TYPE, Buffer.alloc(2 << 20))),
    502,
    'upstream_too_large',
  ],
  [
    'an error over the limit',
    end(whole(500, JSON_TYPE, Buffer.alloc(1 << 20))),
    502,
    'upstream_too_large',
  ],
  ['an error in HTML', end(whole(500, 'text/html', SECRET)), 502, 'upstream_error'],
]

describe.each(KINDS)('%s', (kind) => {
  test.each(WHOLE)('answers with %s', async (_name, behave, status, code) => {
    const answer = await ask(kind, behave, false)
    expect([answer.status, answer.at('error.code')]).toEqual([status, code])
    expect(answer.text).not.toContain(SECRET)
  })

  test('answers with 100,000 headers', async () => {
    const many = Array.from({ length: 100_000 }, (_, at) => `x-${at}: ${SECRET}\r\n`).join('')
    const answer = await ask(kind, end(`HTTP/1.1 200 X\r\n${many}\r\n{}`), false)
    expect([answer.status, answer.at('error.code')]).toEqual([502, 'upstream_too_large'])
  })

  test.each([['102 Processing'], ['103 Early Hints']])('floods with %s', async (line) => {
    let sent = 0
    const behave = async (socket: Socket): Promise<void> => {
      sent = await flood(socket, `HTTP/1.1 ${line}\r\n\r\n`, 1_000_000)
    }
    const answer = await ask(kind, behave, false)
    expect([answer.status, answer.at('error.code')]).toEqual([502, 'upstream_malformed'])
    expect(sent).toBeLessThan(1_000_000)
  })

  test('answers after early hints', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'
    const answer = await ask(kind, end(hints + whole(429, JSON_TYPE, '{}').toString()), false)
    expect(answer.status).toBe(429)
  })

  test.each([
    ['HTML', streamed(`<html>${SECRET}</html>`)],
    ['nothing', streamed()],
    ['half a frame', streamed('data: {"id":"x"')],
    [
      'invalid UTF-8',
      streamed(Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0xfe, 0x0a, 0x0a])),
    ],
    ['frames that are no JSON', streamed(`data: ${SECRET}\n\n`)],
    [
      'gzip',
      end(whole(200, 'text/event-stream', gzipSync(SECRET), { 'content-encoding': 'gzip' })),
    ],
  ])('streams %s', async (_name, behave) => {
    const answer = await ask(kind, behave, true)
    // A stream that passes unread can have begun; either way the client is told, and it never looks whole.
    expect([200, 502]).toContain(answer.status)
    expect(answer.text).toMatch(/upstream_(?:broken|malformed)/)
    expect(answer.text).not.toContain('[DONE]')
  })

  test('streams a line that never ends, and is not held', async () => {
    let sent = 0
    const behave = async (socket: Socket): Promise<void> => {
      await written(socket, head(200, SSE))
      sent = await flood(
        socket,
        chunked(`${sent === 0 ? 'data: ' : ''}${'a'.repeat(1 << 16)}`),
        400,
      )
      socket.end(chunked(''))
    }
    const answer = await ask(kind, behave, true)
    expect(answer.text).toMatch(/upstream_(?:broken|malformed|too_large)/)
  })
})

test.each([[false], [true]])(
  'an id that is half a character ends nothing, stream %s',
  async (stream) => {
    const id = String.raw`"id":"\ud800"`
    const body = `{${id},"choices":[]}`
    const behave = stream
      ? streamed(`data: ${body}\n\ndata: [DONE]\n\n`)
      : end(whole(200, JSON_TYPE, body))
    const answer = await ask('openai', behave, stream)
    expect([answer.status, answer.text.includes(id)]).toEqual([200, true])
  },
)

test('frames are read the same wherever they are cut', async () => {
  const events = [
    [
      'message_start',
      {
        message: {
          id: 'msg_1',
          type: 'message',
          role: 'assistant',
          model: 'm',
          content: [],
          usage: { input_tokens: 1, output_tokens: 1 },
        },
      },
    ],
    ['content_block_start', { index: 0, content_block: { type: 'text', text: '' } }],
    ['content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'grüße 🌍' } }],
    ['content_block_stop', { index: 0 }],
    ['message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } }],
    ['message_stop', {}],
  ] as const
  for (const eol of ['\n', '\r\n', '\r']) {
    const text = events
      .map(
        ([type, rest]) =>
          `event: ${type}${eol}data: ${JSON.stringify({ type, ...rest })}${eol}${eol}`,
      )
      .join('')
    const bytes = Buffer.from(text)
    const single = Array.from(bytes, (byte) => Buffer.from([byte]))
    const answer = await ask('anthropic', streamed(...single), true)
    const deltas = [...answer.text.matchAll(/"content":"([^"]*)"/g)]
      .map(([, word]) => word)
      .join('')
    expect(deltas).toBe('grüße 🌍')
    expect(answer.text).toContain('[DONE]')
  }
})

test('no redirect is followed, and nothing of a provider or a prompt is told', () => {
  expect(upstream.requests.some((request) => request.includes('/v1/other'))).toBe(false)
  for (const surface of [...world.logs, ...answers.map(({ text }) => text)]) {
    for (const secret of [UPSTREAM_SECRET, 'canary-prompt']) expect(surface).not.toContain(secret)
  }
  expect(world.logs.join('')).not.toContain(SECRET)
})
