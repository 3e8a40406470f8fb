import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Answer, World } from './harness.ts'
import { eventOf, member, prompt, receiptOf, sessionIds, startWorld } from './harness.ts'

let world: World
beforeEach(async () => {
  world = await startWorld()
  await world.gateway.tick()
})
afterEach(() => world.close())

const chats = (): number =>
  world.model.requests.filter(({ path }) => path === '/v1/chat/completions').length

/** A stream that has begun, and goes on for a while. */
async function running(): Promise<{ ended: Promise<Answer> }> {
  world.model.chat.chunkDelayMs = 40
  const before = chats()
  const ended = world.chat(prompt('secure', { stream: true }))
  await expect.poll(chats).toBe(before + 1)
  return { ended }
}

const refreshRefused = async (): Promise<void> => {
  world.model.evidence.nonce = () => '1'.repeat(64)
  world.clock.advance(450)
  await world.gateway.tick()
}

describe('a provider whose verification begins to fail', () => {
  test('ends the streams it has begun, on their own channel', async () => {
    const { ended } = await running()
    await refreshRefused()
    const answer = await ended
    expect(answer.text.endsWith('data: [DONE]\n\n')).toBe(true)
    expect(eventOf(await receiptOf(world, answer), 'upstream.verified')?.['result']).toBe(
      'verified',
    )
  })

  test('gets no new prompt within one refresh', async () => {
    const { ended } = await running()
    await refreshRefused()
    const before = chats()
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, answer.at('error.code')]).toEqual([503, 'upstream_verification_failed'])
    expect(chats()).toBe(before)
    await ended
    expect((await world.chat(prompt('secure'))).status).toBe(503)
  })

  test('gets no prompt that waited for a connection when it was refused', async () => {
    await world.close()
    world = await startWorld({
      edit: (file) => Object.assign(file.limits, { connections_per_provider: 1 }),
    })
    await world.gateway.tick()
    const { ended } = await running()
    const waiting = world.chat(prompt('secure'))
    await expect
      .poll(() => world.admin('/metrics').then(({ text }) => text))
      .toContain('vouchgate_prompts_in_flight 2')
    await refreshRefused()
    const [stream, refused] = await Promise.all([ended, waiting])
    expect(stream.text.endsWith('data: [DONE]\n\n')).toBe(true)
    expect([refused.status, refused.at('error.code')]).toEqual([
      503,
      'upstream_verification_failed',
    ])
    expect(chats()).toBe(1)
  })

  test('leaves its traffic to the others of its class', async () => {
    await refreshRefused()
    const answer = await world.chat(prompt('resilient'))
    expect(answer.status).toBe(200)
    const cited = eventOf(await receiptOf(world, answer), 'upstream.verified')
    const backup = await sessionIds(world, '?upstream_name=tee-backup')
    expect(backup).toContain(cited?.['session_id'])
  })
})

test('a prompt that waited until its session had expired is sent under a new one', async () => {
  await world.close()
  world = await startWorld({
    edit: (file) => Object.assign(file.limits, { connections_per_provider: 1 }),
  })
  await world.gateway.tick()
  const until = world.clock.now() + 550
  world.model.evidence.keyset = (keyset) => ({ ...keyset, not_after: until })
  world.clock.advance(450)
  await world.gateway.tick()
  world.model.evidence.keyset = (keyset) => keyset
  const [short = ''] = await sessionIds(world, '?upstream_name=tee')
  const { ended } = await running()
  const waiting = world.chat(prompt('secure'))
  await expect
    .poll(() => world.admin('/metrics').then(({ text }) => text))
    .toContain('vouchgate_prompts_in_flight 2')
  world.clock.set(until)
  const answers = await Promise.all([ended, waiting])
  expect(answers.map(({ status }) => status)).toEqual([200, 200])
  const receipts = await Promise.all(answers.map((answer) => receiptOf(world, answer)))
  const cited = receipts.map((receipt) => eventOf(receipt, 'upstream.verified')?.['session_id'])
  expect(cited[0]).toBe(short)
  expect(cited[1]).not.toBe(short)
})

