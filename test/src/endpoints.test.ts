import { once } from 'node:events'
import { createServer } from 'node:http'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI, { toFile } from 'openai'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { operation, OPERATIONS } from '../../src/operations.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { startRecorder, type Recorder } from '../support/recorder.ts'
import {
  CANARY,
  eventOf,
  KEY,
  prompt,
  receiptOf,
  sha256Hex,
  startWorld,
  type Answer,
  type World,
} from './harness.ts'

let world: World
let cohere: Recorder
let compatible: Recorder
let claude: Recorder
/** Takes requests and never answers. */
const silent = createServer()
let agent: Agent

const routeTo = (name: string, providers: readonly string[]) => ({
  name,
  confidentiality: 'plain',
  routes: providers.map((provider, priority) => ({ provider, model: 'there', priority })),
})

beforeAll(async () => {
  ;[cohere, compatible, claude] = await Promise.all([
    startRecorder(),
    startRecorder(),
    startRecorder(),
  ])
  await listen(silent)
  const api_key = { env: 'UPSTREAM_KEY' }
  world = await startWorld({
    extra: {
      providers: [
        { id: 'cohere', kind: 'cohere', base_url: `${cohere.url}/v2`, api_key },
        {
          id: 'silent',
          kind: 'cohere',
          base_url: `http://127.0.0.1:${portOf(silent)}/v2`,
          api_key,
        },
        { id: 'compatible', kind: 'openai', base_url: `${compatible.url}/v1`, api_key },
        { id: 'claude', kind: 'anthropic', base_url: `${claude.url}/v1`, api_key },
      ],
      models: [
        routeTo('command', ['cohere']),
        routeTo('whisper', ['compatible']),
        routeTo('silent', ['silent']),
        routeTo('either', ['compatible', 'claude']),
        routeTo('opus', ['claude']),
      ],
    },
  })
  agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
})
afterAll(async () => {
  await agent.destroy()
  await world.close()
  await Promise.all([cohere, compatible, claude].map((each) => each.close()))
  await stop(silent)
})
beforeEach(() => {
  for (const each of [cohere, compatible, claude]) {
    each.requests.length = 0
    each.answer = { status: 200, type: 'application/json', body: '{}' }
  }
})

const MESSAGES = {
  model: 'opus',
  max_tokens: 9,
  messages: [{ role: 'user', content: 'hello' }],
}

const json = (value: unknown): string => JSON.stringify(value)
const post = (path: string, body: unknown, headers = {}): Promise<Answer> =>
  world.call(path, {
    method: 'POST',
    body: typeof body === 'string' ? body : json(body),
    headers: { 'content-type': 'application/json', ...headers },
  })
const sdkFetch: typeof fetch = Object.assign((input: RequestInfo | URL, init?: RequestInit) =>
  Reflect.apply(undiciFetch, undefined, [input, { ...init, dispatcher: agent }]),
)
const openai = () =>
  new OpenAI({ baseURL: `${world.gateway.url}/v1`, apiKey: KEY, maxRetries: 0, fetch: sdkFetch })
const sent = (recorder: Recorder): unknown => JSON.parse(String(recorder.requests[0]?.body))

