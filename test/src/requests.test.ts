import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TEST_TIME } from '../support/clock.ts'
import {
  CANARY,
  eventOf,
  KEY,
  member,
  NARROW_KEY,
  prompt,
  receiptOf,
  sha256Hex,
  startWorld,
  type Answer,
  type World,
} from './harness.ts'

const priced = (provider: string, input: number, output: number) => ({
  model: 'test-model',
  provider,
  input_per_million_usd: input,
  output_per_million_usd: output,
})

const OTHER_TEAM = 'vg-test-key-of-another-team'

let world: World
beforeAll(async () => {
  world = await startWorld({
    edit: (file) => {
      Object.assign(file.limits, {
        keep_alive_seconds: 1,
        first_token_seconds: 3,
        retry_budget_seconds: 1,
      })
      Object.assign(file, { prices: [priced('tee', 3, 15), priced('tee-backup', 1, 20)] })
      for (const model of file.models) {
        if (model.name === 'ordinary-resilient') {
          Object.assign(model, { aliases: ['gpt', 'vendor/gpt'] })
        }
        if (model.name === 'org/slashed') Object.assign(model, { padding: 'off' })
      }
      const other = {
        id: 'other-team',
        team: 'others',
        sha256: sha256Hex(OTHER_TEAM),
        models: '*',
        plain_models: 'allow',
      }
      file.keys.push(other)
    },
    extra: {
      providers: [],
      models: [
        {
          name: 'quick',
          confidentiality: 'plain',
          order: 'latency',
          routes: ['plain', 'plain-backup'].map((provider) => ({ provider, model: 'q' })),
        },
        {
          name: 'cheap',
          confidentiality: 'attested',
          order: 'cost',
          routes: ['tee-backup', 'tee'].map((provider) => ({ provider, model: 'test-model' })),
        },
        {
          name: 'sticky',
          confidentiality: 'plain',
          sticky: 'key',
          routes: ['plain', 'plain-backup'].map((provider) => ({ provider, model: 's' })),
        },
        {
          name: 'twin',
          confidentiality: 'plain',
          routes: [
            { provider: 'plain', model: 'q' },
            { provider: 'plain-backup', model: 't' },
          ],
        },
        {
          name: 'padded',
          confidentiality: 'plain',
          padding: 'on',
          routes: [{ provider: 'plain', model: 'test-model' }],
        },
      ],
    },
  })
  await world.gateway.tick()
})
afterAll(() => world.close())
beforeEach(() => {
  for (const server of [world.model, world.backup, world.plain, world.plainBackup]) {
    server.reset()
    Object.assign(server.chat, {
      answer: null,
      delayMs: 0,
      chunkDelayMs: 0,
      cutAfterChunks: null,
      hang: false,
    })
  }
})

const attempts = (answer: Answer): unknown => answer.headers['x-vouchgate-attempts']
const sentTo = (server: World['plain'] | World['model']): unknown[] =>
  server.requests.map(({ body }): unknown => JSON.parse(Buffer.from(body).toString()))
const sse = (...frames: unknown[]) => ({
  status: 200,
  headers: { 'content-type': 'text/event-stream' },
  body: frames
    .map((data) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
    .join(''),
})
const chunk = (delta: object, rest: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'test-model',
  choices: [{ index: 0, delta, finish_reason: null }],
  ...rest,
})
const limited = (retryAfter: string, name = 'retry-after') => ({
  status: 429,
  headers: { 'content-type': 'application/json', [name]: retryAfter },
  body: '{}',
})

