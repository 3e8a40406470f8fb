import { sha256, type E2eeBinding } from '@vouchgate/attestation'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { Sensitive, expose } from '../../src/sensitive.ts'
import { NearClientKey, NearRecipient } from '../../src/upstream/near-field.ts'
import { FieldOpening } from '../../src/upstream/opening-sink.ts'
import type { SealedExchange } from '../../src/upstream/seal.ts'
import { sealNear } from '../../src/upstream/seal-near.ts'
import { SendError, type ResponseSink } from '../../src/upstream/send.ts'
import {
  nearOpen,
  nearSeal,
  newNearKey,
  openNearRequest,
  scalarOf,
  sealNearReply,
  type NearKey,
} from '../support/near-e2ee.ts'
import { hasVectors, vectorJson } from '../support/vectors.ts'
import { member } from './harness.ts'

const CANARY = 'canary-prompt-7e1f93'
const node = newNearKey()

async function bindingOf(key: Uint8Array): Promise<E2eeBinding> {
  const publicKey = Uint8Array.from(key)
  return {
    kind: 'e2ee-public-key',
    protocol: 'near-ed25519-v2',
    keyId: null,
    publicKey,
    digest: await sha256(publicKey),
  }
}

const outboundOf = (body: unknown) => ({
  message: {
    operation: '/chat/completions',
    body: new Sensitive(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))),
    stream: false,
    signal: AbortSignal.timeout(60_000),
  },
  path: '/v1/chat/completions',
  apiKey: new Sensitive('key'),
  authorize: () => ({}),
})

const sealed = async (body: unknown, key: NearKey = node): Promise<SealedExchange> =>
  sealNear(outboundOf(body), await bindingOf(key.publicKey))

const wire = (exchange: SealedExchange): string => expose(exchange.request.body).toString()

/** What the node makes of the request. */
function understood(exchange: SealedExchange): unknown {
  const request = JSON.parse(wire(exchange))
  openNearRequest(request, node.seed)
  return request
}

/** Members of requests, and names that objects have of their own. */
const NAMES =
  'content text name arguments function tool_calls tools parameters refusal reasoning audio data id type role stop user metadata tool_choice stream_options response_format temperature logit_bias seed __proto__ toString constructor'.split(
    ' ',
  )

const user = (content: unknown, extra: object = {}) => ({
  model: 'm',
  messages: [{ role: 'user', content }],
  ...extra,
})

class Collected implements ResponseSink {
  status = 0
  headers: Record<string, unknown> = {}
  text = ''
  calls = 0
  ready = true
  sent(): void {
    this.calls += 1
  }
  head(status: number, headers: Record<string, unknown>): void {
    this.status = status
    this.headers = headers
  }
  data(chunk: Buffer): boolean {
    this.text += chunk.toString()
    return this.ready
  }
}

const clientKeyOf = (exchange: SealedExchange): Buffer =>
  Buffer.from(exchange.request.headers['x-client-pub-key'] ?? '', 'hex')

/** A reply of this type over the wire, cut into pieces of `step` bytes. */
async function opened(
  reply: (client: Buffer) => string,
  type = 'application/json',
  step = 1 << 16,
): Promise<Collected> {
  const exchange = await sealed(user('hello'))
  const sink = new Collected()
  const opening = exchange.open(sink)
  const bytes = Buffer.from(reply(clientKeyOf(exchange)))
  opening.head(200, { 'content-type': type, 'content-length': String(bytes.length), 'x-a': '1' })
  for (let at = 0; at < bytes.length; at += step) {
    opening.data(bytes.subarray(at, at + step), () => undefined)
  }
  opening.end()
  return sink
}

const completion = (message: object, choice: object = {}, rest: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [
    { index: 0, message: { role: 'assistant', ...message }, finish_reason: 'stop', ...choice },
  ],
  usage: { prompt_tokens: 1, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 0 } },
  ...rest,
})

const sealedReply =
  (value: object) =>
  (client: Buffer): string => {
    const copy = structuredClone(value)
    sealNearReply({ ...copy }, client)
    return JSON.stringify(copy)
  }

