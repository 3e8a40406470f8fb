import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRelay, type ModelServer, type Relay } from '../support/model-server.ts'
import {
  ATTESTED_ONLY_KEY,
  CANARY,
  eventOf,
  NARROW_KEY,
  pinnedRow,
  prompt,
  receiptOf,
  startWorld,
  UPSTREAM_SECRET,
  type Answer,
  type ConfigDocument,
  type World,
} from './harness.ts'

/** No log line, error body or metric of the gateway contains any part of a prompt or a secret. */
async function expectNoTrace(world: World, answers: readonly Answer[]): Promise<void> {
  const metrics = await world.admin('/metrics')
  const surfaces = [...world.logs, metrics.text, ...answers.map(({ text }) => text)]
  for (const surface of surfaces) {
    for (const secret of [CANARY, UPSTREAM_SECRET, 'vg-test-key', 'wrong-key']) {
      expect(surface).not.toContain(secret)
    }
  }
  expect(world.logs.length).toBeGreaterThan(0)
}

describe('a prompt that is refused before any provider', () => {
  let world: World
  const answers: Answer[] = []
  beforeAll(async () => {
    world = await startWorld()
  })
  afterAll(() => world.close())

  /** Status and code of an answer that has the shape and the headers of every refusal. */
  const refusal = (answer: Answer): unknown[] => {
    answers.push(answer)
    const members = Object.keys(Object(answer.at('error'))).toSorted()
    expect(members).toEqual(['code', 'message', 'param', 'type'])
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'x-request-id': expect.stringMatching(/^req_/),
      'x-aci-version': 'aci/1',
      'x-aci-keyset-digest': world.gateway.keysetDigest(),
    })
    return [answer.status, answer.at('error.code')]
  }

  test('401 missing_api_key without a key', async () => {
    expect(refusal(await world.chat(prompt('secure'), { key: null }))).toEqual([
      401,
      'missing_api_key',
    ])
  })

  test.each([['wrong-key'], ['vg-test-key'], ['x'.repeat(600)]])(
    '401 invalid_api_key for a key that is not configured',
    async (key) => {
      expect(refusal(await world.chat(prompt('secure'), { key }))).toEqual([401, 'invalid_api_key'])
    },
  )

  test('401 comes before the body is read', async () => {
    const body = 'x'.repeat(1 << 20)
    expect(refusal(await world.chat(body, { key: null }))).toEqual([401, 'missing_api_key'])
  })

  test('403 model_not_allowed for a model of other keys', async () => {
    const answer = await world.chat(prompt('secure'), { key: NARROW_KEY })
    expect(refusal(answer)).toEqual([403, 'model_not_allowed'])
    const receipt = await receiptOf(world, answer, NARROW_KEY)
    expect(eventOf(receipt, 'vouchgate.outcome')?.['end']).toBe('refused')
  })

  test('403 plaintext_not_allowed where the key may not use plain models', async () => {
    const answer = await world.chat(prompt('ordinary'), { key: ATTESTED_ONLY_KEY })
    expect(refusal(answer)).toEqual([403, 'plaintext_not_allowed'])
    expect(world.plain.requests).toEqual([])
  })

  test('404 model_not_found for a model that is not configured', async () => {
    const answer = await world.chat(prompt(CANARY))
    expect(refusal(answer)).toEqual([404, 'model_not_found'])
    expect((await receiptOf(world, answer)).model).toBe(CANARY)
  })

  test.each([
    ['truncated', `{"model":"secure","messages":[{"content":"${CANARY}`],
    ['not JSON', CANARY],
    ['with a byte order mark', `\ufeff${JSON.stringify(prompt('secure'))}`],
    ['empty', ' '],
  ])('400 invalid_json for a body that is %s', async (_name, body) => {
    const answer = await world.chat(body)
    expect(refusal(answer)).toEqual([400, 'invalid_json'])
    expect(eventOf(await receiptOf(world, answer), 'request.received')).toBeDefined()
  })

  test('400 invalid_json for bytes that are not UTF-8', async () => {
    const body = Buffer.concat([
      Buffer.from('{"model":"'),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}'),
    ])
    const headers = { 'content-type': 'application/json' }
    const answer = await world.call('/v1/chat/completions', { method: 'POST', body, headers })
    expect(refusal(answer)).toEqual([400, 'invalid_json'])
  })

  test.each([
    [`{"model":"ordinary","messages":[],"model":"secure"}`],
    [`{"model":"secure","messages":[],"mod\\u0065l":"ordinary"}`],
    [`{"model":"secure","messages":[],"provider":{"aci_verified":true,"aci_verified":false}}`],
  ])('400 duplicate_member for %s', async (body) => {
    expect(refusal(await world.chat(body))).toEqual([400, 'duplicate_member'])
  })

  test.each([
    ['a list', '[]'],
    ['no model', `{"messages":[{"content":"${CANARY}"}]}`],
    ['no messages', '{"model":"secure"}'],
    ['stream as text', '{"model":"secure","messages":[],"stream":"yes"}'],
    ['an empty model name', JSON.stringify(prompt(''))],
    ['an endless model name', JSON.stringify(prompt('m'.repeat(300)))],
  ])('400 invalid_request for %s', async (_name, body) => {
    expect(refusal(await world.chat(body))).toEqual([400, 'invalid_request'])
  })

  test.each([
    ['announced', (body: string) => body],
    ['chunked', (body: string) => Readable.from([body.slice(0, 100), body.slice(100)])],
  ])('413 body_too_large for a body over the limit, %s', async (_name, asBody) => {
    const body = asBody(JSON.stringify(prompt('secure', { filler: CANARY.repeat(5000) })))
    const headers = { 'content-type': 'application/json' }
    const answer = await world.call('/v1/chat/completions', { method: 'POST', body, headers })
    expect(refusal(answer)).toEqual([413, 'body_too_large'])
  })

  test.each([
    ['text/plain', {}],
    ['multipart/form-data; boundary=x', {}],
    ['application/json', { 'content-encoding': 'gzip' }],
  ])('415 unsupported_media_type for %s %j', async (type, headers) => {
    const answer = await world.chat(prompt('secure'), {
      headers: { 'content-type': type, ...headers },
    })
    expect(refusal(answer)).toEqual([415, 'unsupported_media_type'])
  })

  test('415 where there is no body at all', async () => {
    const answer = await world.call('/v1/chat/completions', { method: 'POST' })
    expect(refusal(answer)).toEqual([415, 'unsupported_media_type'])
  })

  test('404 route_not_found and 405 method_not_allowed have the same shape', async () => {
    const body = JSON.stringify(prompt('secure'))
    const unknown = await world.call(`/v1/${CANARY}?q=${CANARY}`, { method: 'POST', body })
    expect(refusal(unknown)).toEqual([404, 'route_not_found'])
    const wrong = await world.call('/v1/chat/completions', { method: 'DELETE', body })
    expect(refusal(wrong)).toEqual([405, 'method_not_allowed'])
    expect(wrong.headers['allow']).toBe('POST')
  })

  test('400 bad_request for a path that cannot be decoded', async () => {
    expect(refusal(await world.call(`/v1/models/%zz${CANARY}`))).toEqual([400, 'bad_request'])
  })

  test('nothing reached a provider, and no surface shows the prompt', async () => {
    for (const server of [world.model, world.backup, world.plain, world.plainBackup]) {
      expect(server.requests.filter(({ method }) => method === 'POST')).toEqual([])
    }
    await expectNoTrace(world, answers)
  })
})

