import { randomBytes } from 'node:crypto'
import { parseReceipt, parseReport, verifyReceipt } from '@vouchgate/attestation'
import { afterEach, describe, expect, test } from 'vitest'
import { startCollector } from '../support/otlp-collector.ts'
import type { Answer, ClusterOptions, ClusterWorld } from './cluster-world.ts'
import { certificateAt, startCluster } from './cluster-world.ts'
import { ATTESTED_ONLY_KEY, eventOf, member, prompt } from './harness.ts'

/* What a client meets must be the same whichever worker its connection ends in. Workers are numbered 1 and 2. */

let world: ClusterWorld
const start = async (options: ClusterOptions = {}): Promise<void> => {
  world = await startCluster(options)
  await world.leader.tick()
}
afterEach(() => world.close())

const BOTH = [1, 2] as const
const both = <T>(each: (worker: number) => Promise<T>): Promise<T[]> => Promise.all(BOTH.map(each))

/** Requests for evidence that have reached the provider. */
const collections = (): number =>
  world.model.requests.filter(({ path }) => path.startsWith('/v1/aci/attestation')).length

const chat = (worker: number, extra: object = {}): Promise<Answer> =>
  world.call(worker, '/v1/chat/completions', { body: prompt('secure', extra) })

const pinned = (id: string) => ({ provider: { aci_session_ids: [id] } })

const sessions = async (worker: number): Promise<string[]> => {
  const { text } = await world.call(worker, '/v1/aci/sessions', { key: null })
  return [...text.matchAll(/"session_id":"([0-9a-f]{64})"/g)].map(([, id]) => id ?? '')
}

const at = ({ text }: Answer, path: string): unknown => member(JSON.parse(text), path)
const codeOf = (answer: Answer) => [answer.status, at(answer, 'error.code')]

/** A round that the leader has begun reaches workers a moment after it has ended. */
const sameSessions = async (count: number): Promise<readonly string[]> => {
  await expect
    .poll(async () => (await both(sessions)).map(({ length }) => length))
    .toEqual([count, count])
  const [first = [], second] = await both(sessions)
  expect(second).toEqual(first)
  return first
}

describe('keys', () => {
  const digests = () =>
    both(async (worker) => (await world.call(worker, '/healthz')).headers['x-aci-keyset-digest'])

  test('are the same in both, and reach both when they are replaced', async () => {
    await start({ edit: (file) => Object.assign(file.enclave, { keyset_lifetime_seconds: 900 }) })
    const before = world.leader.keysetDigest()
    expect(await digests()).toEqual([before, before])
    const [first, second] = await both(async (worker) => certificateAt(await world.url(worker)))
    expect(first).toBe(second)
    const answer = await chat(1)
    const nonceless = await both((worker) => world.call(worker, '/v1/aci/attestation'))
    const report = parseReport(Buffer.from(nonceless[0]?.text ?? ''))
    world.clock.advance(600)
    await world.leader.tick()
    const after = world.leader.keysetDigest()
    expect(after).not.toBe(before)
    await expect.poll(digests).toEqual([after, after])
    const renewed = await both(async (worker) => certificateAt(await world.url(worker)))
    expect(new Set([...renewed, first]).size).toBe(2)
    // What was sealed before is signed by the key of its time, at the other worker too.
    const id = String(answer.headers['x-receipt-id'])
    const { text } = await world.call(2, `/v1/aci/receipts/${id}`)
    const receipt = parseReceipt(JSON.parse(text))
    await verifyReceipt({
      receipt,
      keyset: report.attestation.workload_keyset,
      keysetDigest: before,
      requestBody: Buffer.from(JSON.stringify(prompt('secure'))),
      responseBody: Buffer.from(answer.text),
    })
  })

  test('are in no log, and no worker is sent them before it has said what it is', async () => {
    await start({ silent: (number) => number === 3 })
    world.workers[0]?.end(1, null)
    await expect.poll(() => world.workers.length).toBe(3)
    expect(world.workers[2]?.heard).toEqual([])
    expect(JSON.stringify(world.workers[1]?.heard)).toContain('PRIVATE KEY')
    expect(world.logs.join('')).not.toContain('PRIVATE KEY')
  })

  test('a report over a nonce comes of the leader, with the collateral of the gateway', async () => {
    await start()
    const nonce = randomBytes(32).toString('hex')
    const reports = await both((worker) => world.call(worker, `/v1/aci/attestation?nonce=${nonce}`))
    for (const answer of reports) {
      expect(at(answer, 'workload_keyset_digest')).toBe(world.leader.keysetDigest())
      expect(at(answer, 'attestation.evidence.collateral')).toMatchObject({})
    }
    const refused = await world.call(2, '/v1/aci/attestation?nonce=00')
    expect(codeOf(refused)).toEqual([400, 'invalid_nonce'])
  })

  test('the bounds of the queue for quotes hold for both together', async () => {
    let hold: Promise<void> = Promise.resolve()
    const held = Promise.withResolvers<void>()
    await start({
      edit: (file) => Object.assign(file.enclave, { max_waiting_quotes: 1 }),
      source: (source) => ({
        ...source,
        quote: async (data) => {
          await hold
          return source.quote(data)
        },
      }),
    })
    hold = held.promise
    const ask = (worker: number) =>
      world.call(worker, `/v1/aci/attestation?nonce=${randomBytes(32).toString('hex')}`)
    const asked = [ask(1), ask(2), ask(1), ask(2)]
    // Two of them are made or wait; before the others have been refused there may be room again.
    const refused: Awaited<(typeof asked)[number]>[] = []
    for (const each of asked) void each.then((answer) => refused.push(answer))
    await expect.poll(() => refused.length).toBe(2)
    expect(refused.map(codeOf)).toEqual([1, 2].map(() => [429, 'quote_busy']))
    expect(refused.map(({ headers }) => headers['retry-after'])).toEqual(['2', '2'])
    held.resolve()
    const statuses = (await Promise.all(asked)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200).length).toBe(2)
  })
})