const events = (...chunks: readonly (object | string)[]) => {
  return (client: Buffer): string =>
    chunks
      .map((chunk) => {
        if (typeof chunk === 'string') return chunk
        return `data: ${sealedReply(chunk)(client)}\n\n`
      })
      .join('')
}

const delta = (content: object, finish: string | null = null) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  model: 'm',
  choices: [{ index: 0, delta: content, finish_reason: finish, logprobs: null }],
})

const STREAM = 'text/event-stream; charset=utf-8'
const DONE = 'data: [DONE]\n\n'

const failure = async (run: () => Promise<unknown>): Promise<string> => {
  try {
    await run()
  } catch (error) {
    if (error instanceof SendError) return error.failure
    if (error instanceof GatewayError) return error.code
    throw error
  }
  return 'nothing'
}

describe('one field', () => {
  test('is read by another implementation, and the other way round', () => {
    expect(nearOpen(new NearRecipient(node.publicKey).seal('héllo 🌍'), node.seed)).toBe('héllo 🌍')
    const client = new NearClientKey()
    expect(client.open(nearSeal('zurück', Buffer.from(client.publicKeyHex, 'hex')))).toBe('zurück')
  })

  test('has a key and nonce of its own each time', () => {
    const recipient = new NearRecipient(node.publicKey)
    const parts = Array.from({ length: 8 }, () => recipient.seal('same').slice(0, 112))
    expect(new Set(parts.map((part) => part.slice(0, 64))).size).toBe(8)
    expect(new Set(parts.map((part) => part.slice(64))).size).toBe(8)
  })

  test.each([
    ['the identity', `01${'00'.repeat(31)}`],
    ['a point of order 4', '00'.repeat(32)],
    ['no point', `02${'00'.repeat(31)}`],
    ['a short key', 'ab'],
  ])('is encrypted to nobody whose key is %s', (_, hex) => {
    expect(() => new NearRecipient(Buffer.from(hex, 'hex'))).toThrow('key_mismatch')
  })

  test.each([
    ['the key', 0],
    ['the nonce', 64],
    ['the ciphertext', 112],
    ['the tag', 150],
  ])('does not open with another digit in %s', (_, at) => {
    const client = new NearClientKey()
    const whole = nearSeal('some text', Buffer.from(client.publicKeyHex, 'hex'))
    const digit = whole[at] === '0' ? '1' : '0'
    expect(() => client.open(whole.slice(0, at) + digit + whole.slice(at + 1))).toThrow(
      'undecryptable',
    )
  })

  test('does not open with the key of another message', () => {
    const other = new NearClientKey()
    const text = nearSeal('some text', Buffer.from(other.publicKeyHex, 'hex'))
    expect(() => new NearClientKey().open(text)).toThrow('undecryptable')
  })

  test('is no text where its bytes are none', () => {
    const client = new NearClientKey()
    const recipient = new NearRecipient(Buffer.from(client.publicKeyHex, 'hex'))
    expect(client.open(recipient.seal('\ud800'))).toBe('\ufffd')
    expect(client.open(recipient.seal(''))).toBe('')
  })

  test.each(['abc', 'zz'.repeat(80), 'ab'.repeat(71), 'a'.repeat(145)])(
    'is not sealed where it reads %s',
    (text) => {
      expect(() => new NearClientKey().open(text)).toThrow('not_encrypted')
    },
  )

  test.skipIf(!hasVectors)('converts keys as libsodium does', () => {
    const vectors = vectorJson('providers', 'e2ee-vectors', 'vectors.json')
    const box = member(vectors, 'nearai_v1_ed25519_box')
    const seed = Buffer.from(String(member(box, 'server_ed25519_seed')), 'hex')
    expect(scalarOf(seed).toString('hex')).toBe(member(box, 'server_x25519_secret'))
    const key = new NearClientKey(seed)
    const publicKey = Buffer.from(key.publicKeyHex, 'hex')
    expect(nearOpen(new NearRecipient(publicKey).seal('x'), seed)).toBe('x')
    expect(key.open(nearSeal('y', publicKey))).toBe('y')
  })
})

