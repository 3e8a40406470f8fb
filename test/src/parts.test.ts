import * as fc from 'fast-check'
import { format, inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { SealedReceipt } from '../../enclave/index.ts'
import { ReceiptKey } from '../../enclave/keys.ts'
import { consentToPlaintext, isPlaintextConsent } from '../../src/consent.ts'
import type { Key, Model } from '../../src/config/index.ts'
import { errorBody, GatewayError } from '../../src/errors.ts'
import { Fifo } from '../../src/fifo.ts'
import {
  isCredentialDigest,
  isKeyId,
  isModelName,
  isReceiptId,
  isTeamName,
  newReceiptId,
  newRequestId,
  pooled,
  type CredentialDigest,
} from '../../src/ids.ts'
import { jsonMembers, type Member } from '../../src/json-members.ts'
import { KeyRing } from '../../src/keys.ts'
import { pinoLogger } from '../../src/log.ts'
import { forwardable, readShape } from '../../src/prompt.ts'
import { ReceiptStore } from '../../src/receipt-store.ts'
import { expose, Sensitive } from '../../src/sensitive.ts'
import { SessionStore } from '../../src/session-store.ts'
import { operation } from '../../src/operations.ts'
import { SseTap } from '../../src/sse.ts'
import { OPENAI_WIRE } from '../../src/wire.ts'
import { PlainChannel } from '../../src/upstream/plain.ts'
import { fakeClock } from '../support/clock.ts'

const SECRET = 'canary-part-51c0'

const mint = <T extends string>(value: string, is: (value: string) => value is T & string): T => {
  if (!is(value)) throw new Error('not an id')
  return value
}

test('a Sensitive shows its value in no printed form', () => {
  const value = new Sensitive(SECRET)
  const printed = [
    String(value),
    JSON.stringify({ value }),
    format('%s %o %j', value, { value }, value),
    inspect(value, { showHidden: true, depth: 9 }),
    JSON.stringify(Object.entries(value)),
  ]
  expect(printed.join(' ')).not.toContain(SECRET)
  expect(expose(value)).toBe(SECRET)
})

test('error bodies have all four members of OpenAI’s schema', () => {
  expect(JSON.parse(errorBody('model_not_found'))).toEqual({
    error: {
      message: 'the model does not exist',
      type: 'invalid_request_error',
      param: null,
      code: 'model_not_found',
    },
  })
})

test('the log drops what is not a number or one short word', () => {
  const lines: string[] = []
  const log = pinoLogger({ write: (line) => void lines.push(line) })
  log({ event: 'fact_not_held', fact: `${SECRET} with spaces` })
  log({ event: 'fact_not_held', fact: 'x'.repeat(200) })
  log({ event: 'started', port: 1, providers: 2 })
  expect(lines.join('')).not.toContain(SECRET)
  expect(lines.map((line) => Reflect.get(Object(JSON.parse(line)), 'fact'))).toEqual([
    'dropped',
    'dropped',
    undefined,
  ])
})

test('pooled random bytes are given out once', () => {
  let next = 0
  const counting = pooled((length) => Uint8Array.from({ length }, () => next++ % 251), 10)
  const given = [4, 4, 4, 30, 2].map((length) => Array.from(counting(length)))
  expect(given.map((bytes) => bytes.length)).toEqual([4, 4, 4, 30, 2])
  const all = given.flat()
  expect(new Set(all).size).toBe(all.length)
})

test('ids come from random bytes', () => {
  const random = (length: number) => new Uint8Array(length).fill(31)
  expect(newRequestId(random)).toBe(`req_${'Z'.repeat(26)}`)
  expect(isReceiptId(newReceiptId(random))).toBe(true)
  expect(() => newRequestId(() => new Uint8Array(3))).toThrow(TypeError)
})

function membersOrRefusal(bytes: Buffer): readonly Member[] | Error {
  try {
    return jsonMembers(bytes)
  } catch (error) {
    return error instanceof Error ? error : new TypeError('no error')
  }
}

describe('members of a JSON object', () => {
  test('are found where JSON.parse finds them, in any document', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(3), (object, indent) => {
        const bytes = Buffer.from(JSON.stringify(object, null, indent))
        const found = jsonMembers(bytes).map(({ name, valueStart, end }) => [
          name,
          JSON.parse(bytes.toString('utf8', valueStart, end)),
        ])
        const expected: unknown = JSON.parse(bytes.toString())
        expect(Object.fromEntries(found)).toEqual(expected)
      }),
    )
  })

  test('never lie outside a document that is broken anywhere', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        const bytes = Buffer.concat([Buffer.from('{"a":'), noise])
        const found = membersOrRefusal(bytes)
        const inside =
          found instanceof Error
            ? found instanceof GatewayError
            : found.every(({ start, end }) => start >= 0 && end <= bytes.length && start < end)
        expect(inside).toBe(true)
      }),
    )
  })

  test('are spliced without touching any other byte', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(2), (extra, indent) => {
        const { model: _, provider: __, stream: ___, messages: ____, ...rest } = extra
        const provider = { aci_verified: true }
        const document = { ...rest, provider, model: 'a', messages: [], tail: extra }
        const prompt = new Sensitive(Buffer.from(JSON.stringify(document, null, indent)))
        const sent = JSON.parse(
          expose(
            forwardable(prompt, readShape(prompt, operation('chat')), {
              model: 'b',
              edits: () => [],
            }),
          ).toString(),
        )
        const { provider: _____, ...without } = document
        expect(sent).toEqual(JSON.parse(JSON.stringify({ ...without, model: 'b' })))
      }),
    )
  })
})