describe('embeddings through Cohere', () => {
  const answered = {
    embeddings: {
      float: [
        [0.5, -1],
        [2, 0.25],
      ],
    },
    meta: { billed_units: { input_tokens: 7 } },
  }

  test('are asked for in Cohere’s words and read by OpenAI’s SDK', async () => {
    cohere.answer.body = json(answered)
    // The SDK asks for base64 by itself and decodes it.
    const { data, usage } = await openai().embeddings.create({
      model: 'command',
      input: ['a', 'b'],
      dimensions: 2,
    })
    expect(data.map(({ embedding }) => [...embedding])).toEqual([
      [0.5, -1],
      [2, 0.25],
    ])
    expect(usage).toEqual({ prompt_tokens: 7, total_tokens: 7 })
    expect(cohere.requests[0]?.path).toBe('/v2/embed')
    expect(sent(cohere)).toEqual({
      model: 'there',
      texts: ['a', 'b'],
      input_type: 'search_document',
      embedding_types: ['float'],
      output_dimension: 2,
    })
  })

  test('as floats, for one text, as a query, with a receipt for the bytes that left', async () => {
    cohere.answer.body = json({ embeddings: { float: [[1]] } })
    const answer = await post('/v1/embeddings', {
      model: 'command',
      input: 'one',
      input_type: 'search_query',
      provider: { aci_verified: false },
    })
    expect(answer.at('data')).toEqual([{ object: 'embedding', index: 0, embedding: [1] }])
    expect(sent(cohere)).toMatchObject({ input_type: 'search_query' })
    expect(cohere.requests[0]?.body.includes('aci_')).toBe(false)
    const forwarded = eventOf(await receiptOf(world, answer), 'request.forwarded')
    expect(json(forwarded)).toContain(sha256Hex(cohere.requests[0]?.body ?? ''))
  })

  test.each([
    ['tokens', { input: [1, 2] }, 'request_not_supported'],
    ['lists of tokens', { input: [[1, 2]] }, 'request_not_supported'],
    ['nothing', { input: [] }, 'invalid_request'],
    ['an object', { input: [{}] }, 'invalid_request'],
    ['an unknown purpose', { input: 'a', input_type: 'x' }, 'invalid_request'],
    ['half a dimension', { input: 'a', dimensions: 0.5 }, 'invalid_request'],
    ['too many dimensions', { input: 'a', dimensions: 65_537 }, 'invalid_request'],
    ['too many texts', { input: Array.from({ length: 10_001 }, () => 'a') }, 'invalid_request'],
    ['an unknown format', { input: 'a', encoding_format: 'hex' }, 'invalid_request'],
  ])('refuses %s before anything is sent', async (_name, body, code) => {
    const answer = await post('/v1/embeddings', { model: 'command', ...body })
    expect([answer.status, answer.at('error.code')]).toEqual([400, code])
    expect(cohere.requests).toEqual([])
  })

  test('without counts are metered as not known', async () => {
    cohere.answer.body = json({ embeddings: { float: [[1]] } })
    const answer = await post('/v1/embeddings', { model: 'command', input: 'one' })
    expect(answer.at('usage')).toEqual({ prompt_tokens: 0, total_tokens: 0 })
    const metered = world.logs.findLast((line) => line.includes('prompt_metered'))
    expect(JSON.parse(metered ?? '')).toMatchObject({ uncachedInput: null, output: null })
  })

  test('that nobody waits for any more end as such', async () => {
    const controller = new AbortController()
    const asking = world.call('/v1/embeddings', {
      method: 'POST',
      body: json({ model: 'silent', input: 'one' }),
      headers: { 'content-type': 'application/json' },
      signal: controller.signal,
    })
    await once(silent, 'request')
    controller.abort()
    await expect(asking).rejects.toThrow(/abort/i)
    await expect.poll(() => world.logs.join('')).toMatch(/"model":"silent","end":"client_abort"/)
  })

  test.each([
    [200, '<html>', 502, 'upstream_malformed'],
    [200, '{"embeddings":{"float":[]}}', 502, 'upstream_malformed'],
    [400, '{"message":"bad texts"}', 400, 'request_rejected'],
    [401, '{"message":"invalid api token"}', 502, 'upstream_credentials'],
    [429, '{"message":"slow down"}', 429, 'upstream_rate_limited'],
    [500, 'x'.repeat(100_000), 502, 'upstream_too_large'],
  ])('an answer %i %s', async (status, body, told, code) => {
    cohere.answer = { status, type: 'application/json', body }
    const answer = await post('/v1/embeddings', { model: 'command', input: 'a' })
    expect([answer.status, answer.at('error.code')]).toEqual([told, code])
  })
})

