import {
  bootSubject,
  parseReport,
  parseSession,
  verifyEndpoint,
  verifySession,
} from '@vouchgate/attestation'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:tls'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'undici'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { EnclaveError, SealedReceipt } from '../../enclave/index.ts'
import { SelfCheckError } from '../../src/boot.ts'
import { startGateway } from '../../src/gateway.ts'
import { fakeClock } from '../support/clock.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import {
  ATTESTED_ONLY_KEY,
  CANARY,
  configFile,
  eventOf,
  KEY,
  NARROW_KEY,
  prompt,
  readConfig,
  receiptOf,
  sessionIds,
  startWorld,
  type World,
} from './harness.ts'

describe('a running gateway', () => {
  let world: World
  beforeAll(async () => {
    world = await startWorld()
    await world.gateway.tick()
  })
  afterAll(() => world.close())

  test('publishes a report that names its boot document and carries collateral', async () => {
    const nonce = 'ab'.repeat(32)
    const answer = await world.call(`/v1/aci/attestation?nonce=${nonce}`, { key: null })
    const { attestation } = parseReport(answer.bytes)
    const { boot, collateral } = attestation.evidence
    if (boot === undefined) throw new Error('no boot document')
    expect(await bootSubject(boot)).toBe(attestation.workload_keyset.subject)
    expect(boot.config_digest).toMatch(/^sha256:/)
    expect(collateral).toBeDefined()
  })

  test.each([['?nonce='], ['?nonce=AB'], [`?nonce=${'AB'.repeat(32)}`], ['?nonce=1&nonce=2']])(
    'refuses the nonce of %s with 400 invalid_request_error',
    async (query) => {
      const answer = await world.call(`/v1/aci/attestation${query}`, { key: null })
      expect([answer.status, answer.at('error.type'), answer.at('error.code')]).toEqual([
        400,
        'invalid_request_error',
        'invalid_nonce',
      ])
    },
  )

  test('serves its report with the collateral it holds while none can be fetched', async () => {
    world.clock.advance(4000)
    world.pcs.control.fail = { tcb: 503 }
    const answer = await world.call('/v1/aci/attestation')
    world.pcs.control.fail = {}
    expect(answer.status).toBe(200)
    expect(parseReport(answer.bytes).attestation.evidence.collateral).toBeDefined()
    await world.gateway.tick()
  })

  test('lists sessions without evidence, and serves each whole under its own hash', async () => {
    const all = await sessionIds(world)
    expect(all).toHaveLength(2)
    expect(await sessionIds(world, '?upstream_name=tee&model=secure')).toHaveLength(1)
    expect(await sessionIds(world, '?upstream_name=tee-backup&model=secure')).toEqual([])
    expect(await sessionIds(world, '?model=ordinary')).toEqual([])
    const list = await world.call('/v1/aci/sessions')
    expect(list.text).not.toContain('base64')
    for (const id of all) {
      const { text } = await world.call(`/v1/aci/sessions/${id}`, { key: null })
      const session = await verifySession(parseSession(JSON.parse(text)))
      expect(session.id).toBe(id)
    }
  })

  test('a session’s evidence leads an auditor to the same verdict', async () => {
    const [id] = await sessionIds(world, '?upstream_name=tee')
    const document = parseSession(JSON.parse((await world.call(`/v1/aci/sessions/${id}`)).text))
    const { evidence } = await verifySession(document)
    const [provider] = readConfig(
      configFile(world.vendor, {
        model: world.model.origin,
        backup: world.backup.origin,
        plain: world.plain.origin,
        plainBackup: world.plainBackup.origin,
        pcs: world.pcs.url,
        rootCrl: world.pcs.rootCrlUrl,
      }),
    ).providers.values()
    if (provider?.kind !== 'aci') throw new Error('expected an aci provider')
    const { tdx: policy } = provider.policy
    if (policy === 'reject') throw new Error('expected a TDX policy')
    const again = await verifyEndpoint({ evidence, challenge: 'recorded', now: 'recorded', policy })
    expect(again.origin).toBe(world.model.origin)
  })

  test.each([['0'.repeat(64)], ['short'], [CANARY]])('404 not_found for session %s', async (id) => {
    const answer = await world.call(`/v1/aci/sessions/${id}`)
    expect([answer.status, answer.at('error.type')]).toEqual([404, 'not_found'])
  })

  test('lists the models that a key may use, and no other', async () => {
    const names = async (key: string) =>
      [...(await world.call('/v1/models', { key })).text.matchAll(/"id":"([^"]+)"/g)].map(
        ([, name]) => name,
      )
    expect(await names(KEY)).toContain('ordinary')
    expect(await names(ATTESTED_ONLY_KEY)).not.toContain('ordinary')
    expect(await names(NARROW_KEY)).toEqual(['resilient'])
    expect((await world.call('/v1/models', { key: null })).status).toBe(401)
  })

  test('shows one model, with the slash of its name encoded or not', async () => {
    for (const name of ['org/slashed', 'org%2Fslashed']) {
      expect((await world.call(`/v1/models/${name}`)).at('id')).toBe('org/slashed')
    }
    const hidden = await world.call('/v1/models/secure', { key: NARROW_KEY })
    expect([hidden.status, hidden.at('error.code')]).toEqual([404, 'model_not_found'])
  })

  test('is healthy and ready, and counts what it did', async () => {
    expect((await world.call('/healthz', { key: null })).status).toBe(200)
    const ready = await world.admin('/readyz')
    expect([ready.status, ready.at('providers.tee.state')]).toEqual([200, 'verified'])
    await world.chat(prompt('secure'))
    const { text } = await world.admin('/metrics')
    expect(text).toMatch(/vouchgate_prompts_total\{end="complete",code="none"\} \d+/)
    expect(text).toMatch(
      /vouchgate_tokens_total\{provider="tee",model="secure",kind="uncached_input"\} \d+/,
    )
    expect(text).toMatch(/vouchgate_verifications_total\{provider="tee",result="verified"\} \d+/)
  })

  test('speaks TLS 1.3 alone', async () => {
    const port = Number(new URL(world.gateway.url).port)
    const old = connect({
      port,
      host: '127.0.0.1',
      maxVersion: 'TLSv1.2',
      rejectUnauthorized: false,
    })
    await expect(once(old, 'secureConnect')).rejects.toThrow(/alert|protocol/i)
  })

  test('answers what is no HTTP with 400', async () => {
    const port = Number(new URL(world.gateway.url).port)
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    socket.write(`${CANARY}\r\n\r\n`)
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    expect(text).toMatch(/^HTTP\/1.1 400 /)
    expect(text).not.toContain(CANARY)
  })
})

