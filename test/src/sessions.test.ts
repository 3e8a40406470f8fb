import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { toHex, verifySession, parseSession, type VerifiedEndpoint } from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import { pcsCollateral } from '../../client/collateral.ts'
import { ChannelError } from '../../client/errors.ts'
import type { AttestedProvider } from '../../src/config/index.ts'
import { Identities } from '../../src/identities.ts'
import { isProviderId, isSessionId, type SessionId } from '../../src/ids.ts'
import type { LogEvent } from '../../src/log.ts'
import { Metrics } from '../../src/metrics.ts'
import type { Verified } from '../../src/session-slot.ts'
import { SessionStore } from '../../src/session-store.ts'
import { AttestedSessions } from '../../src/sessions.ts'
import { VerifiedChannel } from '../../src/upstream/channel.ts'
import { verifyProvider } from '../../src/providers/verify.ts'
import { AttestedUpstream } from '../../src/upstream/attested.ts'
import { PlainUpstream } from '../../src/upstream/plain.ts'
import { attestedFetch, certificateFetch, webFetch } from '../../client/evidence-fetch.ts'
import { fakeClock } from '../support/clock.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import { createTeeVendor, type PcsServer } from '../support/tee-vendor.ts'
import { configFile, readConfig } from './harness.ts'

const clock = fakeClock()
const vendor = createTeeVendor({ now: clock.now() })
let server: ModelServer
let pcs: PcsServer
let provider: AttestedProvider
beforeAll(async () => {
  server = await startModelServer({ vendor, clock, lifetimeSeconds: 7 * 86_400 })
  pcs = await vendor.pcsServer()
  const { origin } = server
  const origins = {
    model: origin,
    backup: origin,
    plain: 'http://127.0.0.1:1',
    plainBackup: 'http://127.0.0.1:1',
  }
  const config = readConfig(
    configFile(vendor, { ...origins, pcs: pcs.url, rootCrl: pcs.rootCrlUrl }),
  )
  const found = [...config.providers.values()][0]
  if (found?.kind !== 'aci') throw new Error('expected an aci provider')
  provider = found
})
afterAll(async () => {
  await server.close()
  await pcs.close()
})

interface Fixture {
  readonly sessions: AttestedSessions<FakeChannel>
  readonly store: SessionStore
  readonly events: LogEvent[]
  readonly channels: FakeChannel[]
  verifications: number
  failure: Error | null
  hold: Promise<void> | null
  /** How long a verification takes. */
  seconds: number
}

class FakeChannel {
  closed = false
  readonly connected = false
  revoked = false
  revoke(): void {
    this.revoked = true
  }
  async close(): Promise<void> {
    this.closed = true
  }
}

let at: Fixture
beforeEach(() => {
  const source = pcsCollateral({
    baseUrl: pcs.url,
    rootCrlUrl: pcs.rootCrlUrl,
    timeoutMs: 5000,
    clock,
  })
  const store = new SessionStore()
  const events: LogEvent[] = []
  const channels: FakeChannel[] = []
  const verify = async (given: AttestedProvider): Promise<Verified> => {
    at.verifications++
    await at.hold
    if (at.failure !== null) throw at.failure
    const verified = await verifyProvider(given, {
      pcs: source,
      attested: attestedFetch(5000, clock),
      web: webFetch(5000, clock),
      certificate: certificateFetch(5000),
      gpus: async () => [],
      amd: () => Promise.reject(new TypeError('no SNP here')),
      releases: () => Promise.reject(new TypeError('no release here')),
      clock,
      random: randomBytes,
    })
    clock.advance(at.seconds)
    return verified
  }
  const sessions = new AttestedSessions<FakeChannel>([provider], {
    verify,
    openChannel: () => {
      const channel = new FakeChannel()
      channels.push(channel)
      return channel
    },
    nodes: () => 'several',
    clock,
    jitter: () => 0,
    store,
    identities: new Identities({ log: (event) => events.push(event), metrics: new Metrics() }),
    log: (event) => events.push(event),
    metrics: new Metrics(),
  })
  at = {
    sessions,
    store,
    events,
    channels,
    verifications: 0,
    failure: null,
    hold: null,
    seconds: 0,
  }
})

const acquire = (pinned: ReadonlySet<SessionId> | null = null) =>
  at.sessions.acquire(provider.id, pinned)
const state = () => at.sessions.state(provider.id)