describe('rerank through Cohere', () => {
  const asked = { model: 'command', query: 'q', documents: ['a', { text: 'b' }], top_n: 2 }
  const results = [
    { index: 1, relevance_score: 0.9 },
    { index: 0, relevance_score: 0.1 },
  ]

  test('tells indexes and scores, and the documents where they were asked for', async () => {
    cohere.answer.body = json({ results, meta: { billed_units: { search_units: 1 } } })
    const answer = await post('/v1/rerank', { ...asked, return_documents: true })
    expect(answer.at('results')).toEqual([
      { index: 1, relevance_score: 0.9, document: { text: 'b' } },
      { index: 0, relevance_score: 0.1, document: { text: 'a' } },
    ])
    expect(answer.at('meta')).toEqual({ billed_units: { search_units: 1 } })
    expect(cohere.requests[0]?.path).toBe('/v2/rerank')
    expect(sent(cohere)).toEqual({ model: 'there', query: 'q', documents: ['a', 'b'], top_n: 2 })
  })

  test('without documents and without units', async () => {
    cohere.answer.body = json({ results })
    const answer = await post('/v1/rerank', asked)
    expect(answer.at('results')).toEqual(results)
    expect(answer.at('meta')).toBeUndefined()
  })

  test.each([
    [{ documents: [] }],
    [{ documents: Array.from({ length: 10_001 }, () => 'a') }],
    [{ documents: [1] }],
    [{ documents: ['a', { title: 'b' }] }],
    [{ top_n: 0 }],
    [{ return_documents: 'yes' }],
  ])('refuses %j', async (change) => {
    const answer = await post('/v1/rerank', { ...asked, ...change })
    expect([answer.status, answer.at('error.code')]).toEqual([400, 'invalid_request'])
  })

  test('refuses a result for a document that there is not', async () => {
    cohere.answer.body = json({ results: [{ index: 2, relevance_score: 1 }] })
    expect((await post('/v1/rerank', asked)).at('error.code')).toBe('upstream_malformed')
  })
})

describe('counting tokens', () => {
  const asked = { model: 'whisper', messages: [{ role: 'user', content: CANARY }] }

  test('is refused in Anthropic’s shape where no provider of the model counts', async () => {
    const answer = await post('/v1/messages/count_tokens', asked)
    expect(answer.status).toBe(400)
    expect(JSON.parse(answer.text)).toMatchObject({
      type: 'error',
      error: {
        type: 'invalid_request_error',
        message: 'no provider of this model can be asked this',
      },
    })
    expect(compatible.requests).toEqual([])
  })

  test('goes on to the provider of the model that counts', async () => {
    claude.answer.body = '{"input_tokens":3}'
    const answer = await post('/v1/messages/count_tokens', { ...asked, model: 'either' })
    expect([answer.status, answer.text]).toEqual([200, '{"input_tokens":3}'])
    expect(claude.requests[0]?.path).toBe('/v1/messages/count_tokens')
    expect(compatible.requests).toEqual([])
  })
})