describe('a model may be asked for', () => {
  test.each([
    ['by an alias', 'gpt', 'plain'],
    ['by an alias with a slash', 'vendor/gpt', 'plain'],
    ['with its provider', 'plain-backup/ordinary-resilient', 'plain-backup'],
    ['by an alias with its provider', 'plain-backup/vendor/gpt', 'plain-backup'],
    ['as its provider calls it', 'plain-backup/s', 'plain-backup'],
    ['by a name that has a slash itself', 'org/slashed', 'tee'],
  ])('%s', async (_, model, provider) => {
    const answer = await world.chat(prompt(model))
    expect([answer.status, attempts(answer)]).toEqual([200, `${provider}:ok`])
  })

  test.each([
    ['a provider that does not serve it', 'tee-backup/secure'],
    ['a provider of the other class', 'plain/secure'],
    ['no provider', 'nobody/secure'],
    ['what its provider calls two models', 'plain/q'],
    ['what another provider calls it', 'plain/t'],
    ['a name that is another model', 'plain/test-model'],
    ['nothing', 'gpt5'],
  ])('but not with %s', async (_, model) => {
    const answer = await world.chat(prompt(model))
    expect([answer.status, answer.at('error.code')]).toEqual([404, 'model_not_found'])
    expect(world.plain.requests).toEqual([])
  })

  test('under no name by a key that may not use it', async () => {
    for (const model of ['gpt', 'plain/ordinary-resilient', 'tee/secure']) {
      const answer = await world.chat(prompt(model), { key: NARROW_KEY })
      expect([answer.status, answer.at('error.code')]).toEqual([403, 'model_not_allowed'])
    }
  })

  test('only by one of its providers, then', async () => {
    world.backup.chat.answer = { status: 500, body: '{}' }
    const answer = await world.chat(prompt('tee-backup/resilient'))
    expect(attempts(answer)).toBe('tee-backup:upstream_error')
    expect(world.model.requests).toEqual([])
  })

  test('by what the list of models shows', async () => {
    const list = await world.call('/v1/models')
    expect(list.text).toContain('"vendor/gpt"')
    expect((await world.call('/v1/models/gpt')).at('id')).toBe('gpt')
    const narrow = await world.call('/v1/models', { key: NARROW_KEY })
    expect(narrow.text).not.toContain('gpt')
  })
})

describe('preferences under provider', () => {
  const ask = (provider: unknown, rest: object = {}) =>
    world.chat(prompt('resilient', { provider, ...rest }))

  test.each([
    [{ order: ['tee-backup'] }, 'tee-backup'],
    [{ order: ['nobody', 'tee-backup', 'tee'] }, 'tee-backup'],
    [{ only: ['tee-backup'] }, 'tee-backup'],
    [{ ignore: ['tee'] }, 'tee-backup'],
    [{ only: ['tee', 'plain'], aci_verified: true }, 'tee'],
    [{ sort: 'price' }, 'tee'],
    [{ max_price: { prompt: 1 } }, 'tee-backup'],
    [{ max_price: { completion: 15 } }, 'tee'],
    [{ max_price: { prompt: 3, completion: 20 }, order: ['tee-backup'] }, 'tee-backup'],
    [{}, 'tee'],
    [null, 'tee'],
  ])('%j is answered by %s, and not forwarded', async (provider, expected) => {
    const answer = await ask(provider)
    expect([answer.status, attempts(answer)]).toEqual([200, `${expected}:ok`])
    const [sent] = sentTo(expected === 'tee' ? world.model : world.backup)
    expect(Object.keys(Object(sent)).toSorted()).toEqual(['cache_salt', 'messages', 'model'])
  })

  test.each([
    [{ zdr: true }],
    [{ order: 'tee' }],
    [{ order: [1] }],
    [{ only: Array.from({ length: 65 }, () => 'tee') }],
    [{ only: ['t'.repeat(65)] }],
    [{ ignore: null }],
    [{ allow_fallbacks: 'no' }],
    [{ sort: 'best' }],
    [{ max_price: 1 }],
    [{ max_price: null }],
    [{ max_price: {} }],
    [{ max_price: { prompt: '1' } }],
    [{ max_price: { prompt: -1 } }],
    [{ max_price: { prompt: 1, request: 0 } }],
    ['tee'],
    [['tee']],
    [7],
    [false],
  ])('%j is refused, since it would not be followed', async (provider) => {
    const answer = await ask(provider)
    expect([answer.status, answer.at('error.code')]).toEqual([400, 'invalid_preference'])
    expect(answer.at('error.message')).toMatch(/^provider has a member that is not known/)
    expect([...world.model.requests, ...world.backup.requests]).toEqual([])
  })

  test.each([
    [{ only: ['plain'] }],
    [{ only: [] }],
    [{ ignore: ['tee', 'tee-backup'] }],
    [{ only: ['tee'], ignore: ['tee'] }],
    [{ max_price: { prompt: 2.9, completion: 19.9 } }],
  ])('%j leaves nothing: no route is ever added', async (provider) => {
    const answer = await ask(provider)
    expect([answer.status, answer.at('error.code')]).toEqual([404, 'no_allowed_provider'])
    expect([...world.model.requests, ...world.plain.requests]).toEqual([])
  })

  test('without fallbacks the first route is the only one', async () => {
    world.model.chat.answer = { status: 500, body: '{}' }
    const alone = await ask({ allow_fallbacks: false })
    expect([alone.status, attempts(alone)]).toEqual([502, 'tee:upstream_error'])
    const both = await ask({ allow_fallbacks: true })
    expect([both.status, attempts(both)]).toEqual([200, 'tee:upstream_error,tee-backup:ok'])
  })
})