describe('attested sessions', () => {
  test('verify once for many requests at a time', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => acquire()))
    expect(new Set(all.map(({ id }) => id)).size).toBe(1)
    expect(at.verifications).toBe(1)
    expect(state()).toMatchObject({ state: 'verified', reason: null, breaker: 'closed' })
  })

  test('show what is known of a provider', async () => {
    expect(state().state).toBe('verifying')
    let proceed = (): void => undefined
    at.hold = new Promise((resolve) => {
      proceed = resolve
    })
    const pending = acquire()
    expect(state().state).toBe('verifying')
    proceed()
    await pending
    expect(state().state).toBe('verified')
  })

  test('record what was verified under the hash of the record', async () => {
    const { id } = await acquire()
    const document = parseSession(await at.store.document(id))
    expect((await verifySession(document)).id).toBe(id)
    expect(document.expires_at - document.established_at).toBe(600)
  })

  test('refresh before expiry and keep the old one for clients that pinned it', async () => {
    const first = await acquire()
    clock.advance(419)
    await at.sessions.refreshDue()
    expect(at.verifications).toBe(1)
    clock.advance(1)
    await at.sessions.refreshDue()
    expect(at.verifications).toBe(2)
    const second = await acquire()
    expect(second.id).not.toBe(first.id)
    expect((await acquire(new Set([first.id]))).id).toBe(first.id)
    expect(at.sessions.current(provider.id)).toEqual([second.id, first.id])
    clock.advance(120)
    await expect(acquire(new Set([first.id]))).rejects.toMatchObject({
      code: 'session_not_accepted',
    })
    expect(at.channels.map(({ closed }) => closed)).toEqual([true, false])
  })

  test('expire, and verify again for the next request', async () => {
    const first = await acquire()
    clock.advance(600)
    expect(at.sessions.current(provider.id)).toEqual([])
    expect((await acquire()).id).not.toBe(first.id)
    expect(at.verifications).toBe(2)
  })

  test('never outlive the evidence', async () => {
    server.evidence.keyset = (keyset) => ({ ...keyset, not_after: clock.now() + 100 })
    const session = await acquire()
    server.evidence.keyset = (keyset) => keyset
    expect(session.acceptedUntil).toBe(clock.now() + 100)
  })

  test('are not made of evidence that expired while it was judged', async () => {
    server.evidence.keyset = (keyset) => ({ ...keyset, not_after: clock.now() + 100 })
    at.seconds = 100
    await expect(acquire()).rejects.toMatchObject({ reason: 'evidence_expired' })
    server.evidence.keyset = (keyset) => keyset
    expect(at.channels).toEqual([])
  })

  test('end at once when a refresh is refused', async () => {
    await acquire()
    clock.advance(420)
    server.evidence.nonce = () => '1'.repeat(64)
    await at.sessions.refreshDue()
    server.evidence.nonce = (asked) => asked
    expect(state()).toMatchObject({ state: 'refused', reason: 'report_data_mismatch' })
    await expect(acquire()).rejects.toMatchObject({
      code: 'upstream_verification_failed',
      reason: 'report_data_mismatch',
    })
    expect(at.channels[0]?.closed).toBe(true)
    expect(at.events.map(({ event }) => event)).toContain('session_evicted')
  })

  test('serve on until expiry, and no longer, while the provider cannot be asked', async () => {
    const first = await acquire()
    at.failure = new ChannelError('channel_unreachable')
    clock.advance(420)
    await at.sessions.refreshDue()
    expect((await acquire()).id).toBe(first.id)
    expect(state()).toMatchObject({ state: 'verified', reason: 'channel_unreachable' })
    clock.advance(180)
    await expect(acquire()).rejects.toMatchObject({ reason: 'channel_unreachable' })
  })

  test('back off from a provider that was refused, with a bound', async () => {
    at.failure = new ChannelError('channel_unreachable')
    await expect(acquire()).rejects.toMatchObject({ retryAfterSeconds: 1 })
    await expect(acquire()).rejects.toMatchObject({ code: 'upstream_verification_failed' })
    expect(at.verifications).toBe(1)
    for (let round = 0; round < 10; round++) {
      clock.advance(60)
      await at.sessions.refreshDue()
    }
    expect(at.verifications).toBe(11)
    await expect(acquire()).rejects.toMatchObject({ retryAfterSeconds: 60 })
    at.failure = null
    clock.advance(60)
    expect(state().state).toBe('refused')
    await acquire()
    expect(state()).toMatchObject({ state: 'verified', reason: null, breaker: 'closed' })
  })

  test('are evicted on request and verified again', async () => {
    const first = await acquire()
    at.sessions.evict(provider.id, first.id, 'channel_key_mismatch')
    expect(at.sessions.current(provider.id)).toEqual([])
    expect((await acquire()).id).not.toBe(first.id)
  })

  test('stay retrievable and connected while a request uses them', async () => {
    const first = await acquire()
    const release = first.lease()
    clock.advance(600)
    await acquire()
    expect(at.channels[0]?.closed).toBe(false)
    expect(await at.store.document(first.id)).not.toBeNull()
    release()
    expect(at.channels[0]?.closed).toBe(true)
    expect(await at.store.document(first.id)).toBeNull()
  })

  test('the store does not grow with the rounds of verification', async () => {
    for (let round = 0; round < 5; round++) {
      await acquire()
      clock.advance(600)
    }
    await acquire()
    expect(at.store.size).toBe(1)
  })
})