describe('sessions', () => {
  test('come of one collection, and are the same in both, refreshed ones too', async () => {
    await start()
    const [old = ''] = await sameSessions(1)
    expect(collections()).toBe(1)
    world.clock.advance(450)
    await world.leader.tick()
    const [newest = '', superseded] = await sameSessions(2)
    expect(superseded).toBe(old)
    expect(collections()).toBe(2)
    for (const id of [old, newest]) {
      const answers = await both((worker) => chat(worker, pinned(id)))
      expect(answers.map(({ status }) => status)).toEqual([200, 200])
    }
    const providers = await both((worker) => world.call(worker, '/v1/attestation/providers'))
    expect(providers[0]?.text).toBe(providers[1]?.text)
  })

  test('are in a worker that starts later as they are in the others, superseded ones too', async () => {
    await start()
    const [old = ''] = await sameSessions(1)
    world.clock.advance(450)
    await world.leader.tick()
    const listed = await sameSessions(2)
    world.clock.advance(60)
    world.workers[0]?.end(1, null)
    await world.url(3)
    expect(await sessions(3)).toEqual(listed)
    expect(await sessions(2)).toEqual(listed)
    expect((await chat(3, pinned(old))).status).toBe(200)
    world.clock.advance(60)
    expect(await sessions(3)).toEqual(await sessions(2))
    expect((await chat(3, pinned(old))).status).toBe(412)
    expect(collections()).toBe(2)
  })

  test('a worker that starts later knows what was refused', async () => {
    await start()
    world.model.evidence.nonce = () => '1'.repeat(64)
    world.clock.advance(450)
    await world.leader.tick()
    world.workers[0]?.end(1, null)
    await world.url(3)
    const providers = (worker: number) => world.call(worker, '/v1/attestation/providers')
    const [third, second] = [await providers(3), await providers(2)]
    expect(at(third, 'providers.0.reason')).toBe('report_data_mismatch')
    expect([at(third, 'providers.0.state'), at(second, 'providers.0.state')]).toEqual([
      'refused',
      'refused',
    ])
    expect(collections()).toBe(2)
  })

  test('prompts that arrive before the first round share it', async () => {
    world = await startCluster()
    const answers = await both((worker) => chat(worker))
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(collections()).toBe(1)
  })

  test('evidence that is refused ends them in both', async () => {
    await start()
    await sameSessions(1)
    world.model.evidence.nonce = () => '1'.repeat(64)
    world.clock.advance(450)
    await world.leader.tick()
    await sameSessions(0)
    const answers = await both((worker) => chat(worker))
    expect(answers.map(codeOf)).toEqual([
      [503, 'upstream_verification_failed'],
      [503, 'upstream_verification_failed'],
    ])
    expect(collections()).toBe(2)
  })

  test('a provider that cannot be asked keeps them in both until they expire, and says why', async () => {
    await start()
    await sameSessions(1)
    world.model.evidence.status = 500
    world.clock.advance(450)
    await world.leader.tick()
    const reason = async (worker: number) =>
      at(await world.call(worker, '/v1/attestation/providers'), 'providers.0.reason')
    await expect.poll(() => both(reason)).toEqual(['report_unavailable', 'report_unavailable'])
    await sameSessions(1)
    expect((await both((worker) => chat(worker))).map(({ status }) => status)).toEqual([200, 200])
    world.clock.advance(150)
    expect((await both((worker) => chat(worker))).map(({ status }) => status)).toEqual([503, 503])
  })

  test('a worker that finds another key asks for a round, which all get', async () => {
    await start()
    const [old] = await sameSessions(1)
    world.model.rotate()
    expect((await chat(1)).status).toBe(200)
    expect(collections()).toBe(2)
    await expect.poll(() => both(async (worker) => (await sessions(worker))[0])).not.toContain(old)
    const [newest] = await both(sessions)
    expect((await sessions(2))[0]).toBe(newest?.[0])
    expect((await chat(2)).status).toBe(200)
    expect(collections()).toBe(2)
  })

  test('one that only a receipt at the other worker cites is served by both', async () => {
    await start()
    const [id = ''] = await sameSessions(1)
    const answer = await chat(1, pinned(id))
    expect(answer.status).toBe(200)
    world.clock.advance(700)
    await world.leader.tick()
    await expect
      .poll(() => both(async (each) => (await sessions(each)).includes(id)))
      .toEqual([false, false])
    const found = await both((worker) =>
      world.call(worker, `/v1/aci/sessions/${id}`, { key: null }),
    )
    expect(found.map(({ status }) => status)).toEqual([200, 200])
    expect(found[0]?.text).toBe(found[1]?.text)
    const nowhere = await world.call(1, `/v1/aci/sessions/${'0'.repeat(64)}`, { key: null })
    expect(codeOf(nowhere)).toEqual([404, 'not_found'])
  })
})