describe('attempts', () => {
  test('are told of a refusal by the request’s own fault', async () => {
    world.plain.chat.answer = { status: 400, body: '{"error":{"message":"no"}}' }
    const answer = await world.chat(prompt('ordinary'))
    expect([answer.status, attempts(answer)]).toEqual([400, 'plain:request_rejected'])
  })

  test('have no header where no provider was asked', async () => {
    expect(attempts(await world.chat(prompt('nothing')))).toBeUndefined()
  })

  test.each([
    ['in seconds', limited('1')],
    ['in milliseconds', limited('600', 'retry-after-ms')],
    ['by a date', limited(new Date((TEST_TIME + 1) * 1000).toUTCString())],
  ])('at a provider that says %s when to come again are repeated', async (_, refusal) => {
    world.plain.chat.answer = refusal
    const asking = world.chat(prompt('ordinary'))
    await expect.poll(() => world.plain.requests.length).toBe(1)
    world.plain.chat.answer = null
    const answer = await asking
    expect([answer.status, attempts(answer)]).toEqual([200, 'plain:upstream_rate_limited,plain:ok'])
    const events = (await receiptOf(world, answer)).event_log
    expect(events.filter(({ type }) => type === 'vouchgate.attempt')).toMatchObject([
      { upstream_name: 'plain', code: 'upstream_rate_limited' },
    ])
  })

  test.each([['2'], ['x'], ['Fri, 20 Nov 2026 00:00:02 GMT']])(
    'are not repeated past the budget: %s',
    async (retryAfter) => {
      world.plain.chat.answer = limited(retryAfter)
      const answer = await world.chat(prompt('ordinary'))
      expect([answer.status, attempts(answer)]).toEqual([429, 'plain:upstream_rate_limited'])
    },
  )

  test('are not repeated for ever where no wait is asked for', async () => {
    world.plain.chat.answer = limited('0')
    const answer = await world.chat(prompt('ordinary'))
    expect(answer.status).toBe(429)
    expect(world.plain.requests).toHaveLength(4)
  })

  test('are repeated only where no other route answers', async () => {
    world.plain.chat.answer = limited('0')
    const answer = await world.chat(prompt('ordinary-resilient'))
    expect(attempts(answer)).toBe('plain:upstream_rate_limited,plain-backup:ok')
  })

  test('end when the client goes away while a provider is waited for', async () => {
    world.plain.chat.answer = limited('1')
    const controller = new AbortController()
    const asking = world.chat(prompt('ordinary'), { signal: controller.signal })
    await expect.poll(() => world.plain.requests.length).toBe(1)
    controller.abort()
    await expect(asking).rejects.toThrow(/abort/i)
    await expect.poll(() => world.logs.join('')).toContain('"end":"client_abort"')
    expect(world.plain.requests).toHaveLength(1)
  })
})

describe('an order by cost', () => {
  test('asks the cheapest, unless the client sorts otherwise', async () => {
    expect(attempts(await world.chat(prompt('cheap')))).toBe('tee:ok')
    const preferred = prompt('cheap', { provider: { order: ['tee-backup'] } })
    expect(attempts(await world.chat(preferred))).toBe('tee-backup:ok')
  })

  test('and a price that nobody knows is over every bound', async () => {
    const bounded = prompt('ordinary', { provider: { max_price: { prompt: 1_000_000 } } })
    const answer = await world.chat(bounded)
    expect([answer.status, answer.at('error.code')]).toEqual([404, 'no_allowed_provider'])
    expect(world.plain.requests).toEqual([])
  })
})

describe('an order by latency', () => {
  test('asks the one that answered soonest', async () => {
    world.plain.chat.delayMs = 150
    await world.chat(prompt('quick'))
    await world.chat(prompt('quick'))
    const answers = [await world.chat(prompt('quick')), await world.chat(prompt('quick'))]
    expect(answers.map(attempts)).toEqual(['plain-backup:ok', 'plain-backup:ok'])
  })
})