describe('the tap on a stream', () => {
  const stream = Buffer.from(
    'data: {"id":"chatcmpl-9","choices":[]}\n\n: comment\r\n\r\ndata:{"id":"x","usage":{"prompt_tokens":3,"completion_tokens":5}}\n\ndata: [DONE]\n\nrest',
  )
  const wanted = stream.subarray(0, stream.indexOf('[DONE]') + '[DONE]\n'.length).toString()

  test('sees the same wherever the stream is cut', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const tap = new SseTap(OPENAI_WIRE)
      const parts: Buffer[] = []
      for (const chunk of [stream.subarray(0, cut), stream.subarray(cut)]) {
        const { bytes, done } = tap.push(chunk)
        parts.push(bytes)
        if (done) break
      }
      expect(Buffer.concat(parts).toString()).toBe(wanted)
      expect([tap.chatId, tap.usage, tap.failure]).toEqual([
        'chatcmpl-9',
        { uncachedInput: 3, cacheRead: 0, cacheWrite: 0, output: 5, reasoning: 0 },
        null,
      ])
    }
  })

  test('lets a line beyond the cap pass unread', () => {
    const tap = new SseTap(OPENAI_WIRE)
    const long = Buffer.from(`data: ${'x'.repeat(1 << 21)}\n\n`)
    const { bytes } = tap.push(long.subarray(0, 1 << 20).subarray(0))
    const more = tap.push(long.subarray(1 << 20))
    expect(bytes.length + more.bytes.length).toBe(long.length)
    expect(tap.push(Buffer.from('data: [DONE]\n')).done).toBe(true)
  })

  test('holds half a line back', () => {
    const tap = new SseTap(OPENAI_WIRE)
    expect(tap.push(Buffer.from('data: {"a":1}\ndata: {"b')).bytes.toString()).toBe(
      'data: {"a":1}\n',
    )
    expect(tap.end().bytes.toString()).toBe('data: {"b')
  })

  test('knows a provider’s own error event', () => {
    const tap = new SseTap(OPENAI_WIRE)
    tap.push(Buffer.from('data: {"error":{"message":"m"}}\n\n'))
    expect(tap.failure).toBe('upstream_error')
  })

  test('takes no fact from what is no object', () => {
    expect(OPENAI_WIRE.facts()(Buffer.from('[1]'))).toBeNull()
    expect(OPENAI_WIRE.facts()(Buffer.from('{"id":7,"usage":"many"}'))).toEqual({
      id: null,
      usage: null,
    })
  })
})

const model = (confidentiality: Model['confidentiality']): Model => ({
  name: mint('m', isModelName),
  aliases: [],
  confidentiality,
  order: 'weighted',
  sticky: 'none',
  padding: true,
  cacheSalt: true,
  routes: [],
})
const key = (sha256: CredentialDigest, plainModels: Key['plainModels']): Key => ({
  id: mint('k', isKeyId),
  team: mint('t', isTeamName),
  sha256,
  models: '*',
  plainModels,
})
const digestOf = (byte: string) => mint(byte.repeat(32), isCredentialDigest)