describe('transcriptions', () => {
  const recording = Buffer.from(`\r\n--other\r\n\0\xff${CANARY}`, 'latin1')
  const part = (name: string, value: string | Buffer, extra = '') =>
    Buffer.concat([
      Buffer.from(`--bound\r\nContent-Disposition: form-data; name="${name}"${extra}\r\n\r\n`),
      Buffer.from(value),
      Buffer.from('\r\n'),
    ])
  const file = part('file', recording, '; filename="a.wav"\r\nContent-Type: audio/wav')
  const model = part('model', 'whisper')
  const form = (...parts: readonly Buffer[]) =>
    Buffer.concat([...parts, Buffer.from('--bound--\r\n')])
  const transcribe = (body: Buffer, type = 'multipart/form-data; boundary=bound') =>
    world.call('/v1/audio/transcriptions', {
      method: 'POST',
      body,
      headers: { 'content-type': type },
    })

  test('pass byte for byte but for the model’s name', async () => {
    compatible.answer.body = '{"text":"hello","usage":{"input_tokens":4,"output_tokens":2}}'
    const answer = await transcribe(form(file, model, part('language', 'en')))
    expect([answer.status, answer.at('text')]).toEqual([200, 'hello'])
    const [request] = compatible.requests
    expect(request?.path).toBe('/v1/audio/transcriptions')
    expect(request?.headers['content-type']).toBe('multipart/form-data; boundary=bound')
    expect(request?.headers['authorization']).not.toContain(KEY)
    expect(request?.body).toEqual(form(file, part('model', 'there'), part('language', 'en')))
    const forwarded = eventOf(await receiptOf(world, answer), 'request.forwarded')
    expect(json(forwarded)).toContain(sha256Hex(request?.body ?? ''))
  })

  test('of OpenAI’s SDK', async () => {
    compatible.answer.body = '{"text":"hello"}'
    // Its forms are of Node's own fetch.
    const client = new OpenAI({
      baseURL: `${world.gateway.url}/v1`,
      apiKey: KEY,
      maxRetries: 0,
      fetchOptions: { dispatcher: agent },
    })
    const heard = await client.audio.transcriptions.create({
      model: 'whisper',
      file: await toFile(recording, 'a"b.wav', { type: 'audio/wav' }),
      timestamp_granularities: ['word'],
    })
    expect(heard.text).toBe('hello')
  })

  test('as text keep their type', async () => {
    compatible.answer = { status: 200, type: 'text/html', body: 'WEBVTT' }
    const answer = await transcribe(form(file, model, part('response_format', 'vtt')))
    expect([answer.text, answer.headers['content-type']]).toEqual([
      'WEBVTT',
      'text/plain; charset=utf-8',
    ])
  })

  test.each([
    ['OpenAI’s event', 'data: {"type":"transcript.text.done","text":"a b"}\n\n'],
    ['[DONE]', 'data: [DONE]\n\n'],
  ])('as a stream end with %s', async (_name, last) => {
    const body = `data: {"type":"transcript.text.delta","delta":"a"}\n\n${last}`
    compatible.answer = { status: 200, type: 'text/event-stream', body }
    const answer = await transcribe(form(file, model, part('stream', 'true')))
    expect([answer.status, answer.text]).toEqual([200, body])
  })

  test('as a stream that breaks off end with an error', async () => {
    const body = 'data: {"type":"transcript.text.delta","delta":"a"}\n\n'
    compatible.answer = { status: 200, type: 'text/event-stream', body }
    const answer = await transcribe(form(file, model, part('stream', 'true')))
    expect(answer.text).toContain('upstream_broken')
  })

  const bare = Buffer.from('--bound\r\nContent-Disposition: form-data; name=model\r\n\r\nx\r\n')
  test.each([
    ['no model', form(file), 'invalid_request'],
    ['an empty model', form(file, part('model', '')), 'invalid_request'],
    ['no recording', form(model), 'invalid_request'],
    ['a recording that is no file', form(model, part('file', 'x')), 'invalid_request'],
    ['two models', form(file, model, part('model', 'b')), 'duplicate_member'],
    ['a model that is a file', form(file, part('model', 'a', '; filename="m"')), 'invalid_request'],
    [
      'a model in another charset',
      form(file, part('model', 'a', '\r\nContent-Type: text/plain; charset=utf-16')),
      'invalid_request',
    ],
    ['a list of models', form(file, model, part('model[]', 'b')), 'invalid_request'],
    ['a model in capitals', form(file, model, part('Model', 'b')), 'invalid_request'],
    ['a charset for all', form(file, model, part('_charset_', 'utf-16')), 'invalid_request'],
    ['an escaped name', form(file, model, part('mod%65l', 'b')), 'invalid_request'],
    [
      'an escaped quote',
      form(file, model, part('x', 'b', '; filename="a\\"; name=\\"model"')),
      'invalid_request',
    ],
    ['a bare name', form(file, model, bare), 'invalid_request'],
    [
      'another header',
      form(file, model, part('x', 'b', '\r\nContent-Transfer-Encoding: base64')),
      'invalid_request',
    ],
    ['a long model', form(file, part('model', 'm'.repeat(300))), 'invalid_request'],
    [
      'a model that is not UTF-8',
      form(file, part('model', Buffer.from([0xff]))),
      'invalid_request',
    ],
    ['a stream that may be', form(file, model, part('stream', '1')), 'invalid_request'],
    ['an unknown format', form(file, model, part('response_format', 'html')), 'invalid_request'],
    [
      'a constraint',
      form(file, model, part('provider[aci_verified]', 'true')),
      'invalid_constraint',
    ],
    [
      'too many parts',
      form(file, model, ...Array.from({ length: 64 }, () => part('x', 'y'))),
      'invalid_request',
    ],
    ['text before', Buffer.concat([Buffer.from('hi\r\n'), form(file, model)]), 'invalid_request'],
    ['text after', Buffer.concat([form(file, model), Buffer.from('hi')]), 'invalid_request'],
    ['no end', Buffer.concat([file, model]), 'invalid_request'],
    ['nothing', Buffer.alloc(0), 'invalid_request'],
    ['headers without end', Buffer.from(`--bound\r\n${'x'.repeat(5000)}`), 'invalid_request'],
  ])('with %s are refused', async (_name, body, code) => {
    const answer = await transcribe(body)
    expect([answer.status, answer.at('error.code')]).toEqual([400, code])
    expect(compatible.requests).toEqual([])
  })

  test.each([
    ['multipart/form-data'],
    ['multipart/form-data; boundary='],
    [`multipart/form-data; boundary=${'b'.repeat(71)}`],
    ['application/json'],
    ['audio/wav'],
  ])('of type %s are refused with 415', async (type) => {
    const answer = await transcribe(form(file, model), type)
    expect([answer.status, answer.at('error.code')]).toEqual([415, 'unsupported_media_type'])
  })

  test('leave no trace of the recording', () => {
    expect(world.logs.join('')).not.toContain(CANARY)
  })
})