test('a sticky model is asked at one provider by one key', async () => {
  const asked = new Set<unknown>()
  for (let call = 0; call < 4; call++) asked.add(attempts(await world.chat(prompt('sticky'))))
  expect(asked.size).toBe(1)
})

describe('a stream that passes unread', () => {
  const streaming = (model: string, rest: object = {}) =>
    world.chat(prompt(model, { stream: true, ...rest }))

  test.each([
    ['a role', chunk({ role: 'assistant', content: '' })],
    ['empty deltas', chunk({ content: '', tool_calls: [] })],
    ['no choices', { ...chunk({}), choices: [] }],
  ])('can still come from another provider after %s', async (_, first) => {
    world.plain.chat.answer = sse(first)
    const answer = await streaming('ordinary-resilient')
    expect([answer.status, attempts(answer)]).toEqual([
      200,
      'plain:upstream_broken,plain-backup:ok',
    ])
    expect(answer.text).toMatch(/\[DONE\]\n\n$/)
    expect(answer.text).not.toContain(JSON.stringify(first))
  })

  test.each([
    ['text', chunk({ content: 'x' })],
    ['a tool call', chunk({ tool_calls: [{ index: 0 }] })],
    ['reasoning', chunk({ reasoning_content: 'x' })],
    ['an end', { ...chunk({}), choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }],
    ['text of a completion', { ...chunk({}), choices: [{ index: 0, text: 'x' }] }],
    ['what is not known', { unknown: true }],
  ])('cannot after %s: it breaks', async (_, first) => {
    world.plain.chat.answer = sse(first)
    const answer = await streaming('ordinary-resilient')
    expect(attempts(answer)).toBe('plain:ok')
    expect(answer.text).toMatch(/"code":"upstream_broken"}}\n\n$/)
    expect(world.plainBackup.requests).toEqual([])
  })

  test.each([
    [{ error: { code: 503 } }, 'upstream_overloaded'],
    [{ error: { code: 429 } }, 'upstream_rate_limited'],
    [{ error: { type: 'overloaded_error' } }, 'upstream_overloaded'],
    [{ error: { message: 'm' } }, 'upstream_error'],
  ])('comes from another provider where one begins with %j', async (failure, code) => {
    world.plain.chat.answer = sse(chunk({ role: 'assistant' }), failure)
    const answer = await streaming('ordinary-resilient')
    expect(attempts(answer)).toBe(`plain:${code},plain-backup:ok`)
  })

  test('shows what a provider has against the request', async () => {
    world.plain.chat.answer = sse({ error: { code: 400, message: 'too long' } })
    const answer = await streaming('ordinary-resilient')
    expect(answer.text).toContain('too long')
    expect(world.plainBackup.requests).toEqual([])
  })

  test('is passed on once its start is over the bound', async () => {
    const start = Array.from({ length: 300 }, () => chunk({}, { filler: 'x'.repeat(1024) }))
    world.plain.chat.answer = sse(...start)
    const answer = await streaming('ordinary-resilient')
    expect(attempts(answer)).toBe('plain:ok')
    expect(answer.text).toContain('upstream_broken')
  })

  test('comes whole where nothing but its start is in it', async () => {
    const whole = sse(chunk({ role: 'assistant' }), '[DONE]')
    world.plain.chat.answer = whole
    expect((await streaming('ordinary')).text).toBe(whole.body)
  })

  test('is kept open while nobody answers, by comments that the receipt covers', async () => {
    world.plain.chat.delayMs = 1300
    const answer = await streaming('ordinary')
    expect(answer.text).toMatch(/^: keep-alive\n\ndata: [^]*\[DONE\]\n\n$/)
    expect(attempts(answer)).toBe('plain:waiting')
    const receipt = await receiptOf(world, answer)
    expect(eventOf(receipt, 'response.returned')?.['body_hash']).toBe(
      `sha256:${sha256Hex(answer.bytes)}`,
    )
  })

  test('is kept open between its frames', async () => {
    world.plain.chat.chunkDelayMs = 1200
    const answer = await world.chat({
      ...prompt('ordinary', { stream: true }),
      messages: [{ role: 'user', content: '' }],
    })
    expect(answer.text).toContain('}\n\n: keep-alive\n\ndata: ')
    expect(answer.text).toMatch(/\[DONE\]\n\n$/)
  }, 15_000)

  test('can come from another provider after a comment', async () => {
    world.plain.chat.delayMs = 1300
    world.plain.chat.answer = { status: 500, body: '{}' }
    const answer = await streaming('ordinary-resilient')
    expect(answer.text).toMatch(/^: keep-alive\n\ndata: [^]*\[DONE\]\n\n$/)
  })

  test.each([
    [500, '{}', 'upstream_error'],
    [400, '{"error":{}}', 'request_rejected'],
    [200, '{"choices":[]}', 'upstream_malformed'],
  ])('tells a failure within it after a comment: %s', async (status, body, code) => {
    world.plain.chat.delayMs = 1300
    world.plain.chat.answer = { status, body }
    const answer = await streaming('ordinary')
    expect(answer.status).toBe(200)
    expect(answer.text).toMatch(/^: keep-alive\n\ndata: \{"error":[^\n]*\n\n$/)
    expect(member(JSON.parse(answer.text.slice(answer.text.indexOf('{'))), 'error.code')).toBe(code)
    expect(eventOf(await receiptOf(world, answer), 'response.returned')?.['body_hash']).toBe(
      `sha256:${sha256Hex(answer.bytes)}`,
    )
  })

  test('must have its first content in time', async () => {
    world.plain.chat.hang = true
    const answer = await streaming('ordinary-resilient')
    expect(answer.text).toMatch(/^(?:: keep-alive\n\n)+data: [^]*\[DONE\]\n\n$/)
    const receipt = await receiptOf(world, answer)
    expect(eventOf(receipt, 'vouchgate.attempt')).toMatchObject({
      upstream_name: 'plain',
      code: 'upstream_timeout',
    })
  })
})