describe('consent to plaintext', () => {
  const willing = key(digestOf('aa'), 'allow')

  test('is given for a plain model and a key that may, and for nothing else', () => {
    expect(isPlaintextConsent(consentToPlaintext(model('plain'), willing))).toBe(true)
    expect(() => consentToPlaintext(model('plain'), key(digestOf('aa'), 'refuse'))).toThrow(
      GatewayError,
    )
    expect(() => consentToPlaintext(model('attested'), willing)).toThrow(TypeError)
  })

  test('cannot be copied, and the channel looks', async () => {
    const real = consentToPlaintext(model('plain'), willing)
    const limits = { connectMs: 1, firstByteMs: 1, idleMs: 1, connections: 1 }
    const channel = new PlainChannel('http://127.0.0.1:1', limits)
    for (const forged of [{ ...real }, { model: real.model }, Object.create(real), null]) {
      expect(isPlaintextConsent(forged)).toBe(false)
      await expect(Reflect.apply(Reflect.get(channel, 'send'), channel, [forged])).rejects.toThrow(
        'not a PlaintextConsent',
      )
    }
    await channel.destroy()
  })
})

test('a key ring knows a key by its digest alone', () => {
  const ring = new KeyRing([])
  expect(() => ring.authenticate(undefined)).toThrow('send an API key')
  for (const header of ['Bearer', 'Basic abc', 'Bearer a b', 'Bearer k']) {
    expect(() => ring.authenticate(header)).toThrow('not known')
  }
})

test('a queue gives what it was given, in order, whatever was taken before', () => {
  const queue = new Fifo<number>()
  let [pushed, taken] = [0, 0]
  for (let round = 0; round < 400; round++) {
    for (let more = 0; more < 20; more++) queue.push(pushed++)
    for (let fewer = 0; fewer < 19; fewer++) expect(queue.shift()).toBe(taken++)
    expect([queue.peek(), queue.length]).toEqual([taken, pushed - taken])
  }
  expect(queue.all()).toEqual(Array.from({ length: pushed - taken }, (_, at) => taken + at))
  while (queue.length > 0) expect(queue.shift()).toBe(taken++)
  expect(queue.shift()).toBeUndefined()
})

describe('the receipt store', () => {
  const receipt = (id: string, chat: string | null): SealedReceipt =>
    new SealedReceipt(
      {
        api_version: 'aci/1',
        receipt_id: id,
        chat_id: chat,
        model: null,
        workload_keyset_digest: `sha256:${'0'.repeat(64)}`,
        endpoint: '/v1/chat/completions',
        method: 'POST',
        served_at: 1,
        event_log: [{ type: 'request.received', body_hash: 'x' }],
        key_id: 'k',
      },
      new ReceiptKey(),
    )
  const [mine, theirs] = [digestOf('aa'), digestOf('bb')]
  const store = (maxEntries: number) => {
    const clock = fakeClock()
    const options = { maxEntries, ttlSeconds: 60, clock, sessions: new SessionStore() }
    return { clock, receipts: new ReceiptStore(options) }
  }

  test('keeps the newest within its bound', () => {
    const { receipts } = store(2)
    for (const id of ['a', 'b', 'c']) receipts.add(receipt(id, `chat-${id}`), mine, null)
    expect(receipts.size).toBe(2)
    expect(receipts.find('a', mine)).toBeNull()
    expect(receipts.find('chat-a', mine)).toBeNull()
    expect(receipts.find('chat-c', mine)?.receipt_id).toBe('c')
  })

  test('forgets after its time, also before it is swept', () => {
    const { clock, receipts } = store(9)
    receipts.add(receipt('a', null), mine, null)
    clock.advance(60)
    expect(receipts.find('a', mine)).toBeNull()
    receipts.sweep()
    expect(receipts.size).toBe(0)
  })

  test('signs what nobody has asked for, and nothing twice', async () => {
    const { receipts } = store(99)
    const sealed = Array.from({ length: 50 }, (_, at) => receipt(`r${at}`, null))
    for (const each of sealed) receipts.add(each, mine, null)
    const asked = receipts.find('r7', mine)
    expect(sealed.filter(({ isSigned }) => isSigned)).toHaveLength(1)
    await receipts.signAll()
    expect(sealed.every(({ isSigned }) => isSigned)).toBe(true)
    expect(receipts.find('r7', mine)).toBe(asked)
  })

  test('a repeated chat id shows nobody another key’s receipt', () => {
    const { receipts } = store(9)
    receipts.add(receipt('a', 'same'), mine, null)
    receipts.add(receipt('b', 'same'), theirs, null)
    expect(receipts.find('same', mine)?.receipt_id).toBe('a')
    expect(receipts.find('same', theirs)?.receipt_id).toBe('b')
    expect(receipts.find('a', theirs)).toBeNull()
  })
})