test('a session stays retrievable as long as a receipt that cites it, and no longer', async () => {
  const world = await startWorld({
    edit: (file) => Object.assign(file, { receipts: { ttl_seconds: 3600 } }),
  })
  const receipt = await receiptOf(world, await world.chat(prompt('secure')))
  const path = `/v1/aci/sessions/${String(eventOf(receipt, 'upstream.verified')?.['session_id'])}`
  const statusAfter = async (seconds: number) => {
    world.clock.advance(seconds)
    await world.gateway.tick()
    return (await world.call(path)).status
  }
  expect(await statusAfter(0)).toBe(200)
  expect(await statusAfter(3599)).toBe(200)
  expect(await statusAfter(1)).toBe(404)
  await world.close()
})

test('new connections show the new key after a rotation', async () => {
  const world = await startWorld()
  const port = Number(new URL(world.gateway.url).port)
  const shown = async () => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const fingerprint = socket.getPeerX509Certificate()?.fingerprint256
    socket.destroy()
    return fingerprint
  }
  const attested = () => new X509Certificate(world.gateway.certificate()).fingerprint256
  const before = attested()
  expect(await shown()).toBe(before)
  world.clock.advance(57_600)
  await world.gateway.tick()
  expect(attested()).not.toBe(before)
  expect(await shown()).toBe(attested())
  await world.close()
})