describe('what the gateway would have to keep', () => {
  const POLICY = 'by its retention policy it keeps none'

  test.each([
    ['GET', '/v1/responses/resp_1'],
    ['DELETE', '/v1/responses/resp_1'],
    ['POST', '/v1/responses/resp_1/cancel'],
    ['GET', '/v1/responses/resp_1/input_items'],
    ['GET', '/v1/chat/completions/chatcmpl_1'],
    ['POST', '/v1/files'],
    ['GET', '/v1/files/f/content'],
    ['POST', '/v1/batches'],
    ['POST', '/v1/containers'],
    ['GET', '/v1/containers/c/files'],
    ['POST', '/v1/evals/e/runs'],
    ['POST', '/v1/conversations'],
    ['GET', '/v1/conversations/c/items'],
    ['POST', '/v1/vector_stores'],
    ['POST', '/v1/assistants'],
    ['POST', '/v1/threads/t/runs'],
    ['POST', '/v1/uploads/u/parts'],
    ['GET', '/v1/fine_tuning/jobs'],
  ] as const)('%s %s is refused, naming the retention policy', async (method, path) => {
    const answer = await world.call(path, { method, headers: { 'content-type': 'text/x' } })
    expect([answer.status, answer.at('error.code')]).toEqual([400, 'not_stateless'])
    expect(answer.at('error.message')).toContain(POLICY)
  })

  test.each([
    ['/v1/messages/batches', {}],
    ['/v1/messages/batches/b/results', {}],
    ['/v1/files', { 'anthropic-version': '2023-06-01' }],
  ])('%s in Anthropic’s shape', async (path, headers) => {
    const answer = await world.call(path, { method: 'POST', headers })
    expect([answer.status, answer.at('type'), answer.at('error.type')]).toEqual([
      400,
      'error',
      'invalid_request_error',
    ])
    expect(answer.at('error.message')).toContain(POLICY)
  })

  test('is told only to whom has a key', async () => {
    const answer = await world.call('/v1/files', { key: null })
    expect(answer.at('error.code')).toBe('missing_api_key')
  })

  test.each(['input_tokens', 'compact', 'compact?q=1'])(
    'POST /v1/responses/%s keeps nothing and is not there',
    async (path) => {
      const answer = await post(`/v1/responses/${path}`, {})
      expect(answer.at('error.code')).toBe('route_not_found')
    },
  )

  test('store: true of a chat that passes unread', async () => {
    const before = world.plain.requests.length
    const answer = await world.chat(prompt('ordinary', { store: true }))
    expect([answer.status, answer.at('error.code')]).toEqual([400, 'not_stateless'])
    expect(world.plain.requests).toHaveLength(before)
    expect((await world.chat(prompt('ordinary', { store: false }))).status).toBe(200)
  })

  test.each([
    [{ container: 'container_1' }],
    [{ container: { skills: [] } }],
    [{ tools: [{ name: 'f' }, { type: 'code_execution_20250825', name: 'code_execution' }] }],
  ])('%j of messages that pass unread', async (rest) => {
    for (const path of ['/v1/messages', '/v1/messages/count_tokens']) {
      const answer = await post(path, { ...MESSAGES, ...rest })
      expect([answer.status, answer.at('error.code')]).toEqual([400, 'not_stateless'])
    }
    expect(claude.requests).toEqual([])
    const kept = { container: null, tools: [{ type: 'custom', name: 'f' }, null] }
    expect((await post('/v1/messages', { ...MESSAGES, ...kept })).at('error.code')).not.toBe(
      'not_stateless',
    )
    expect(claude.requests).toHaveLength(1)
  })

  test('is counted as one route', async () => {
    expect((await world.admin('/metrics')).text).toMatch(/route="stateful",status="400"/)
  })
})