describe('padding', () => {
  const text = 'a bb ccccccccccccccccc d'
  const ask = (model: string) =>
    world.chat({ model, stream: true, messages: [{ role: 'user', content: text }] })
  const frames = (answer: Answer): string[] =>
    answer.text.split('\n\n').filter((frame) => frame !== '')

  test.each(['padded', 'secure'])('fills the frames of %s to one size', async (model) => {
    const answer = await ask(model)
    const sizes = new Set(frames(answer).map((frame) => frame.length + 2))
    expect(sizes.size).toBe(1)
    expect(Math.max(...sizes) % 64).toBe(0)
    const comments = frames(answer).map((frame) => frame.split('\n')[0])
    expect(new Set(comments).size).toBe(comments.length)
    for (const comment of comments) expect(comment).toMatch(/^: [A-Za-z0-9_-]*$/)
  })

  test('changes nothing else, and the receipt says so', async () => {
    const answer = await ask('padded')
    world.plain.reset()
    const plain = await ask('ordinary')
    const id = /"id":"[^"]*"/g
    const without = answer.text.replaceAll(/^: [^\n]*\n/gm, '')
    expect(without.replaceAll(id, '')).toBe(plain.text.replaceAll(id, ''))
    expect(eventOf(await receiptOf(world, answer), 'vouchgate.padding')).toEqual({
      type: 'vouchgate.padding',
      method: 'sse_comment',
      multiple: 64,
    })
    expect(eventOf(await receiptOf(world, plain), 'vouchgate.padding')).toBeUndefined()
  })

  test('can be turned off for an attested model', async () => {
    const answer = await ask('org/slashed')
    expect(answer.text).not.toMatch(/^:/m)
  })

  test('leaves frames alone that the provider padded, and comments', async () => {
    const own = sse(chunk({ content: '"obfuscation"' }, { obfuscation: 'abc' }), '[DONE]')
    world.plain.chat.answer = { ...own, body: `: hello\n\n${own.body}` }
    const answer = await ask('padded')
    expect(answer.text.startsWith(`: hello\n\n${own.body.split('\n\n')[0]}\n\n`)).toBe(true)
    const quoted = sse(chunk({ content: '"obfuscation":' }), '[DONE]')
    world.plain.chat.answer = quoted
    expect((await ask('padded')).text).toMatch(/^: /)
  })

  test('keeps frames together that end in CR LF', async () => {
    const { body, ...rest } = sse(chunk({ content: 'x' }), '[DONE]')
    world.plain.chat.answer = { ...rest, body: body.replaceAll('\n', '\r\n') }
    const answer = await ask('padded')
    expect(answer.text).toMatch(/^: [^\n]+\ndata: [^\r]*\r\n\r\n: [^\n]+\ndata: \[DONE\]\r\n\r\n$/)
  })

  test('ends with an error that can be read where the provider breaks', async () => {
    world.plain.chat.cutAfterChunks = 2
    const answer = await ask('padded')
    expect(answer.text).toMatch(/\n\ndata: \{"error":[^\n]*\n\n$/)
    expect(answer.text).not.toContain('[DONE]')
  })
})