test('keys rotate before expiry, and open connections live on', async () => {
  const world = await startWorld()
  const before = world.gateway.keysetDigest()
  const client = new Client(world.gateway.url, {
    connect: { rejectUnauthorized: false },
    allowH2: false,
  })
  const digest = async () => {
    const { headers, body } = await client.request({ path: '/healthz', method: 'GET' })
    await body.dump()
    return headers['x-aci-keyset-digest']
  }
  expect(await digest()).toBe(before)
  let connects = 0
  client.on('connect', () => connects++)
  world.clock.advance(57_600)
  await world.gateway.tick()
  expect(world.gateway.keysetDigest()).not.toBe(before)
  expect(await digest()).toBe(world.gateway.keysetDigest())
  expect(connects).toBe(0)
  const answer = await world.chat(prompt('secure'))
  expect((await receiptOf(world, answer)).workload_keyset_digest).toBe(world.gateway.keysetDigest())
  await client.close()
  await world.close()
})

test('a stream that runs while keys rotate ends in full', async () => {
  const world = await startWorld()
  await world.gateway.tick()
  world.model.reset()
  world.model.chat.chunkDelayMs = 30
  const running = world.chat(prompt('secure', { stream: true }))
  await expect.poll(() => world.model.requests.length).toBeGreaterThan(0)
  world.clock.advance(57_600)
  await world.gateway.tick()
  const answer = await running
  expect(answer.text.endsWith('data: [DONE]\n\n')).toBe(true)
  expect((await receiptOf(world, answer)).workload_keyset_digest).toBe(world.gateway.keysetDigest())
  await world.close()
})

test('receipts that nobody has asked for keep no earlier key in memory', async () => {
  const world = await startWorld()
  const signed = vi.spyOn(SealedReceipt.prototype, 'signed')
  const asked = await world.chat(prompt('secure'))
  const before = world.gateway.keysetDigest()
  expect(signed).not.toHaveBeenCalled()
  world.clock.advance(3000)
  await world.gateway.tick()
  expect(signed).not.toHaveBeenCalled()
  // Receipts live for an hour; the prompts of the last one are there when the keys are replaced.
  world.clock.advance(54_000)
  await world.chat(prompt('secure'))
  world.clock.advance(600)
  await world.gateway.tick()
  expect(world.gateway.keysetDigest()).not.toBe(before)
  await expect.poll(() => signed.mock.calls.length).toBe(1)
  signed.mockRestore()
  expect(asked.status).toBe(200)
  await world.close()
})

test('a keyset that cannot be replaced serves on until it expires, and is then not ready', async () => {
  let broken = false
  const world = await startWorld({
    source: (source) => ({
      kind: 'test',
      quote: (reportData) =>
        broken ? Promise.reject(new EnclaveError('quote_unavailable')) : source.quote(reportData),
    }),
  })
  broken = true
  world.clock.advance(57_600)
  await world.gateway.tick()
  expect(world.logs.join('')).toContain('keyset_rotation_failed')
  expect((await world.call('/readyz')).status).toBe(200)
  const refused = await world.call(`/v1/aci/attestation?nonce=${'00'.repeat(32)}`)
  expect([refused.status, refused.at('error.code')]).toEqual([503, 'quote_unavailable'])
  world.clock.advance(40_000)
  expect((await world.call('/readyz')).status).toBe(503)
  const before = world.model.requests.length
  const prompted = await world.chat(prompt('secure'))
  expect([prompted.status, prompted.at('error.code')]).toEqual([503, 'keyset_expired'])
  expect(world.model.requests).toHaveLength(before)
  await world.close()
})