describe('the models in Anthropic’s shape', () => {
  const client = () =>
    new Anthropic({ baseURL: world.gateway.url, apiKey: KEY, maxRetries: 0, fetch: sdkFetch })

  test('are listed by Anthropic’s SDK, to the end', async () => {
    const names: string[] = []
    for await (const { id, type } of client().models.list()) names.push(`${type} ${id}`)
    expect(names).toContain('model command')
    expect(names).toContain('model org/slashed')
  })

  test('one by one, and none that there is not', async () => {
    expect(await client().models.retrieve('command')).toEqual({
      type: 'model',
      id: 'command',
      display_name: 'command',
      created_at: '1970-01-01T00:00:00Z',
    })
    await expect(client().models.retrieve('nothing')).rejects.toMatchObject({
      status: 404,
      error: { type: 'error', error: { type: 'not_found_error' } },
    })
  })

  test('others get OpenAI’s', async () => {
    expect((await world.call('/v1/models')).at('object')).toBe('list')
    expect((await world.call('/v1/models/command')).at('object')).toBe('model')
  })
})

describe.each(Object.keys(OPERATIONS).filter((name) => name in OPERATIONS))(
  'errors of %s',
  (name) => {
    const found = Object.values(OPERATIONS).find((_, at) => Object.keys(OPERATIONS)[at] === name)
    const path = `/v1${found?.path}`
    const anthropic = path.startsWith('/v1/messages')
    const shape = anthropic ? ['error', 'request_id', 'type'] : ['error']
    const told = (answer: Answer): unknown => {
      expect(Object.keys(Object(JSON.parse(answer.text))).toSorted()).toEqual(shape)
      expect(Object.keys(Object(answer.at('error'))).toSorted()).toEqual(
        anthropic ? ['code', 'message', 'type'] : ['code', 'message', 'param', 'type'],
      )
      expect(answer.headers['x-request-id']).toMatch(/^req_/)
      return answer.status
    }
    const type = found?.takes === 'form' ? 'multipart/form-data; boundary=b' : 'application/json'
    const send = (body: string | Buffer, given: string) =>
      world.call(path, { method: 'POST', body, headers: { 'content-type': given } })

    test('400, 401, 404, 405, 413, 415 in the shape of the dialect', async () => {
      expect(told(await send('{', type))).toBe(400)
      expect(told(await world.call(path, { method: 'POST', key: null }))).toBe(401)
      expect(told(await post(`${path}/nothing/there`, {}))).toBe(
        path === '/v1/chat/completions' || path === '/v1/responses' ? 400 : 404,
      )
      expect(told(await world.call(path, { method: 'PUT' }))).toBe(405)
      expect(told(await send(Buffer.alloc(100_000, 32), type))).toBe(413)
      expect(told(await send('a=b', 'application/x-www-form-urlencoded'))).toBe(415)
    })

    test('an unknown model is 404, and the receipt names the route', async () => {
      const known = { model: 'nothing', messages: [], input: 'a', prompt: 'a' }
      const body =
        found?.takes === 'form'
          ? '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nnothing\r\n--b\r\n' +
            'content-disposition: form-data; name="file"; filename="f"\r\n\r\n\r\n--b--'
          : json({ ...known, query: 'q', documents: ['d'] })
      const answer = await send(body, type)
      expect(told(answer)).toBe(404)
      expect((await receiptOf(world, answer)).endpoint).toBe(path)
    })
  },
)