describe('names that a client gives its users and caches', () => {
  const NAMES = {
    user: CANARY,
    safety_identifier: CANARY,
    prompt_cache_key: CANARY,
    cache_salt: CANARY,
    metadata: { user_id: CANARY, purpose: 'kept' },
  }
  const sent = async (model: string, extra: object, key = KEY): Promise<unknown> => {
    world.plain.reset()
    world.model.reset()
    const messages = [{ role: 'user', content: 'x' }]
    const answer = await world.chat({ model, messages, ...extra }, { key })
    expect(answer.status).toBe(200)
    return sentTo(model === 'secure' ? world.model : world.plain)[0]
  }

  test.each(['secure', 'ordinary'])('never reach a provider of %s as they are', async (model) => {
    const body = await sent(model, NAMES)
    expect(JSON.stringify(body)).not.toContain(CANARY)
    expect(member(body, 'metadata.purpose')).toBe('kept')
    const names = [
      'user',
      'safety_identifier',
      'prompt_cache_key',
      'cache_salt',
      'metadata.user_id',
    ]
    const values = names.map((name) => member(body, name))
    for (const value of values) expect(value).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(new Set(values).size).toBe(values.length)
  })

  test('are the same for one team and others for another', async () => {
    const mine = await sent('ordinary', NAMES)
    expect(await sent('ordinary', NAMES)).toEqual(mine)
    const theirs = await sent('ordinary', NAMES, OTHER_TEAM)
    for (const name of ['user', 'prompt_cache_key', 'cache_salt']) {
      expect(member(theirs, name)).not.toBe(member(mine, name))
    }
  })

  test.each([
    [{ user: null }, null],
    [{ user: 7 }, expect.stringMatching(/^[\w-]{43}$/)],
    [{ user: { id: CANARY } }, expect.stringMatching(/^[\w-]{43}$/)],
  ])('%j is not forwarded where it says something', async (extra, expected) => {
    expect(member(await sent('ordinary', extra), 'user')).toEqual(expected)
  })

  test('escaped names are the same names', async () => {
    const body = `{"model":"ordinary","\\u0075ser":"${CANARY}","messages":[]}`
    await world.chat(body)
    expect(JSON.stringify(sentTo(world.plain))).not.toContain(CANARY)
  })

  test('an attested provider keeps the caches of teams apart, unasked', async () => {
    const mine = member(await sent('secure', {}), 'cache_salt')
    expect(mine).toMatch(/^[\w-]{43}$/)
    expect(member(await sent('secure', {}), 'cache_salt')).toBe(mine)
    expect(member(await sent('secure', {}, OTHER_TEAM), 'cache_salt')).not.toBe(mine)
    expect(member(await sent('ordinary', {}), 'cache_salt')).toBeUndefined()
  })

  test.each(['/v1/messages', '/v1/responses'])('so it does for %s', async (path) => {
    const body = JSON.stringify({
      model: 'secure',
      max_tokens: 5,
      messages: [{ role: 'user', content: 'x' }],
      input: 'x',
      metadata: { user_id: CANARY },
    })
    const headers = { 'content-type': 'application/json' }
    const { input: _, ...anthropic } = JSON.parse(body)
    const { messages: __, max_tokens: ___, ...responses } = JSON.parse(body)
    const own = JSON.stringify(path === '/v1/messages' ? anthropic : responses)
    const answer = await world.call(path, { method: 'POST', body: own, headers })
    expect(answer.status).toBe(200)
    const [to] = sentTo(world.model)
    expect(member(to, 'cache_salt')).toMatch(/^[\w-]{43}$/)
    expect(JSON.stringify(to)).not.toContain(CANARY)
  })
})