describe('receipts', () => {
  test('are found at the other worker by both ids, for the key that asked alone', async () => {
    await start()
    const answer = await chat(1)
    const ids = [String(answer.headers['x-receipt-id']), String(at(answer, 'id'))]
    for (const id of ids) {
      const [first, second] = await both((worker) => world.call(worker, `/v1/aci/receipts/${id}`))
      expect([first?.status, second?.status]).toEqual([200, 200])
      expect(second?.text).toBe(first?.text)
      expect(
        eventOf(parseReceipt(JSON.parse(second?.text ?? '')), 'upstream.verified'),
      ).toMatchObject({
        result: 'verified',
      })
      const other = await world.call(2, `/v1/aci/receipts/${id}`, { key: ATTESTED_ONLY_KEY })
      expect(codeOf(other)).toEqual([404, 'not_found'])
    }
  })

  test('nobody without a key of the gateway makes another worker look', async () => {
    await start()
    const asked = () => world.workers[0]?.heard.filter(({ type }) => type === 'ask').length
    const unknown = await world.call(2, '/v1/aci/receipts/rcpt_x', { key: 'no-key-of-ours' })
    expect([codeOf(unknown), asked()]).toEqual([[404, 'not_found'], 0])
    const known = await world.call(2, '/v1/aci/receipts/rcpt_x')
    expect([codeOf(known), asked()]).toEqual([[404, 'not_found'], 1])
  })

  test('where a worker does not answer in time, nobody says that there is none', async () => {
    await start({ silent: (number) => number === 3 })
    world.workers[0]?.end(1, null)
    await expect.poll(() => world.workers.length).toBe(3)
    const silent = world.workers[2]
    silent?.say({ type: 'hello', configDigest: world.config.digest, facts: {} })
    await expect.poll(() => silent?.heard.map(({ type }) => type)).toContain('start')
    silent?.say({ type: 'serving', port: 1 })
    await expect.poll(() => world.logs.join('')).toContain('"worker_serving","worker":3')
    const answer = await world.call(2, '/v1/aci/receipts/rcpt_x')
    expect(codeOf(answer)).toEqual([503, 'worker_busy'])
    silent?.end(1, null)
  })
})