test('every operation has a dialect', () => {
  expect(operation('transcriptions').dialect.name).toBe('openai-chat')
})

describe('the header anthropic-beta', () => {
  const asked = async (betas: string, path = '/v1/messages', model = 'opus') => {
    const answer = await post(path, { ...MESSAGES, model }, { 'anthropic-beta': betas })
    return { answer, beta: claude.requests[0]?.headers['anthropic-beta'] }
  }
  const KNOWN = 'interleaved-thinking-2025-05-14'

  test.each([
    [KNOWN, KNOWN],
    [`${KNOWN}, context-1m-2025-08-07`, `${KNOWN},context-1m-2025-08-07`],
    [`${KNOWN},${KNOWN}`, KNOWN],
    [`claude-code-20250219,oauth-2025-04-20,${KNOWN}`, KNOWN],
    ['dreaming-2026-04-21', undefined],
    ['effort', undefined],
    ['effort-2025-11-24-of-alice', undefined],
    ['Effort-2025-11-24', undefined],
    ['effort-2025-11-24;q=1', undefined],
    ['', undefined],
  ])('%j goes to Anthropic as %j', async (betas, expected) => {
    for (const path of ['/v1/messages', '/v1/messages/count_tokens']) {
      claude.requests.length = 0
      expect((await asked(betas, path)).beta).toBe(expected)
      expect(claude.requests[0]?.headers['anthropic-version']).toBe('2023-06-01')
    }
  })

  test('goes there with no more than sixteen betas', async () => {
    const many = Array.from({ length: 20 }, (_, day) => `effort-2025-11-${day + 10}`)
    expect((await asked(many.join(','))).beta).toBe(many.slice(0, 16).join(','))
  })

  test.each([
    'files-api-2025-04-14',
    'code-execution-2025-08-25',
    'mcp-client-2025-11-20',
    'mcp-servers-2025-12-04',
    'skills-2025-10-02',
    'managed-agents-2026-04-01',
  ])('is refused with %s, wherever the model is', async (beta) => {
    for (const model of ['opus', 'whisper']) {
      const { answer } = await asked(`${KNOWN},${beta}`, '/v1/messages', model)
      expect([answer.status, answer.at('error.code')]).toEqual([400, 'not_stateless'])
      expect(answer.headers['x-receipt-id']).toBeDefined()
    }
    expect([...claude.requests, ...compatible.requests]).toEqual([])
  })

  test('goes to nobody else, and from no other route', async () => {
    await asked(KNOWN, '/v1/messages', 'whisper')
    const chat = { model: 'whisper', messages: MESSAGES.messages }
    await post('/v1/chat/completions', chat, { 'anthropic-beta': 'files-api-2025-04-14' })
    expect(compatible.requests.map(({ headers }) => headers['anthropic-beta'])).toEqual([
      undefined,
      undefined,
    ])
  })
})