describe('a session that was just superseded', () => {
  test('serves those who pinned it, for as long as the list shows it', async () => {
    const [old = ''] = await sessionIds(world, '?upstream_name=tee')
    world.clock.advance(450)
    await world.gateway.tick()
    const pinned = { ...prompt('secure'), provider: { aci_session_ids: [old] } }
    for (const seconds of [0, 60, 59]) {
      world.clock.advance(seconds)
      expect(await sessionIds(world, '?upstream_name=tee')).toContain(old)
      const answer = await world.chat(pinned)
      expect(answer.status).toBe(200)
      const cited = eventOf(await receiptOf(world, answer), 'upstream.verified')
      expect(cited?.['session_id']).toBe(old)
    }
    world.clock.advance(1)
    expect(await sessionIds(world, '?upstream_name=tee')).not.toContain(old)
    const refused = await world.chat(pinned)
    expect([refused.status, refused.at('error.code')]).toEqual([412, 'session_not_accepted'])
  })
})

describe('the state of providers', () => {
  const seen = async () => {
    const [providers, ready, metrics] = await Promise.all([
      world.call('/v1/attestation/providers', { key: null }),
      world.admin('/readyz'),
      world.admin('/metrics'),
    ])
    return {
      provider: (path: string) => member(JSON.parse(providers?.text ?? ''), `providers.0.${path}`),
      ready: (path: string) => ready?.at(`providers.tee.${path}`),
      metrics: metrics?.text ?? '',
    }
  }

  test('is the same everywhere while it is verified', async () => {
    const { provider, ready, metrics } = await seen()
    const until = world.clock.now() + 600
    expect([provider('id'), provider('kind'), provider('origin')]).toEqual([
      'tee',
      'aci',
      world.model.origin,
    ])
    expect([provider('state'), provider('verified_until')]).toEqual(['verified', until])
    expect([provider('reason'), provider('retry_at'), provider('breaker')]).toEqual([
      null,
      null,
      'closed',
    ])
    expect(provider('sessions')).toEqual(await sessionIds(world, '?upstream_name=tee'))
    expect([ready('state'), ready('verified_until')]).toEqual(['verified', until])
    expect(metrics).toContain('vouchgate_provider_state{provider="tee",state="verified"} 1')
    expect(metrics).toContain('vouchgate_provider_state{provider="tee",state="refused"} 0')
    expect(metrics).toContain('vouchgate_provider_verified_seconds{provider="tee"} 600')
    expect(metrics).toContain('vouchgate_provider_sessions{provider="tee"} 1')
    expect(metrics).toContain(
      'vouchgate_provider_breaker{provider="tee",breaker="verification",state="closed"} 1',
    )
    expect(metrics).toContain(
      'vouchgate_provider_breaker{provider="plain",breaker="serving",state="closed"} 1',
    )
  })

  test('is the same everywhere while it is refused', async () => {
    await refreshRefused()
    const { provider, ready, metrics } = await seen()
    expect([provider('state'), provider('reason'), provider('sessions')]).toEqual([
      'refused',
      'report_data_mismatch',
      [],
    ])
    expect([provider('verified_until'), provider('retry_at')]).toEqual([
      null,
      world.clock.now() + 1,
    ])
    expect([ready('state'), ready('reason')]).toEqual(['refused', 'report_data_mismatch'])
    expect(metrics).toContain('vouchgate_provider_state{provider="tee",state="refused"} 1')
    expect(metrics).toContain('vouchgate_provider_verified_seconds{provider="tee"} 0')
  })

  test('names no plain provider and no secret', async () => {
    const { text } = await world.call('/v1/attestation/providers', { key: null })
    expect(text).not.toContain('"plain"')
    expect(text).not.toContain('upstream-secret')
    const refused = await world.call('/v1/attestation/providers', { method: 'POST', key: null })
    expect(refused.status).toBe(405)
  })

  test('is logged when it changes, with its reason', async () => {
    await refreshRefused()
    const changes = world.logs.filter(
      (line) => line.includes('provider_state_changed') && line.includes('"tee"'),
    )
    expect(
      changes.map((line) => [member(JSON.parse(line), 'to'), member(JSON.parse(line), 'reason')]),
    ).toEqual([
      ['verified', null],
      ['refused', 'report_data_mismatch'],
    ])
    expect(world.logs.join('')).toContain('"event":"identity_first_seen"')
  })
})
