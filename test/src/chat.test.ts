import { parseReceipt, parseReport, verifyReceipt } from '@vouchgate/attestation'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  CANARY,
  eventOf,
  KEY,
  member,
  prompt,
  receiptOf,
  sessionIds,
  sha256Hex,
  startWorld,
  UPSTREAM_SECRET,
  type Answer,
  type World,
} from './harness.ts'

let world: World
beforeAll(async () => {
  world = await startWorld({
    edit: (file) => {
      for (const model of file.models) {
        if (model.name === 'test-model') Object.assign(model, { cache_salt: 'off' })
      }
    },
  })
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

async function verified(answer: Answer, requestBody: string) {
  const receipt = await receiptOf(world, answer)
  const report = parseReport((await world.call('/v1/aci/attestation')).bytes)
  await verifyReceipt({
    receipt,
    keyset: report.attestation.workload_keyset,
    keysetDigest: world.gateway.keysetDigest(),
    requestBody: Buffer.from(requestBody),
    responseBody: answer.bytes,
  })
  return receipt
}

describe('a completion of an attested model', () => {
  test('comes back with a receipt over its exact bytes that cites a kept session', async () => {
    const body = JSON.stringify(prompt('secure'))
    const answer = await world.chat(body)
    expect(answer.status).toBe(200)
    expect(answer.at('choices.0.message.content')).toContain(CANARY)
    const receipt = await verified(answer, body)
    expect(receipt.event_log.map(({ type }) => type)).toEqual([
      'request.received',
      'request.forwarded',
      'upstream.verified',
      'response.returned',
      'vouchgate.outcome',
    ])
    const cited = eventOf(receipt, 'upstream.verified')
    expect(cited).toMatchObject({ result: 'verified', required: true, model_id: 'test-model' })
    const session = await world.call(`/v1/aci/sessions/${String(cited?.['session_id'])}`, {
      key: null,
    })
    expect(session.at('endpoint')).toBe(world.model.origin)
    expect(eventOf(receipt, 'vouchgate.outcome')?.['end']).toBe('complete')
  })

  test('is found by its chat id as well', async () => {
    const answer = await world.chat(prompt('secure'))
    const found = await world.call(`/v1/aci/receipts/${String(answer.at('id'))}`)
    expect(found.at('receipt_id')).toBe(answer.headers['x-receipt-id'])
  })

  test('streams, with a receipt over every byte of the stream', async () => {
    const body = JSON.stringify(prompt('secure', { stream: true }))
    const answer = await world.chat(body)
    expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8')
    expect(answer.text.endsWith('data: [DONE]\n\n')).toBe(true)
    const receipt = await verified(answer, body)
    expect(receipt.chat_id).toMatch(/^chatcmpl-/)
  })

  test('is forwarded byte for byte where nothing must change', async () => {
    const body = `{ "messages":[{"role":"user","content":"\\u0061 ${CANARY}"}],\n "model" : "test-model", "seed":1.0 }`
    const answer = await world.chat(body)
    expect(answer.status).toBe(200)
    expect(Buffer.from(world.model.requests[0]?.body ?? []).toString()).toBe(body)
    const receipt = await verified(answer, body)
    expect(eventOf(receipt, 'request.forwarded')?.['body_hash']).toBe(`sha256:${sha256Hex(body)}`)
  })

  test('loses what is said to the gateway, and nothing else', async () => {
    const body = `{"model":"test-model","n":1.0,"provider":{"aci_verified":true,"only":["tee"]},"messages":[]}`
    await world.chat(body)
    expect(Buffer.from(world.model.requests[0]?.body ?? []).toString()).toBe(
      `{"model":"test-model","n":1.0,"messages":[]}`,
    )
  })

  test('reaches the provider with the provider’s key and none of the client’s headers', async () => {
    await world.chat(prompt('secure'), { headers: { 'user-agent': 'client', cookie: 'a=b' } })
    const headers = world.model.requests[0]?.headers ?? {}
    expect(headers.authorization).toBe(`Bearer ${UPSTREAM_SECRET}`)
    expect(headers['accept-encoding']).toBe('identity')
    expect(headers['user-agent']).toBeUndefined()
    expect(headers.cookie).toBeUndefined()
  })

  test('carries the ACI headers and a request id', async () => {
    const { headers } = await world.chat(prompt('secure'))
    expect(headers['x-aci-version']).toBe('aci/1')
    expect(headers['x-aci-keyset-digest']).toBe(world.gateway.keysetDigest())
    expect(headers['x-request-id']).toMatch(/^req_/)
    expect(headers['x-receipt-id']).toMatch(/^rcpt_/)
  })
})

describe('serving constraints', () => {
  test('a pinned current session serves, and the receipt cites it', async () => {
    const [id] = await sessionIds(world, '?model=secure')
    const answer = await world.chat(prompt('secure', { provider: { aci_session_ids: [id] } }))
    expect(answer.status).toBe(200)
    expect(eventOf(await receiptOf(world, answer), 'upstream.verified')?.['session_id']).toBe(id)
    expect(Buffer.from(world.model.requests[0]?.body ?? []).toString()).not.toContain('aci_')
  })

  test('a session that is not current is refused before the prompt leaves', async () => {
    const answer = await world.chat(
      prompt('secure', { provider: { aci_session_ids: ['0'.repeat(64)] } }),
    )
    expect(answer.status).toBe(412)
    expect(answer.at('error.type')).toBe('session_not_accepted')
    expect(world.model.requests).toEqual([])
    const receipt = await receiptOf(world, answer)
    expect(eventOf(receipt, 'request.forwarded')).toBeUndefined()
    expect(eventOf(receipt, 'upstream.verified')).toMatchObject({
      result: 'failed',
      reason: 'session_not_accepted',
    })
  })

  test('a plain model cannot satisfy aci_verified', async () => {
    const answer = await world.chat(prompt('ordinary', { provider: { aci_verified: true } }))
    expect([answer.status, answer.at('error.code')]).toEqual([503, 'upstream_verification_failed'])
    expect(world.plain.requests).toEqual([])
  })

  test('a plain model has no session that could be pinned', async () => {
    const provider = { aci_session_ids: ['0'.repeat(64)] }
    const answer = await world.chat(prompt('ordinary', { provider }))
    expect([answer.status, answer.at('error.code')]).toEqual([412, 'session_not_accepted'])
    expect(world.plain.requests).toEqual([])
  })

  test.each([
    [{ aci_verified: 'yes' }],
    [{ aci_unknown: 1 }],
    [{ aci_session_ids: [] }],
    [{ aci_session_ids: ['xyz'] }],
    [{ aci_session_ids: Array.from({ length: 65 }, () => '0'.repeat(64)) }],
    [{ aci_session_ids: ['0'.repeat(64)], aci_verified: false }],
  ])('%j is refused as invalid', async (provider) => {
    const answer = await world.chat(prompt('secure', { provider }))
    expect([answer.status, answer.at('error.code')]).toEqual([400, 'invalid_constraint'])
    expect(answer.headers['x-receipt-id']).toMatch(/^rcpt_/)
  })
})

describe('a plain model', () => {
  test('is served by consent, and its receipt never reads as verified', async () => {
    const answer = await world.chat(prompt('ordinary'))
    expect(answer.status).toBe(200)
    expect(eventOf(await receiptOf(world, answer), 'upstream.verified')).toMatchObject({
      result: 'failed',
      required: false,
      reason: 'not_attested',
      upstream_name: 'plain',
    })
  })
})

describe('fallback', () => {
  test('goes to the next provider of the same class when the first fails', async () => {
    world.model.chat.answer = { status: 500, body: '{"error":{}}' }
    const answer = await world.chat(prompt('resilient'))
    expect(answer.status).toBe(200)
    expect(world.backup.requests).toHaveLength(1)
    const receipt = await receiptOf(world, answer)
    expect(eventOf(receipt, 'vouchgate.attempt')).toMatchObject({
      upstream_name: 'tee',
      code: 'upstream_error',
    })
    expect(receipt.event_log.filter(({ type }) => type === 'upstream.verified')).toHaveLength(1)
  })

  test('never reaches a plain provider for an attested model', async () => {
    world.model.chat.answer = { status: 500, body: '{"error":{}}' }
    world.backup.chat.answer = { status: 429, body: '{}', headers: { 'retry-after': '7' } }
    const answer = await world.chat(prompt('resilient'))
    expect([answer.status, answer.at('error.code')]).toEqual([429, 'upstream_rate_limited'])
    expect(answer.headers['retry-after']).toBe('7')
    expect([...world.plain.requests, ...world.plainBackup.requests]).toEqual([])
  })

  test('says what happened to the prompt where the next provider cannot be verified', async () => {
    world.model.chat.answer = { status: 500, body: '{"error":{}}' }
    world.backup.evidence.status = 500
    world.clock.advance(600)
    const answer = await world.chat(prompt('resilient'))
    world.backup.evidence.status = null
    expect([answer.status, answer.at('error.code')]).toEqual([502, 'upstream_error'])
    const receipt = await receiptOf(world, answer)
    const attempts = receipt.event_log.filter(({ type }) => type === 'vouchgate.attempt')
    expect(attempts.map((event) => [event['code'], event['body_hash'] !== undefined])).toEqual([
      ['upstream_error', true],
      ['upstream_verification_failed', false],
    ])
    expect(eventOf(receipt, 'upstream.verified')?.['result']).toBe('failed')
    world.clock.advance(60)
    await world.gateway.tick()
  })

  test('tries the other provider where the pinned session is of that one', async () => {
    const [id = ''] = await sessionIds(world, '?upstream_name=tee-backup')
    const pinned = prompt('resilient', { provider: { aci_session_ids: [id] } })
    const answer = await world.chat(pinned)
    expect(answer.status).toBe(200)
    expect([world.model.requests.length, world.backup.requests.length]).toEqual([0, 1])
  })

  test('does not repeat a request that the provider finds at fault, and passes its words on', async () => {
    const body = JSON.stringify({ error: { message: `too long: ${CANARY}`, code: 'x' } })
    world.model.chat.answer = { status: 400, body }
    const answer = await world.chat(prompt('resilient'))
    expect([answer.status, answer.text]).toEqual([400, body])
    expect(world.backup.requests).toEqual([])
    expect(world.logs.join('')).not.toContain(CANARY)
  })

  test('does not repeat a refused request whose refusal cannot be read either', async () => {
    world.model.chat.answer = { status: 400, body: `<html>${CANARY}</html>` }
    const answer = await world.chat(prompt('resilient'))
    expect([answer.status, answer.at('error.code')]).toEqual([400, 'request_rejected'])
    expect(answer.text).not.toContain(CANARY)
    expect(world.backup.requests).toEqual([])
  })

  test.each([
    [401, 502, 'upstream_credentials'],
    [403, 502, 'upstream_credentials'],
    [404, 502, 'upstream_error'],
    [500, 502, 'upstream_error'],
    [503, 503, 'upstream_overloaded'],
    [504, 504, 'upstream_timeout'],
  ])('a provider’s %i becomes %i %s', async (status, expected, code) => {
    world.model.chat.answer = { status, body: `<html>${CANARY}</html>` }
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, answer.at('error.code')]).toEqual([expected, code])
    expect(answer.text).not.toContain(CANARY)
  })

  test('a response that is no JSON is not passed on', async () => {
    world.model.chat.answer = { status: 200, body: `oops ${CANARY}` }
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, answer.at('error.code')]).toEqual([502, 'upstream_malformed'])
  })

  test('a whole response that breaks is retried elsewhere', async () => {
    world.model.chat.cutAfterChunks = 1
    expect((await world.chat(prompt('resilient'))).status).toBe(200)
    expect((await world.chat(prompt('secure'))).at('error.code')).toBe('upstream_broken')
  })
})