interface Breakage {
  readonly what: string
  readonly reason: string
  readonly edit?: (file: ConfigDocument) => void
  readonly sabotage?: (model: ModelServer) => void
}

const BREAKAGES: readonly Breakage[] = [
  {
    what: 'another workload than the policy names',
    reason: 'workload_not_expected',
    edit: (file) => {
      const [first] = file.providers
      if (first === undefined || !('policy' in first)) throw new Error('no policy')
      Object.assign(first.policy, { workload: pinnedRow('ab'.repeat(48)) })
    },
  },
  {
    what: 'an answer to another challenge',
    reason: 'report_data_mismatch',
    sabotage: ({ evidence }) => {
      evidence.nonce = () => '0'.repeat(64)
    },
  },
  {
    what: 'no report at all',
    reason: 'report_unavailable',
    sabotage: ({ evidence }) => {
      evidence.status = 500
    },
  },
  {
    what: 'an expired keyset',
    reason: 'keyset_expired',
    sabotage: ({ evidence }) => {
      evidence.keyset = (keyset) => ({ ...keyset, not_after: 1 })
    },
  },
]

describe('a provider that fails verification', () => {
  test.each(BREAKAGES)('$what: 503, a refusal receipt, no prompt byte', async (breakage) => {
    const { edit, sabotage, reason } = breakage
    const world = await startWorld(edit === undefined ? {} : { edit })
    sabotage?.(world.model)
    world.clock.advance(3600)
    await world.gateway.tick()
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, answer.at('error.type')]).toEqual([503, 'upstream_verification_failed'])
    const receipt = await receiptOf(world, answer)
    expect(eventOf(receipt, 'request.forwarded')).toBeUndefined()
    expect(eventOf(receipt, 'upstream.verified')).toMatchObject({
      result: 'failed',
      required: true,
      reason,
      upstream_name: 'tee',
    })
    expect(world.model.requests.filter(({ method }) => method === 'POST')).toEqual([])
    const ready = await world.admin('/readyz')
    expect([ready.status, ready.at('providers.tee.state')]).toEqual([200, 'refused'])
    await expectNoTrace(world, [answer, ready])
    await world.close()
  })
})

describe('a man in the middle with a key of its own', () => {
  let relay: Relay
  test('sees zero prompt bytes after a verification that passed', async () => {
    const world = await startWorld({
      origin: async (model) => {
        relay = await startRelay({ target: model.origin, mode: 'passthrough' })
        return relay.origin
      },
    })
    expect((await world.chat(prompt('secure'))).status).toBe(200)
    relay.interceptNow()
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, answer.at('error.code')]).toEqual([503, 'upstream_verification_failed'])
    expect(Buffer.from(relay.plaintext()).toString()).not.toContain(CANARY)
    expect(Buffer.from(relay.plaintext()).toString()).not.toContain(UPSTREAM_SECRET)
    const receipt = await receiptOf(world, answer)
    expect(eventOf(receipt, 'request.forwarded')).toBeUndefined()
    expect(eventOf(receipt, 'upstream.verified')?.['reason']).toBe('channel_not_attested')
    await expectNoTrace(world, [answer])
    await world.close()
    await relay.close()
  })
})

test('a provider with a new key is verified again before the prompt is sent to it', async () => {
  const world = await startWorld()
  const before = await world.chat(prompt('secure'))
  world.model.rotate()
  const after = await world.chat(prompt('secure'))
  expect([before.status, after.status]).toEqual([200, 200])
  const [first, second] = [await receiptOf(world, before), await receiptOf(world, after)]
  expect(eventOf(second, 'upstream.verified')?.['session_id']).not.toBe(
    eventOf(first, 'upstream.verified')?.['session_id'],
  )
  await world.close()
})