describe('a verified channel', () => {
  const limits = { connectMs: 2000, firstByteMs: 2000, idleMs: 2000, connections: 1 }
  let endpoint: VerifiedEndpoint
  beforeEach(async () => {
    endpoint = (await acquire()).endpoint
  })

  test('takes nothing but a real endpoint', () => {
    const { origin, bindings, expiresAt } = endpoint
    const lookAlikes: unknown[] = [
      { origin, bindings, expiresAt },
      { ...endpoint, origin, bindings, expiresAt },
      Object.create(endpoint),
      null,
    ]
    for (const lookAlike of lookAlikes) {
      expect(() => Reflect.construct(VerifiedChannel, [lookAlike, clock, limits])).toThrow(
        'not a VerifiedEndpoint',
      )
    }
  })

  test('encrypts exactly to an endpoint that attested a key for that', () => {
    const seal = async () => Promise.reject(new Error('not asked'))
    expect(() => new VerifiedChannel(endpoint, { clock, limits, seal })).toThrow(
      'exactly where it attested a key for that',
    )
  })

  test('refuses an endpoint whose evidence has expired, at construction and at every send', async () => {
    const moved = fakeClock(clock.now())
    const channel = new VerifiedChannel(endpoint, { clock: moved, limits, seal: null })
    moved.set(endpoint.expiresAt)
    expect(() => new VerifiedChannel(endpoint, { clock: moved, limits, seal: null })).toThrow(
      'could be verified',
    )
    const send = Reflect.apply(Reflect.get(channel, 'send'), channel, [{}, {}])
    await expect(send).rejects.toMatchObject({ reason: 'evidence_expired' })
    await channel.close()
  })
})

describe('a kind of provider', () => {
  const limits = { connectMs: 2000, firstByteMs: 2000, idleMs: 2000, connections: 1 }

  test('that is attested serves no plain access, whatever the consent', async () => {
    const sessions = new AttestedSessions<VerifiedChannel>([], {
      verify: () => Promise.reject(new Error('not asked')),
      openChannel: (endpoint) => new VerifiedChannel(endpoint, { clock, limits, seal: null }),
      nodes: () => 'one',
      clock,
      jitter: () => 0,
      store: at.store,
      identities: new Identities({ log: () => undefined, metrics: new Metrics() }),
      log: () => undefined,
      metrics: new Metrics(),
    })
    const upstream = new AttestedUpstream(provider, sessions)
    const connect = Reflect.apply(Reflect.get(upstream, 'connect'), upstream, [
      { confidentiality: 'plain', consent: {} },
    ])
    await expect(connect).rejects.toThrow('an attested provider on plain access')
  })

  test('that is plain serves no attested access', async () => {
    const { id, apiKey: key } = provider
    const plain = {
      kind: 'openai',
      id,
      baseUrl: 'http://127.0.0.1:1/v1',
      credential: { scheme: 'bearer', key },
      variant: 'generic',
      apiVersion: null,
    } as const
    const upstream = new PlainUpstream(plain, limits, clock)
    await expect(upstream.connect({ confidentiality: 'attested', sessions: null })).rejects.toThrow(
      'a plain provider on attested access',
    )
    await upstream.close()
  })
})

test('ids are minted by predicates alone', () => {
  expect(isSessionId(toHex(randomBytes(32)))).toBe(true)
  expect(isProviderId('Not An Id')).toBe(false)
})