describe('a request', () => {
  const everything = {
    model: 'm',
    messages: [
      { role: 'system', content: 'SECRET-1' },
      { role: 'user', name: 'SECRET-2', content: [{ type: 'text', text: 'SECRET-3' }] },
      {
        role: 'assistant',
        content: null,
        refusal: 'SECRET-4',
        reasoning: 'SECRET-5',
        reasoning_content: 'SECRET-6',
        audio: { id: 'audio_1', data: 'SECRET-7' },
        tool_calls: [
          {
            id: 'call_1',
            type: 'function',
            function: { name: 'SECRET-8', arguments: '{"a":"SECRET-9"}' },
          },
        ],
        function_call: { name: 'SECRET-10', arguments: 'SECRET-11' },
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'SECRET-12' },
    ],
    tools: [
      {
        type: 'function',
        function: {
          name: 'SECRET-13',
          description: 'SECRET-14',
          parameters: { type: 'object', properties: { 'SECRET-15': { type: 'string' } } },
          strict: true,
        },
      },
    ],
    tool_choice: { type: 'function', function: { name: 'SECRET-16' } },
    function_call: { name: 'SECRET-17' },
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0.5,
    max_tokens: 100,
    response_format: { type: 'json_object' },
    reasoning_effort: 'low',
    chat_template_kwargs: { enable_thinking: false },
    stop: null,
    logprobs: true,
    top_logprobs: 2,
    store: false,
  }

  test('carries every string that is content encrypted, and the node reads it', async () => {
    const exchange = await sealed(everything)
    expect(wire(exchange)).not.toContain('SECRET')
    const { stop: _null, ...expected } = everything
    expect(understood(exchange)).toEqual(expected)
  })

  test('names protocol, keys and version in its headers', async () => {
    const { request } = await sealed(user('x'))
    expect(request.path).toBe('/v1/chat/completions')
    expect(request.headers).toEqual({
      'x-signing-algo': 'ed25519',
      'x-client-pub-key': expect.stringMatching(/^[0-9a-f]{64}$/),
      'x-model-pub-key': node.publicKey.toString('hex'),
      'x-encryption-version': '2',
      'x-encrypt-all-fields': 'true',
    })
  })

  test('has a client key of its own each time', async () => {
    const keys = await Promise.all([1, 2, 3].map(async () => clientKeyOf(await sealed(user('x')))))
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(3)
  })

  test('leaves an empty string empty', async () => {
    expect(JSON.parse(wire(await sealed(user(''))))).toEqual(user(''))
  })

  test('sends text that is a JSON list as text, not as parts', async () => {
    const read = understood(await sealed(user('[1, 2]')))
    expect(member(read, 'messages.0.content')).toEqual([{ type: 'text', text: '[1, 2]' }])
    const other = understood(await sealed(user('[not a list')))
    expect(member(other, 'messages.0.content')).toBe('[not a list')
  })

  const tool = (extra: object) => ({
    tools: [{ type: 'function', function: { name: 'f' }, ...extra }],
  })
  test.each([
    ['stop', { stop: ['word'] }],
    ['logit_bias', { logit_bias: { '50256': -100 } }],
    ['prediction', { prediction: { type: 'content', content: 'x' } }],
    ['metadata', { metadata: { a: 'b' } }],
    ['user', { user: 'someone' }],
    ['web_search_options', { web_search_options: { search_context_size: 'low' } }],
    ['functions', { functions: [{ name: 'f' }] }],
    ['a schema', { response_format: { type: 'json_schema', json_schema: { name: 'x' } } }],
    ['a grammar', { guided_json: { type: 'object' } }],
    ['a template argument with words', { chat_template_kwargs: { thinking: 'x' } }],
    ['an unknown template argument', { chat_template_kwargs: { persona: true } }],
    ['an unknown stream option', { stream_options: { note: true } }],
    ['a reasoning effort that is text', { reasoning_effort: 'tell them' }],
    ['a number that is text', { temperature: 'tell them' }],
    ['a flag that is text', { stream: 'tell them' }],
    ['a tool of another type', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
    ['an unknown member of a tool', tool({ note: 'x' })],
    ['a chosen tool of another type', { tool_choice: { type: 'allowed_tools', tools: [] } }],
    ['a tool choice that is text', { tool_choice: 'tell them' }],
    ['a list of modalities', { modalities: ['text', 'audio'] }],
    ['provider preferences', { provider: { order: ['x'] } }],
    ['storage', { store: true }],
    ['an unknown member', { tell_them: true }],
    ['messages that are no list', { messages: { role: 'user', content: 'x' } }],
    ['a message that is no object', { messages: ['x'] }],
    ['a role that is text', { messages: [{ role: 'tell them', content: 'x' }] }],
    ['content that is an object', { messages: [{ role: 'user', content: { text: 'x' } }] }],
    ['an unknown member of a message', { messages: [{ role: 'user', content: 'x', note: 'x' }] }],
    ['a call id that is text', { messages: [{ role: 'tool', content: 'x', tool_call_id: 'a b' }] }],
    ['a name that is no string', { messages: [{ role: 'user', content: 'x', name: 1 }] }],
  ])('is refused with %s', async (_, extra) => {
    expect(await failure(() => sealed(user(CANARY, extra)))).toBe('request_not_encryptable')
  })

  test('whatever it is made of, is refused or leaves no word of it in clear', async () => {
    const SECRET = 'a secret word'
    const name = fc.constantFrom(...NAMES, SECRET)
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(
          SECRET,
          `[${JSON.stringify(SECRET)}]`,
          'function',
          'user',
          '',
          null,
          true,
          7,
        ),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(name, tie('value'), { maxKeys: 4 }),
      ),
    }))
    const message = fc
      .tuple(fc.dictionary(name, value, { maxKeys: 3 }), value)
      .map(([members, content]) => ({ ...members, role: 'user', content }))
    const request = fc
      .tuple(fc.dictionary(name, value, { maxKeys: 2 }), fc.array(message, { maxLength: 3 }))
      .map(([members, messages]) => ({ ...members, model: 'm', messages }))
    let sent = 0
    await fc.assert(
      fc.asyncProperty(request, async (body) => {
        const text = await sealed(body).then(wire, String)
        if (text.startsWith('{')) sent += 1
        expect(text).not.toContain('secret')
      }),
      { numRuns: 400 },
    )
    expect(sent).toBeGreaterThan(20)
  })

  test.each(['no json', '[]'])('is refused where it is %s', async (body) => {
    expect(await failure(() => sealed(body))).toBe('request_not_encryptable')
  })

  test('of another operation is refused', async () => {
    const outbound = outboundOf(user('x'))
    const message = { ...outbound.message, operation: '/embeddings' }
    const binding = await bindingOf(node.publicKey)
    expect(await failure(() => sealNear({ ...outbound, message }, binding))).toBe(
      'request_not_encryptable',
    )
  })

  test('to a key of another protocol is a mistake of the caller', async () => {
    const binding = { ...(await bindingOf(node.publicKey)), protocol: 'ehbp-x25519' as const }
    await expect(sealNear(outboundOf(user('x')), binding)).rejects.toThrow(TypeError)
  })
})

