import type { E2eeBinding } from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { Pool } from 'undici'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ChutesTokens } from '../../src/providers/chutes-tokens.ts'
import { Sensitive } from '../../src/sensitive.ts'
import { ReplyKey, sealTo } from '../../src/upstream/chutes-cipher.ts'
import { ChutesStream } from '../../src/upstream/chutes-stream.ts'
import { chutesSeal } from '../../src/upstream/seal-chutes.ts'
import { send, SendError, type ResponseSink } from '../../src/upstream/send.ts'
import {
  frame,
  sealedLines,
  startChutesService,
  type ChutesService,
} from '../support/chutes-service.ts'
import { ReplySealer, type ChutesInstance } from '../support/chutes-instance.ts'
import { fakeClock } from '../support/clock.ts'
import { newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const nvidia = newNvidiaVendor()
const CANARY = 'canary-4f1c in the request'

async function start() {
  const clock = fakeClock()
  const service = await startChutesService({ vendor, nvidia, clock })
  const pool = new Pool(service.origin, { connect: { ca: service.certificatePem } })
  onTestFinished(async () => {
    await pool.destroy()
    await service.close()
  })
  const tokens = new ChutesTokens({
    origin: service.origin,
    chuteId: service.chuteId,
    apiKey: new Sensitive('cpk_test'),
    clock,
    timeoutMs: 2000,
    dispatcher: pool,
  })
  return { service, pool, tokens, clock }
}

type Started = Awaited<ReturnType<typeof start>>

const bindingOf = ({ id, publicKey }: ChutesInstance): E2eeBinding => ({
  kind: 'e2ee-public-key',
  protocol: 'chutes-ml-kem-768',
  keyId: id,
  publicKey,
  digest: Uint8Array.from(createHash('sha256').update(publicKey).digest()),
})

const firstOf = ({ instances }: ChutesService): ChutesInstance => {
  const [first] = instances
  if (first === undefined) throw new Error('no instance')
  return first
}

interface Reply {
  status: number
  type: string | undefined
  text: string
  pieces: number
}

test('a body that is no JSON is refused before a token is spent', async () => {
  let taken = 0
  const tokens = {
    take: async () => {
      taken += 1
      return 'token'
    },
  }
  const message = {
    operation: '/audio/transcriptions',
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
    body: new Sensitive(Buffer.from(CANARY)),
    stream: false,
    signal: new AbortController().signal,
  }
  const outbound = { message, path: '/v1', apiKey: new Sensitive('k'), authorize: () => ({}) }
  // It is refused before the binding is looked at.
  const { service } = await start()
  const binding = bindingOf(firstOf(service))
  const seal = chutesSeal({ chuteId: 'c', tokens })
  await expect(seal(outbound, binding)).rejects.toMatchObject({
    code: 'request_not_encryptable',
  })
  expect(taken).toBe(0)
})

/** One request, sealed and sent as a channel does it. */
async function ask(
  { service, pool, tokens }: Started,
  options: { stream?: boolean; body?: string; binding?: E2eeBinding } = {},
): Promise<Reply> {
  const { stream = false, binding = bindingOf(firstOf(service)) } = options
  const body =
    options.body ?? JSON.stringify({ model: 'm', messages: [{ role: 'user', content: CANARY }] })
  const message = {
    operation: '/chat/completions',
    body: new Sensitive(Buffer.from(body)),
    stream,
    signal: new AbortController().signal,
  }
  const outbound = {
    message,
    path: '/v1/chat/completions',
    apiKey: new Sensitive('cpk_test'),
    authorize: () => ({ authorization: 'Bearer cpk_test' }),
  }
  const seal = chutesSeal({ chuteId: service.chuteId, tokens })
  const sealed = await seal(outbound, binding)
  const reply: Reply = { status: 0, type: undefined, text: '', pieces: 0 }
  const sink: ResponseSink = {
    sent: () => undefined,
    head: (status, headers) => {
      reply.status = status
      reply.type = headers['content-type']
    },
    data: (chunk) => {
      reply.text += chunk.toString()
      reply.pieces += 1
      return true
    },
  }
  const opening = sealed.open(sink)
  const { path, headers, body: ciphertext } = sealed.request
  await send(
    pool,
    { ...outbound, path, headers, message: { ...message, body: ciphertext } },
    opening,
  )
  opening.end()
  return reply
}

const failureOf = async (asked: Promise<unknown>): Promise<string> => {
  try {
    await asked
  } catch (error) {
    return error instanceof SendError ? error.failure : String(error)
  }
  return 'none'
}

describe('a request to an instance of a chute', () => {
  test('goes to the instance, encrypted, with everything its relay needs and nothing of the prompt', async () => {
    const started = await start()
    const { service } = started
    const reply = await ask(started)
    const [headers] = service.invocations
    expect(reply).toMatchObject({ status: 200, type: 'application/json' })
    expect(reply.text).toContain(`You said: ${CANARY}`)
    expect(headers).toMatchObject({
      authorization: 'Bearer cpk_test',
      'content-type': 'application/octet-stream',
      'x-chute-id': service.chuteId,
      'x-instance-id': firstOf(service).id,
      'x-e2e-stream': 'false',
      'x-e2e-path': '/v1/chat/completions',
    })
    expect(firstOf(service).opened).toHaveLength(1)
  })

  test('keeps every byte of the body, and adds the key of the reply', async () => {
    const started = await start()
    await ask(started, { body: '{ "model": "m",\n "seed": 1.0, "messages": [] }' })
    const [opened = ''] = firstOf(started.service).opened
    expect(opened).toMatch(
      /^\{ "e2e_response_pk":"[A-Za-z0-9+/]{1579}=","model": "m",\n "seed": 1\.0, "messages": \[\] \}$/,
    )
  })

  test('makes a new key for every reply', async () => {
    const started = await start()
    await ask(started)
    await ask(started)
    const keys = firstOf(started.service).opened.map((text) => text.slice(0, 200))
    expect(new Set(keys).size).toBe(2)
  })

  test('a key that the client wrote is replaced', async () => {
    const started = await start()
    const body = '{"messages":[],"e2e_response_pk":"AAAA"}'
    expect(await ask(started, { body })).toMatchObject({ status: 200 })
    expect(firstOf(started.service).opened[0]).not.toContain('AAAA"')
  })

  test('its size does not depend on how well the prompt compresses', async () => {
    const started = await start()
    const sizes: number[] = []
    for (const content of [
      'a'.repeat(4000),
      createHash('sha512').update('x').digest('hex').repeat(31) + 'b'.repeat(32),
    ]) {
      const before = started.service.promptBytes()
      await ask(started, { body: JSON.stringify({ messages: [{ content }] }) })
      sizes.push(started.service.promptBytes() - before)
    }
    expect(sizes[0]).toBe(sizes[1])
  })

  test('is not made to another protocol, without an instance, or to a key of another length', async () => {
    const started = await start()
    const binding = bindingOf(firstOf(started.service))
    const others: E2eeBinding[] = [
      { ...binding, protocol: 'ehbp-x25519' },
      { ...binding, keyId: null },
      { ...binding, publicKey: binding.publicKey.slice(1) },
    ]
    for (const other of others) {
      await expect(ask(started, { binding: other })).rejects.toThrow(TypeError)
    }
    expect(started.service.promptBytes()).toBe(0)
  })
})

describe('a whole reply', () => {
  const withBody = async (whole: ChutesService['behaviour']['whole']): Promise<string> => {
    const started = await start()
    started.service.behaviour.whole = whole
    return failureOf(ask(started))
  }
  const OCTETS = 'application/octet-stream'

  test('that is endless is given up', async () => {
    const body = Buffer.alloc((64 << 20) + 4096)
    expect(await withBody(() => ({ type: OCTETS, body }))).toBe('too_large')
  })

  test('in clear is a downgrade, whatever it says', async () => {
    const answer = (type: string) => withBody((_, body) => ({ type, body }))
    expect(await answer('application/json')).toBe('not_encrypted')
    expect(await answer('text/event-stream')).toBe('not_encrypted')
    expect(await answer('')).toBe('not_encrypted')
    expect(await answer(OCTETS)).toBe('undecryptable')
  })

  test.each([0, 600, 1087, 1088, 1100, 1120, -1])(
    'with byte %i changed is undecryptable',
    async (at) => {
      const failure = await withBody(({ reply }, answer) => {
        const body = reply.whole(answer)
        const index = at < 0 ? body.length + at : at
        body[index] = (body[index] ?? 0) ^ 1
        return { type: OCTETS, body }
      })
      expect(failure).toBe('undecryptable')
    },
  )

  test.each([0, 1087, 1088, 1115, 1200])('cut to %i bytes is undecryptable', async (length) => {
    const failure = await withBody(({ reply }, answer) => ({
      type: OCTETS,
      body: reply.whole(answer).subarray(0, length),
    }))
    expect(failure).toBe('undecryptable')
  })

  test('that was not compressed, or only in part, is undecryptable', async () => {
    const packed = (pack: (bytes: Uint8Array) => Uint8Array) =>
      withBody(({ reply }, answer) => ({ type: OCTETS, body: reply.whole(answer, pack) }))
    expect(await packed((bytes) => bytes)).toBe('undecryptable')
    expect(await packed((bytes) => gzipSync(bytes).subarray(0, -9))).toBe('undecryptable')
  })

  test('that unpacks to more than 64 MiB is given up', async () => {
    const failure = await withBody(({ reply }) => ({
      type: OCTETS,
      body: reply.whole(Buffer.alloc((64 << 20) + 1)),
    }))
    expect(failure).toBe('undecryptable')
  })

  test('that was made for another request does not open', async () => {
    let kept: Buffer | null = null
    const started = await start()
    started.service.behaviour.whole = ({ reply }, answer) => {
      kept ??= reply.whole(answer)
      return { type: OCTETS, body: kept }
    }
    expect(await failureOf(ask(started))).toBe('none')
    expect(await failureOf(ask(started))).toBe('undecryptable')
  })

  test.each([400, 404, 410, 429, 500, 502])(
    'with status %i is the relay’s own words',
    async (status) => {
      const started = await start()
      started.service.behaviour.faults.invoke = { status, body: '{"detail":"words"}' }
      expect(await ask(started)).toMatchObject({ status, text: '{"detail":"words"}' })
    },
  )
})

describe('a streamed reply', () => {
  const DONE = 'data: [DONE]\n\n'
  async function streamed(lines: ChutesService['behaviour']['lines']): Promise<Reply> {
    const started = await start()
    started.service.behaviour.lines = lines
    return ask(started, { stream: true })
  }

  test('comes through event by event, without the relay’s count of tokens', async () => {
    const started = await start()
    const reply = await ask(started, { stream: true })
    expect(reply).toMatchObject({ status: 200, type: 'text/event-stream' })
    expect(reply.text).toContain('"content":"said: "')
    expect(reply.text).not.toContain('prompt_tokens')
    expect(reply.text.endsWith(DONE)).toBe(true)
    expect(started.service.invocations[0]).toMatchObject({ 'x-e2e-stream': 'true' })
  })

  test('events are told apart, however the instance ends them', async () => {
    const endings = ['\n\n', '\n', '']
    const { text } = await streamed((opened, events) =>
      sealedLines(
        opened,
        events.map((event, at) => event.trimEnd() + (endings[at % 3] ?? '')),
      ),
    )
    expect(text.split('\n\n').filter((event) => event !== '')).toHaveLength(9)
  })

  test('an end that is encrypted needs no word of the relay, and is said once', async () => {
    const withDone = await streamed((opened, events) => sealedLines(opened, [...events, DONE]))
    expect(withDone.text.split(DONE)).toHaveLength(2)
    const unsaid = await streamed((opened, events) =>
      sealedLines(opened, [...events, DONE]).slice(0, -1),
    )
    expect(unsaid.text.endsWith(DONE)).toBe(true)
  })

  test('cut by the relay, it has no [DONE], even where the relay writes one', async () => {
    const { text } = await streamed((opened, events) => sealedLines(opened, events.slice(0, -1)))
    expect(text).toContain('said: ')
    expect(text).not.toContain('[DONE]')
    const empty = await streamed((opened) => sealedLines(opened, []))
    expect(empty.text).toBe('')
  })

  test('of several choices, one that has not finished is missed', async () => {
    const choice = (index: number, finish: string | null) =>
      `data: ${JSON.stringify({ choices: [{ index, delta: {}, finish_reason: finish }] })}`
    const all = [choice(0, null), choice(1, null), choice(0, 'stop'), choice(1, 'length')]
    const whole = await streamed((opened) => sealedLines(opened, all))
    expect(whole.text).toContain('[DONE]')
    const cut = await streamed((opened) => sealedLines(opened, all.slice(0, -1)))
    expect(cut.text).not.toContain('[DONE]')
  })

  test.each<[string, ChutesService['behaviour']['lines'], string]>([
    [
      'an event before its key',
      (opened, events) => sealedLines(opened, events).slice(1),
      'undecryptable',
    ],
    [
      'a second key',
      (opened, events) => {
        const [init = '', ...rest] = sealedLines(opened, events)
        return [init, init, ...rest]
      },
      'undecryptable',
    ],
    ['a key that is too short', () => [frame({ e2e_init: 'AAAA' })], 'undecryptable'],
    ['a key that is no text', () => [frame({ e2e_init: 7 })], 'undecryptable'],
    [
      'an event that comes twice',
      (opened, events) => {
        const lines = sealedLines(opened, events)
        return lines.toSpliced(3, 0, lines[2] ?? '')
      },
      'undecryptable',
    ],
    [
      'an event with another tag',
      (opened, events) => {
        const lines = sealedLines(opened, events)
        return lines.with(2, frame({ e2e: opened.reply.stream().box('x') }))
      },
      'undecryptable',
    ],
    [
      'an event that is too short',
      (opened) => {
        const [init = ''] = sealedLines(opened, [])
        return [init, frame({ e2e: Buffer.alloc(27).toString('base64') })]
      },
      'undecryptable',
    ],
    [
      'an event that is no base64',
      (opened) => {
        const [init = ''] = sealedLines(opened, [])
        return [init, frame({ e2e: '%%%' })]
      },
      'undecryptable',
    ],
    ['an answer in clear', (_, events) => [...events], 'not_encrypted'],
    [
      'an answer in clear that looks like a bill',
      () => [frame({ choices: [], usage: {} })],
      'not_encrypted',
    ],
    [
      'an answer in clear in the midst',
      (opened, events) => {
        const lines = sealedLines(opened, events)
        return lines.with(2, events[1] ?? '')
      },
      'not_encrypted',
    ],
    ['words that are no JSON', () => ['data: hello\n\n'], 'not_encrypted'],
    ['JSON that is no frame', () => ['data: 7\n\n'], 'not_encrypted'],
    ['an error of the instance', () => [frame({ e2e_error: 'boom' })], 'broken'],
    ['an error of the relay', () => [frame({ error: { message: 'boom' } })], 'broken'],
    ['a line without an end', () => [`data: ${'x'.repeat(3 << 20)}`], 'too_large'],
  ])('%s is refused', async (_, lines, failure) => {
    expect(await failureOf(streamed(lines))).toBe(failure)
  })

  test('lines that are no data, and both line ends, are read as the standard says', async () => {
    const { text } = await streamed((opened, events) => [
      ': a comment\r\n',
      'event: message\r\n',
      ...sealedLines(opened, events).map((line) =>
        line.replace(/\n\n$/, '\r\n\r\n').replace('data: ', 'data:'),
      ),
    ])
    expect(text.endsWith(DONE)).toBe(true)
  })

  test('with more events than can be remembered is given up', () => {
    const replyKey = new ReplyKey()
    const { init, box } = new ReplySealer(replyKey.publicKey).stream()
    const sink: ResponseSink = { sent: () => undefined, head: () => undefined, data: () => true }
    const opening = new ChutesStream(sink, replyKey, 2)
    const push = (line: string) => opening.data(Buffer.from(line), () => undefined)
    push(frame({ e2e_init: init }) + frame({ e2e: box('a') }) + frame({ e2e: box('b') }))
    expect(() => push(frame({ e2e: box('c') }))).toThrow('too_large')
  })

  test('is paused as soon as the client is slow', () => {
    const replyKey = new ReplyKey()
    const { init, box } = new ReplySealer(replyKey.publicKey).stream()
    let given: (() => void) | null = null
    const sink: ResponseSink = {
      sent: () => undefined,
      head: () => undefined,
      data: (_, resume) => {
        given = resume
        return false
      },
    }
    const opening = new ChutesStream(sink, replyKey)
    const resume = (): void => undefined
    expect(opening.data(Buffer.from(frame({ e2e_init: init })), resume)).toBe(true)
    expect(opening.data(Buffer.from(frame({ e2e: box('data: {}') })), resume)).toBe(false)
    expect(given).toBe(resume)
  })

  test('a stream in the form of a whole reply is a downgrade', async () => {
    const started = await start()
    started.service.behaviour.faults.invoke = { status: 200, body: 'data: {}\n\n' }
    expect(await failureOf(ask(started, { stream: true }))).toBe('not_encrypted')
  })
})

describe('a token', () => {
  test('is used once, and many come with one answer', async () => {
    const started = await start()
    for (let count = 0; count < 10; count++) await ask(started)
    const tokens = started.service.invocations.map((headers) => headers['x-e2e-nonce'])
    expect(new Set(tokens).size).toBe(10)
    expect(started.service.asked.filter((path) => path.includes('instances'))).toHaveLength(1)
  })

  test('is asked for once, however many wait', async () => {
    const started = await start()
    await Promise.all(Array.from({ length: 8 }, () => ask(started)))
    expect(started.service.asked.filter((path) => path.includes('instances'))).toHaveLength(1)
  })

  test('is not used after 55 seconds', async () => {
    const started = await start()
    await ask(started)
    started.clock.advance(54)
    await ask(started)
    expect(started.service.asked.filter((path) => path.includes('instances'))).toHaveLength(1)
    started.clock.advance(1)
    await ask(started)
    expect(started.service.asked.filter((path) => path.includes('instances'))).toHaveLength(2)
  })

  test('is not for sale while the provider asks to wait, and the client hears how long', async () => {
    const started = await start()
    const { service, tokens } = started
    service.behaviour.faults.instances = { status: 429, retryAfter: 30 }
    const take = () => tokens.take(firstOf(service).id, firstOf(service).publicKey)
    await expect(take()).rejects.toMatchObject({
      code: 'upstream_rate_limited',
      retryAfterSeconds: 30,
    })
    delete service.behaviour.faults.instances
    started.clock.advance(10)
    await expect(take()).rejects.toMatchObject({ retryAfterSeconds: 20 })
    expect(service.asked).toHaveLength(1)
    started.clock.advance(20)
    expect(await take()).toHaveLength(32)
  })

  test('of an instance that was not drawn is asked for again, three times at most', async () => {
    const started = await start()
    const { service, tokens } = started
    const [first, second] = service.instances
    if (first === undefined || second === undefined) throw new Error('two instances')
    let asks = 0
    service.behaviour.sample = () => (++asks === 2 ? [first] : [second])
    expect(await tokens.take(first.id, first.publicKey)).toHaveLength(32)
    service.behaviour.sample = () => [second]
    service.instances.splice(0, 1)
    const gone = service.add()
    await expect(tokens.take(gone.id, gone.publicKey)).rejects.toMatchObject({
      failure: 'unreachable',
    })
    expect(service.asked).toHaveLength(5)
  })

  test('of an instance with another key than the attested one is never used', async () => {
    const started = await start()
    const { service } = started
    const attested = bindingOf(firstOf(service))
    firstOf(service).rotate()
    expect(await failureOf(ask(started, { binding: attested }))).toBe('key_mismatch')
    expect(service.promptBytes()).toBe(0)
  })

  test('after a restart, the key that is attested now is asked for anew', async () => {
    const started = await start()
    await ask(started)
    firstOf(started.service).rotate()
    expect(await ask(started)).toMatchObject({ status: 200 })
  })

  test.each([
    ['that cannot be read', { status: 200, body: '{"instances":7}' }, 'unreachable'],
    ['that is no JSON', { status: 200, body: '<html>' }, 'unreachable'],
    ['that is too long', { status: 200, body: ' '.repeat(2 << 20) }, 'unreachable'],
    [
      'with a token that is no header',
      {
        status: 200,
        body: '{"instances":[{"instance_id":"a","nonces":["a\\r\\nx: y"]}],"nonce_expires_in":60}',
      },
      'unreachable',
    ],
    ['with status 404', { status: 404 }, 'unreachable'],
    ['with status 500', { status: 500 }, 'unreachable'],
  ] as const)('an answer %s gives none', async (_, fault, failure) => {
    const started = await start()
    started.service.behaviour.faults.instances = fault
    expect(await failureOf(ask(started))).toBe(failure)
    expect(started.service.promptBytes()).toBe(0)
  })

  test('a key that the provider does not know is told apart', async () => {
    const started = await start()
    started.service.behaviour.faults.instances = { status: 401 }
    await expect(ask(started)).rejects.toMatchObject({ code: 'upstream_credentials' })
  })

  test('no answer in time is a timeout', async () => {
    const started = await start()
    started.service.behaviour.faults.instances = 'hang'
    expect(await failureOf(ask(started))).toBe('timeout')
  })
})

test('nothing is encrypted to what is no key', () => {
  const failure = (key: Uint8Array): unknown => {
    try {
      return sealTo(key, Buffer.from(CANARY))
    } catch (error) {
      return error instanceof SendError ? error.failure : error
    }
  }
  // FIPS 203 §7.2: coefficients are below 3329.
  expect(failure(new Uint8Array(1184).fill(0xff))).toBe('key_mismatch')
  expect(failure(new Uint8Array(32))).toBe('key_mismatch')
})