describe('a stream', () => {
  test('that breaks ends with an error event and without [DONE]', async () => {
    world.model.chat.cutAfterChunks = 2
    const body = JSON.stringify(prompt('resilient', { stream: true }))
    const answer = await world.chat(body)
    expect(answer.status).toBe(200)
    expect(answer.text).not.toContain('[DONE]')
    const last = answer.text.trim().split('\n\n').at(-1) ?? ''
    expect(member(JSON.parse(last.slice('data: '.length)), 'error.code')).toBe('upstream_broken')
    expect(world.backup.requests).toEqual([])
    const receipt = await verified(answer, body)
    expect(eventOf(receipt, 'vouchgate.outcome')?.['end']).toBe('upstream_error')
  })

  test('that breaks before its first event is retried on the next provider', async () => {
    world.model.chat.cutAfterChunks = 0
    const answer = await world.chat(prompt('resilient', { stream: true }))
    expect(answer.text).toContain('[DONE]')
    expect(world.backup.requests).toHaveLength(1)
  })

  test('that ends cleanly without [DONE] is still marked as broken', async () => {
    world.model.chat.answer = {
      status: 200,
      headers: { 'content-type': 'text/event-stream' },
      body: 'data: {"id":"chatcmpl-1","choices":[]}\n\ndata: {"half":',
    }
    const answer = await world.chat(prompt('secure', { stream: true }))
    expect(answer.text).toContain('upstream_broken')
    expect(answer.text).not.toContain('half')
    expect(answer.text).not.toContain('[DONE]')
  })

  test('that the client leaves is aborted at the provider and has a receipt', async () => {
    world.model.chat.chunkDelayMs = 50
    const before = world.model.aborted()
    const gone = new AbortController()
    const started = world.chat(prompt('secure', { stream: true }), { signal: gone.signal })
    await expect.poll(() => world.model.requests.length).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 120))
    gone.abort()
    await expect(started).rejects.toThrow(/abort/i)
    await expect.poll(() => world.model.aborted()).toBe(before + 1)
    const done = () =>
      world.logs.find((line) => line.includes('prompt_done') && line.includes('client_abort'))
    await expect.poll(done).toBeDefined()
    const line = done() ?? '{}'
    const receipt = await world.call(
      `/v1/aci/receipts/${String(member(JSON.parse(line), 'receipt'))}`,
    )
    expect(eventOf(parseReceipt(JSON.parse(receipt.text)), 'vouchgate.outcome')?.['end']).toBe(
      'client_abort',
    )
  })
})

describe('receipts', () => {
  test('are for the credential that made the request', async () => {
    const answer = await world.chat(prompt('secure'))
    const path = `/v1/aci/receipts/${String(answer.headers['x-receipt-id'])}`
    const none = await world.call(path, { key: null })
    expect([none.status, none.at('error.type')]).toEqual([401, 'unauthorized'])
    for (const key of ['someone-else', 'vg-test-key-attested-only']) {
      const wrong = await world.call(path, { key })
      expect([wrong.status, wrong.at('error.type')]).toEqual([404, 'not_found'])
    }
    expect((await world.call(path, { key: KEY })).status).toBe(200)
  })
})

test('nothing of all this has left a trace of a prompt or a secret in logs or metrics', async () => {
  const metrics = await world.admin('/metrics')
  expect(world.logs.length).toBeGreaterThan(0)
  for (const surface of [...world.logs, metrics.text]) {
    for (const secret of [CANARY, UPSTREAM_SECRET, KEY]) expect(surface).not.toContain(secret)
  }
})