test('quotes past the queue get 429 with Retry-After', async () => {
  let release = (): void => undefined
  let held: Promise<void> | null = null
  const world = await startWorld({
    edit: (file) => Object.assign(file.enclave, { max_waiting_quotes: 1 }),
    source: (source) => ({
      kind: 'test',
      quote: async (reportData) => {
        await held
        return source.quote(reportData)
      },
    }),
  })
  held = new Promise((resolve) => {
    release = resolve
  })
  const ask = () => world.call(`/v1/aci/attestation?nonce=${'00'.repeat(32)}`)
  const waiting = [ask(), ask()]
  await delay(50)
  const busy = await Promise.all([ask(), ask()])
  expect(busy.map(({ status }) => status)).toContain(429)
  const [first] = busy.filter(({ status }) => status === 429)
  expect(first?.at('error.code')).toBe('quote_busy')
  expect(Number(first?.headers['retry-after'])).toBeGreaterThan(0)
  release()
  await Promise.all(waiting)
  await world.close()
})

test('closing lets a running stream end and takes no new request', async () => {
  const world = await startWorld()
  await world.gateway.tick()
  world.model.reset()
  world.model.chat.chunkDelayMs = 50
  const idle = new Client(world.gateway.url, {
    connect: { rejectUnauthorized: false },
    allowH2: false,
  })
  const running = world.chat(prompt('secure', { stream: true }))
  await expect.poll(() => world.model.requests.length).toBeGreaterThan(0)
  const closing = world.gateway.close()
  await expect(idle.request({ path: '/healthz', method: 'GET' })).rejects.toThrow('ECONNREFUSED')
  expect((await running).text.endsWith('data: [DONE]\n\n')).toBe(true)
  await closing
  expect(world.logs.join('')).toContain('"event":"stopped"')
  await idle.destroy()
  await world.close()
})

test('a request on an open connection is refused while closing', async () => {
  const world = await startWorld()
  await world.gateway.tick()
  world.model.reset()
  world.model.chat.chunkDelayMs = 50
  const port = Number(new URL(world.gateway.url).port)
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  const body = JSON.stringify(prompt('secure', { stream: true }))
  const head = `authorization: Bearer ${KEY}\r\ncontent-type: application/json\r\nhost: x\r\n`
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\n${head}content-length: ${body.length}\r\n\r\n${body}`,
  )
  await expect.poll(() => world.model.requests.length).toBeGreaterThan(0)
  const closing = world.gateway.close()
  socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  expect(text).toMatch(/\[DONE\][^]*HTTP\/1.1 503 [^]*shutting_down/)
  await closing
  await world.close()
})

test('closing gives up on a provider that hangs', async () => {
  const world = await startWorld({
    edit: (file) => Object.assign(file.limits, { drain_seconds: 1 }),
  })
  await world.gateway.tick()
  world.model.reset()
  world.model.chat.hang = true
  const hanging = world.chat(prompt('secure'))
  await expect.poll(() => world.model.requests.length).toBeGreaterThan(0)
  await Promise.all([expect(hanging).rejects.toThrow(/closed/), world.gateway.close()])
  await world.close()
})

test('a process that does not meet the launch contract does not start where the config enforces it', async () => {
  const clock = fakeClock()
  const vendor = createTeeVendor()
  const origin = 'https://127.0.0.1:1'
  const plain = 'http://127.0.0.1:2'
  const file = configFile(vendor, {
    model: origin,
    backup: origin,
    plain,
    plainBackup: plain,
    pcs: plain,
    rootCrl: plain,
  })
  Object.assign(file.enclave, { self_check: 'enforce' })
  const start = startGateway({
    config: readConfig(file),
    source: vendor.quoteSource(),
    clock,
    log: () => undefined,
    facts: { no_swap: 'held', no_core_dumps: 'unknown', no_tty: 'not_held' },
  })
  await expect(start).rejects.toBeInstanceOf(SelfCheckError)
  await expect(start).rejects.toMatchObject({ facts: ['no_core_dumps', 'no_tty'] })
})