test('a name that a client chooses is replaced by the same one in both', async () => {
  await start()
  await both((worker) => chat(worker, { user: 'somebody' }))
  const bodies = world.model.requests
    .filter(({ method }) => method === 'POST')
    .map(({ body }) => JSON.parse(Buffer.from(body).toString()))
  const users = bodies.map((body) => member(body, 'user'))
  expect(users.length).toBe(2)
  expect(users[0]).toBe(users[1])
  expect(users[0]).not.toBe('somebody')
  expect(member(bodies[0], 'cache_salt')).toBe(member(bodies[1], 'cache_salt'))
})

describe('the admin listener', () => {
  test('shows sums, and keeps what a worker counted that has ended', async () => {
    await start()
    await sameSessions(1)
    await both((worker) => chat(worker))
    await chat(2)
    const prompts = 'vouchgate_prompts_total{end="complete",code="none"} 3\n'
    const before = await world.admin('/metrics')
    expect(before).toContain(prompts)
    expect(before).toContain('vouchgate_receipts 3\n')
    expect(before).toContain('vouchgate_workers 2\n')
    expect(before).toContain('vouchgate_verifications_total{provider="tee",result="verified"} 1\n')
    expect(before).toContain('vouchgate_provider_sessions{provider="tee"} 1\n')
    expect(before).toContain('vouchgate_provider_state{provider="tee",state="verified"} 1\n')
    const breaker = 'vouchgate_provider_breaker{provider="tee",breaker="serving",state'
    expect(before).toContain(`${breaker}="closed"} 1\n`)
    world.workers[1]?.end(null, 'SIGKILL')
    const after = await world.admin('/metrics')
    expect(after).toContain(prompts)
    expect(after).toContain('vouchgate_receipts 1\n')
    expect(after).toContain('vouchgate_workers_ended_total 1\n')
  })

  test('shows the worst of the breakers of workers', async () => {
    await start()
    await sameSessions(1)
    world.model.chat.answer = { status: 500, body: '{}' }
    for (let count = 0; count < 5; count++) await chat(1)
    const text = await world.admin('/metrics')
    const breaker = 'vouchgate_provider_breaker{provider="tee",breaker="serving",state'
    expect(text).toContain(`${breaker}="open"} 1\n`)
    expect(text).toContain(`${breaker}="closed"} 0\n`)
  })

  test('is ready while a worker serves, and says how many do', async () => {
    await start({ silent: (number) => number > 2 })
    expect(member(JSON.parse(await world.admin('/readyz')), 'workers')).toEqual({
      configured: 2,
      serving: 2,
    })
    world.workers[0]?.end(1, null)
    const one = JSON.parse(await world.admin('/readyz'))
    expect([member(one, 'status'), member(one, 'workers.serving')]).toEqual(['ready', 1])
    world.workers[1]?.end(1, null)
    const none = JSON.parse(await world.admin('/readyz'))
    expect([member(none, 'status'), member(none, 'workers.serving')]).toEqual(['not_ready', 0])
  })
})

test('telemetry tells the processes apart', async () => {
  const collector = await startCollector()
  await start({
    edit: (file) => Object.assign(file, { telemetry: { otlp_url: collector.url } }),
  })
  await both((worker) => chat(worker))
  await world.leader.close()
  const ids = collector.bodies.flatMap(({ path, text }) =>
    path === '/v1/metrics'
      ? [...text.matchAll(/"service\.instance\.id","value":\{"stringValue":"([0-9a-f-]{36})"/g)]
      : [],
  )
  expect(new Set(ids.map(([, id]) => id)).size).toBe(2)
  await collector.close()
})