describe('a reply', () => {
  const rich = completion(
    {
      content: 'answer',
      reasoning: 'because',
      reasoning_content: 'because',
      refusal: null,
      annotations: [],
      audio: { id: 'a', data: 'AAAA', expires_at: 1 },
      tool_calls: [
        { id: 'call_1', type: 'function', function: { name: 'lookup', arguments: '{"q":1}' } },
      ],
      function_call: { name: 'f', arguments: '{}' },
    },
    {
      logprobs: {
        content: [
          {
            token: 'an',
            logprob: -0.5,
            bytes: [97, 110],
            top_logprobs: [{ token: 'an', logprob: -0.5, bytes: null }],
          },
        ],
        refusal: null,
      },
      stop_reason: null,
      token_ids: null,
    },
    { system_fingerprint: 'fp', service_tier: null, prompt_logprobs: null },
  )

  test('is restored as it was before the node encrypted it', async () => {
    const whole = await opened(sealedReply(rich), 'application/json', 7)
    expect(JSON.parse(whole.text)).toEqual(rich)
    expect(whole.status).toBe(200)
    expect(whole.headers).toEqual({ 'content-type': 'application/json', 'x-a': '1' })
  })

  test('of parts is restored part by part', async () => {
    const parts = completion({
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    })
    expect(JSON.parse((await opened(sealedReply(parts))).text)).toEqual(parts)
  })

  test.each([
    ['content', completion({ content: 'in clear' })],
    ['content that looks like hex', completion({ content: 'ab'.repeat(60) })],
    ['a part', completion({ content: [{ type: 'text', text: 'in clear' }] })],
    ['a word of a part', completion({ content: [{ type: 'text', text: '', note: 'in clear' }] })],
    ['content of another kind', completion({ content: 7 })],
    ['reasoning', completion({ reasoning: 'in clear' })],
    ['reasoning_content', completion({ reasoning_content: 'in clear' })],
    ['a refusal', completion({ refusal: 'in clear' })],
    ['audio', completion({ audio: { id: 'a', data: 'in clear' } })],
    ['a transcript', completion({ audio: { id: 'a', transcript: 'in clear' } })],
    ['the name of a call', completion({ tool_calls: [{ function: { name: 'in clear' } }] })],
    ['the arguments of a call', completion({ tool_calls: [{ function: { arguments: '{}' } }] })],
    ['a function call', completion({ function_call: { name: 'in clear' } })],
    ['a token', completion({}, { logprobs: { content: [{ token: 'in clear' }] } })],
    ['the bytes of a token', completion({}, { logprobs: { content: [{ bytes: [1] }] } })],
    [
      'a likely token',
      completion({}, { logprobs: { content: [{ top_logprobs: [{ token: 'in clear' }] }] } }),
    ],
    ['a refused token', completion({}, { logprobs: { refusal: [{ token: 'in clear' }] } })],
    ['an unknown member of the message', completion({ thoughts: 'in clear' })],
    ['a list of an unknown member', completion({ annotations: [{ type: 'url_citation' }] })],
    ['an unknown member of the choice', completion({}, { text: 'in clear' })],
    ['token ids', completion({}, { token_ids: [1, 2] })],
    ['an unknown member', completion({}, {}, { prompt: 'in clear' })],
    ['words among the usage', completion({}, {}, { usage: { note: ['in clear'] } })],
    ['an error', { error: { message: 'in clear' } }],
    ['nothing else, but no choices,', { id: 'chatcmpl-1' }],
  ])('with %s in clear is no reply', async (_, reply) => {
    expect(await failure(() => opened(() => JSON.stringify(reply)))).toBe('not_encrypted')
  })

  test('that another key opens is no reply', async () => {
    const stranger = newNearKey().publicKey
    expect(await failure(() => opened(() => sealedReply(rich)(stranger)))).toBe('undecryptable')
  })

  test.each(['not json', '{"choices":'])('that reads %s is no reply', async (text) => {
    expect(await failure(() => opened(() => text))).toBe('undecryptable')
  })

  test('with bytes of a token that are no JSON is no reply', async () => {
    const reply = (client: Buffer) =>
      JSON.stringify(
        completion({}, { logprobs: { content: [{ token: '', bytes: nearSeal('[1', client) }] } }),
      )
    expect(await failure(() => opened(reply))).toBe('undecryptable')
  })

  test.each(['text/plain', ''])('of type %j is no reply', async (type) => {
    expect(await failure(() => opened(sealedReply(rich), type))).toBe('not_encrypted')
  })

  test('that failed is passed on as it is', async () => {
    const exchange = await sealed(user('x'))
    const sink = new Collected()
    const opening = exchange.open(sink)
    opening.sent()
    opening.head(429, { 'content-type': 'text/plain' })
    opening.data(Buffer.from('slow down'), () => undefined)
    opening.end()
    expect([sink.calls, sink.status, sink.text]).toEqual([1, 429, 'slow down'])
  })
})

describe('a stream', () => {
  const hello = events(
    ': ping from somebody\n\n',
    delta({ role: 'assistant', content: '' }),
    'event: message\nid: 5\n',
    delta({ content: 'Hel' }),
    delta({ content: 'lo', reasoning: 'r' }),
    delta({}, 'stop'),
    {
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      model: 'm',
      choices: [],
      usage: { total_tokens: 3 },
    },
    DONE,
  )

  test.each([1, 5, 1 << 16])('is opened event by event, in pieces of %d bytes', async (step) => {
    const { text } = await opened(hello, STREAM, step)
    const data = text.split('\n').filter((line) => line.startsWith('data: '))
    const contents = data
      .slice(0, -1)
      .map((line) => member(JSON.parse(line.slice(6)), 'choices.0.delta.content'))
    expect(contents).toEqual(['', 'Hel', 'lo', undefined, undefined])
    expect(data.at(-1)).toBe('data: [DONE]')
    expect(text).not.toMatch(/somebody|event|id: 5/)
  })

  test('may end its lines with CR LF, and end without one', async () => {
    const crlf = (client: Buffer) => hello(client).replaceAll('\n', '\r\n').trimEnd()
    expect((await opened(crlf, STREAM, 3)).text).toMatch(/lo[\s\S]*data: \[DONE\]/)
  })

  test('hands on an event before the next one comes, at most one buffer a call', async () => {
    const exchange = await sealed(user('x'))
    const sink = new Collected()
    const opening = exchange.open(sink)
    opening.head(200, { 'content-type': STREAM })
    sink.ready = false
    const first = Buffer.from(events(delta({ content: 'now' }))(clientKeyOf(exchange)))
    expect(opening.data(first.subarray(0, 20), () => undefined)).toBe(true)
    expect(sink.text).toBe('')
    expect(opening.data(first.subarray(20), () => undefined)).toBe(false)
    expect(sink.text).toContain('now')
  })

  test('with one event in clear breaks there', async () => {
    const clear = `data: ${JSON.stringify(delta({ content: 'in clear' }))}\n\n`
    expect(await failure(() => opened(events(delta({ content: 'a' }), clear, DONE), STREAM))).toBe(
      'not_encrypted',
    )
  })

  test('with an event that is no JSON breaks there', async () => {
    expect(await failure(() => opened(events('data: {"a\n\n', DONE), STREAM))).toBe('undecryptable')
  })

  test('passes on an error of the provider', async () => {
    const error = 'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
    expect((await opened(events(error), STREAM)).text).toBe(error)
  })

  test('takes no completion for an error', async () => {
    const both = `data: ${JSON.stringify({ error: {}, ...delta({ content: 'in clear' }) })}\n\n`
    expect(await failure(() => opened(events(both), STREAM))).toBe('not_encrypted')
  })

  test('ignores what follows its end, but not for ever', async () => {
    const tail = (length: number) => events(DONE, `data: ${'x'.repeat(length)}\n\n`)
    expect((await opened(tail(1000), STREAM)).text).toBe(DONE)
    expect((await opened(tail(1000), STREAM, 14)).text).toBe(DONE)
    expect(await failure(() => opened(tail(70_000), STREAM))).toBe('too_large')
    expect(await failure(() => opened(tail(70_000), STREAM, 14))).toBe('too_large')
  })

  test('has lines of a bounded length', async () => {
    expect(await failure(() => opened(() => `data: ${'x'.repeat(1 << 20)}`, STREAM))).toBe(
      'too_large',
    )
  })

  test('and a whole reply are bounded', () => {
    const opening = new FieldOpening(
      new Collected(),
      { whole: (value) => value, event: (value) => value },
      { lineBytes: 8, bodyBytes: 8 },
    )
    opening.head(200, { 'content-type': 'application/json' })
    opening.data(Buffer.from('12345678'), () => undefined)
    expect(() => opening.data(Buffer.from('9'), () => undefined)).toThrow('too_large')
  })
})
