import { encodeUtf8, type VerifiedEndpoint } from '@vouchgate/attestation'
import * as fc from 'fast-check'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ChannelError } from '../../client/errors.ts'
import { EvidenceError } from '../../attestation/errors.ts'
import type { AttestedProvider } from '../../src/config/index.ts'
import { Identities } from '../../src/identities.ts'
import type { SessionId } from '../../src/ids.ts'
import type { LogEvent } from '../../src/log.ts'
import { Metrics } from '../../src/metrics.ts'
import { SessionStore } from '../../src/session-store.ts'
import { AttestedSessions } from '../../src/sessions.ts'
import type { Nodes } from '../../src/upstream/nodes.ts'
import { fakeClock, TEST_TIME } from '../support/clock.ts'
import { verifiedEndpoints } from './endpoint.ts'

const clock = fakeClock()
const KEYS = 4
let endpoints: readonly VerifiedEndpoint[]
let provider: AttestedProvider

beforeAll(async () => {
  const verified = await verifiedEndpoints(clock, KEYS)
  endpoints = verified.endpoints
  provider = verified.provider
})

interface Channel {
  readonly endpoint: VerifiedEndpoint
  closed: boolean
  revoked: boolean
  connected: boolean
  close(): Promise<void>
  revoke(): void
}

/** What the next verification gives: the keys that are shown, or an error. */
type Round = readonly number[] | Error

class Fixture {
  readonly events: LogEvent[] = []
  readonly channels: Channel[] = []
  readonly store = new SessionStore()
  readonly metrics = new Metrics()
  readonly sessions: AttestedSessions<Channel>
  next: Round = [0]
  rounds = 0
  sameEvidence = false

  constructor(nodes: Nodes) {
    const log = (event: LogEvent): void => void this.events.push(event)
    const { store, metrics } = this
    this.sessions = new AttestedSessions<Channel>([provider], {
      verify: async () => {
        this.rounds++
        if (this.next instanceof Error) throw this.next
        const [first, ...rest] = this.next.map((key) => endpoints[key % KEYS] ?? endpoints.at(-1))
        if (first === undefined) throw new Error('a round shows at least one key')
        const evidence = encodeUtf8(`evidence ${this.sameEvidence ? '' : this.rounds}`)
        return { endpoints: [first, ...rest.filter((each) => each !== undefined)], evidence }
      },
      openChannel: (endpoint) => this.#open(endpoint),
      nodes: () => nodes,
      clock,
      jitter: () => 0,
      store,
      identities: new Identities({ log, metrics }),
      log,
      metrics,
    })
  }

  async round(shown: Round): Promise<void> {
    this.next = shown
    await this.sessions.refreshDue()
  }

  acquire(pinned: readonly SessionId[] | null = null) {
    return this.sessions.acquire(provider.id, pinned === null ? null : new Set(pinned))
  }

  get listed(): readonly SessionId[] {
    return this.sessions.current(provider.id)
  }

  get state() {
    return this.sessions.state(provider.id)
  }

  #open(endpoint: VerifiedEndpoint): Channel {
    const channel: Channel = {
      endpoint,
      closed: false,
      revoked: false,
      connected: false,
      close: async () => void (channel.closed = true),
      revoke: () => void (channel.revoked = true),
    }
    this.channels.push(channel)
    return channel
  }
}

let at: Fixture
beforeEach(() => {
  clock.set(TEST_TIME)
  at = new Fixture('several')
})

const keyOf = (channel: Channel): number => endpoints.indexOf(channel.endpoint)

describe('a round that verifies several channels', () => {
  test('makes a session of each, over evidence that is kept once', async () => {
    await at.round([0, 1, 2])
    expect(at.listed).toHaveLength(3)
    expect(new Set(at.listed).size).toBe(3)
    expect(at.channels.map(keyOf)).toEqual([0, 1, 2])
    expect(at.store.evidenceSize).toBeLessThan(100)
  })

  test('spreads requests over them in turn', async () => {
    await at.round([0, 1, 2])
    const keys: number[] = []
    for (let turn = 0; turn < 6; turn++) keys.push(keyOf((await at.acquire()).channel))
    expect(keys.toSorted((left, right) => left - right)).toEqual([0, 0, 1, 1, 2, 2])
  })

  test('serves whichever pinned ones there are', async () => {
    await at.round([0, 1, 2])
    const [first = at.listed[0], , third = at.listed[2]] = at.listed
    const pinned = [first, third].filter((id) => id !== undefined)
    const served = new Set<SessionId>()
    for (let turn = 0; turn < 4; turn++) served.add((await at.acquire(pinned)).id)
    expect([...served].toSorted()).toEqual(pinned.toSorted())
  })

  test('lists a channel once that is verified to the same record', async () => {
    await at.round([0, 0])
    expect(at.listed).toHaveLength(1)
    at.sameEvidence = true
    at.sessions.evict(provider.id, (await at.acquire()).id, 'internal')
    await at.round([0])
    const [id] = at.listed
    at.sessions.evict(provider.id, (await at.acquire()).id, 'internal')
    await at.round([0])
    expect(at.listed).toEqual([id])
    expect((await at.acquire()).id).toBe(id)
  })
})

describe('a newer round', () => {
  const refreshAfter = async (seconds: number, shown: Round): Promise<void> => {
    clock.advance(seconds)
    await at.round(shown)
  }

  test('supersedes sessions of the same key, for a grace', async () => {
    await at.round([0])
    const [old = at.listed[0]] = at.listed
    await refreshAfter(420, [0])
    expect(at.listed).toHaveLength(2)
    clock.advance(120)
    expect(at.listed).not.toContain(old)
  })

  test('leaves those of another key alone where there may be several nodes', async () => {
    await at.round([0])
    await refreshAfter(420, [1])
    clock.advance(179)
    expect(at.listed).toHaveLength(2)
    clock.advance(1)
    expect(at.listed).toHaveLength(1)
  })

  test('supersedes every key where there is one node', async () => {
    at = new Fixture('one')
    await at.round([0])
    await refreshAfter(420, [1])
    clock.advance(120)
    expect(at.listed).toHaveLength(1)
  })

  test('is what clients get that pin nothing', async () => {
    await at.round([0])
    await refreshAfter(420, [1])
    expect(keyOf((await at.acquire()).channel)).toBe(1)
    expect(keyOf((await at.acquire()).channel)).toBe(1)
  })

  test('whose key is not found gives way at once to what other nodes have shown, after one more look', async () => {
    await at.round([0])
    await refreshAfter(420, [1])
    const lost = await at.acquire()
    at.next = new ChannelError('channel_unreachable')
    at.sessions.evict(provider.id, lost.id, 'channel_key_mismatch')
    expect(keyOf((await at.acquire()).channel)).toBe(0)
    expect(at.rounds).toBe(3)
  })

  test('whose key other connections end in stays for who pinned it, and is verified anew for all others', async () => {
    await at.round([0])
    const [id] = at.listed
    const busy = at.channels[0]
    if (id === undefined || busy === undefined) throw new Error('expected a session')
    busy.connected = true
    at.next = [1]
    at.sessions.evict(provider.id, id, 'channel_key_mismatch')
    expect(at.listed).toEqual([id])
    expect(keyOf((await at.acquire()).channel)).toBe(1)
    expect((await at.acquire([id])).id).toBe(id)
    // Of one that is not the newest nobody has to be told.
    at.sessions.evict(provider.id, id, 'channel_key_mismatch')
    await at.acquire()
    expect(at.rounds).toBe(2)
    busy.connected = false
    at.sessions.evict(provider.id, id, 'channel_key_mismatch')
    expect(at.listed).not.toContain(id)
  })

  test('that is lost is not replaced by what it had superseded', async () => {
    await at.round([0])
    await refreshAfter(420, [0])
    at.next = new ChannelError('channel_unreachable')
    at.sessions.evict(provider.id, (await at.acquire()).id, 'internal')
    expect(at.listed).toHaveLength(1)
    await expect(at.acquire()).rejects.toMatchObject({ reason: 'channel_unreachable' })
    expect(at.state).toMatchObject({ state: 'refused', verifiedUntil: null })
  })

  test('that comes to the record of a superseded session takes its place', async () => {
    /** Again within the same second: losing a session makes a round due. */
    const again = async (sameEvidence: boolean, shown: Round): Promise<void> => {
      const [, lost] = at.listed
      if (lost !== undefined) at.sessions.evict(provider.id, lost, 'internal')
      at.sameEvidence = sameEvidence
      await at.round(shown)
    }
    await again(true, [0, 1])
    const [id] = at.listed
    await again(false, [0, 2])
    await again(true, [0])
    expect(at.listed).toContain(id)
    expect(new Set(at.listed).size).toBe(at.listed.length)
    expect((await at.acquire()).id).toBe(id)
  })

  test('of a lost key takes the superseded ones of that key along', async () => {
    await at.round([0])
    await refreshAfter(420, [0])
    at.sessions.evict(provider.id, (await at.acquire()).id, 'channel_key_mismatch')
    expect(at.listed).toEqual([])
  })

  test('that is refused ends what other nodes have shown too', async () => {
    await at.round([0])
    await refreshAfter(420, [1])
    at.sessions.evict(provider.id, (await at.acquire()).id, 'channel_key_mismatch')
    expect(at.listed).toHaveLength(1)
    await at.round(new EvidenceError('report_data_mismatch'))
    expect(at.listed).toEqual([])
    expect(at.channels[0]).toMatchObject({ revoked: true, closed: true })
    expect(at.state).toMatchObject({ state: 'refused', reason: 'report_data_mismatch' })
  })
})

describe('what is seen of a provider', () => {
  test('is one state, which changes once', async () => {
    await at.round([0])
    clock.advance(420)
    await at.round([0])
    clock.advance(420)
    await at.round(new EvidenceError('report_data_mismatch'))
    clock.advance(1)
    await at.round(new EvidenceError('report_data_mismatch'))
    clock.advance(2)
    await at.round([0])
    const changes = at.events.filter(({ event }) => event === 'provider_state_changed')
    expect(
      changes.map((change) => [Reflect.get(change, 'from'), Reflect.get(change, 'to')]),
    ).toEqual([
      ['verifying', 'verified'],
      ['verified', 'refused'],
      ['refused', 'verified'],
    ])
  })

  test('says until when, and when it is asked again', async () => {
    await at.round([0])
    expect(at.state).toEqual({
      state: 'verified',
      verifiedUntil: TEST_TIME + 600,
      reason: null,
      retryAt: null,
      breaker: 'closed',
    })
    clock.advance(420)
    await at.round(new ChannelError('channel_unreachable'))
    expect(at.state).toEqual({
      state: 'verified',
      verifiedUntil: TEST_TIME + 600,
      reason: 'channel_unreachable',
      retryAt: TEST_TIME + 421,
      breaker: 'closed',
    })
  })

  test('opens a breaker after five failures in a row, and one probe closes it', async () => {
    const failure = new ChannelError('channel_unreachable')
    const seen: string[] = []
    for (const wait of [0, 1, 2, 4, 8]) {
      clock.advance(wait)
      await at.round(failure)
      seen.push(at.state.breaker)
    }
    expect(seen).toEqual(['closed', 'closed', 'closed', 'closed', 'open'])
    clock.advance(16)
    expect(at.state.breaker).toBe('half_open')
    at.next = [0]
    const before = at.rounds
    await Promise.all([at.acquire(), at.acquire(), at.sessions.refreshDue()])
    expect(at.rounds).toBe(before + 1)
    expect(at.state.breaker).toBe('closed')
  })
})

describe('a machine', () => {
  const first = () => at.events.filter(({ event }) => event === 'identity_first_seen')

  test('is named when it is first seen, and not again', async () => {
    await at.round([0, 1])
    const { ppid, fmspc } = endpoints[0]?.claims.extra ?? {}
    expect(first()).toEqual([
      { event: 'identity_first_seen', provider: provider.id, identity: 'ppid', value: ppid },
      { event: 'identity_first_seen', provider: provider.id, identity: 'fmspc', value: fmspc },
    ])
    clock.advance(420)
    await at.round([0])
    expect(first()).toHaveLength(2)
    expect(at.metrics.text()).toContain(
      `vouchgate_identities_first_seen_total{provider="${provider.id}",identity="ppid"} 1`,
    )
  })

  test('that an earlier run has seen is not new, nor is it remembered again', () => {
    const value = String(endpoints[0]?.claims.extra['ppid'])
    const remembered: unknown[] = []
    const identities = new Identities({
      log: (event) => void at.events.push(event),
      metrics: at.metrics,
      known: [{ provider: provider.id, member: 'ppid', value }],
      remember: (identity) => void remembered.push(identity),
    })
    if (endpoints[0] !== undefined) identities.seen(provider.id, endpoints[0])
    expect(first().map((event) => Reflect.get(event, 'identity'))).toEqual(['fmspc'])
    expect(remembered).toHaveLength(1)
  })

  test('is forgotten after a thousand others', () => {
    const others = Array.from({ length: 1023 }, (_, index) => ({
      provider: provider.id,
      member: 'ppid' as const,
      value: index.toString(16).padStart(32, '0'),
    }))
    const [endpoint] = endpoints
    if (endpoint === undefined) throw new Error('expected an endpoint')
    const { ppid, fmspc } = endpoint.claims.extra
    const known = [
      { provider: provider.id, member: 'ppid' as const, value: String(ppid) },
      ...others,
      { provider: provider.id, member: 'fmspc' as const, value: String(fmspc) },
    ]
    const log = (event: LogEvent): void => void at.events.push(event)
    const identities = new Identities({ log, metrics: at.metrics, known })
    identities.seen(provider.id, endpoint)
    expect(first().map((event) => Reflect.get(event, 'identity'))).toEqual(['ppid'])
    identities.seen(provider.id, endpoint)
    expect(first()).toHaveLength(1)
  })
})

test('a thousand rounds leave the live set and what receipts cite', async () => {
  const cited: SessionId[] = []
  for (let round = 0; round < 1000; round++) {
    await at.round([0, 1])
    const session = await at.acquire()
    if (round % 100 === 0) {
      at.store.cite(session.id, clock.now() + 3600)
      cited.push(session.id)
    }
    clock.advance(420)
  }
  // The last round has served 420 seconds of 600; the one before is past its grace.
  expect(at.listed).toHaveLength(2)
  expect(at.store.size).toBe(2 + cited.length)
  const evidence = (cited.length + 1) * 60
  expect(at.store.evidenceSize).toBeLessThan(evidence)
  for (const id of cited) at.store.release(id)
  expect(at.store.size).toBe(2)
  expect(at.channels.filter(({ closed }) => !closed)).toHaveLength(2)
})

test('sessions that wait for the end of their grace do not add up without bound', async () => {
  for (let round = 0; round < 300; round++) {
    await at.round([0, 1])
    const [, lost] = at.listed
    if (lost !== undefined) at.sessions.evict(provider.id, lost, 'internal')
  }
  await at.round([0, 1])
  expect(at.listed).toHaveLength(256)
  expect(at.store.size).toBe(256)
})

test('a session that is not kept can be neither cited nor given back', async () => {
  await at.round([0])
  const [id] = at.listed
  at.sessions.close()
  if (id === undefined) throw new Error('expected a session')
  expect(() => at.store.cite(id, 1)).toThrow('the session is not kept')
  expect(() => at.store.release(id)).toThrow('the session is not kept')
})

type Step =
  | { readonly kind: 'wait'; readonly seconds: number }
  | { readonly kind: 'round'; readonly keys: readonly number[] }
  | { readonly kind: 'unreachable' | 'refused' }
  | { readonly kind: 'evict'; readonly which: number; readonly lost: boolean }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('wait' as const), seconds: fc.integer({ min: 0, max: 700 }) }),
  fc.record({
    kind: fc.constant('round' as const),
    keys: fc.array(fc.nat({ max: KEYS - 1 }), { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ kind: fc.constantFrom('unreachable' as const, 'refused' as const) }),
  fc.record({ kind: fc.constant('evict' as const), which: fc.nat({ max: 5 }), lost: fc.boolean() }),
)

async function take(fixture: Fixture, taken: Step): Promise<void> {
  if (taken.kind === 'wait') clock.advance(taken.seconds)
  else if (taken.kind === 'round') await fixture.round(taken.keys)
  else if (taken.kind === 'evict') {
    const id = fixture.listed[taken.which % Math.max(1, fixture.listed.length)]
    const reason = taken.lost ? 'channel_key_mismatch' : 'internal'
    if (id !== undefined) fixture.sessions.evict(provider.id, id, reason)
  } else if (taken.kind === 'refused') {
    await fixture.round(new EvidenceError('report_data_mismatch'))
  } else await fixture.round(new ChannelError('channel_unreachable'))
}

test('what is listed is what is accepted, after any history', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('one' as const, 'several' as const),
      fc.boolean(),
      fc.array(step, { maxLength: 25 }),
      async (nodes, sameEvidence, steps) => {
        clock.set(TEST_TIME)
        const fixture = new Fixture(nodes)
        fixture.sameEvidence = sameEvidence
        const known = new Set<SessionId>()
        for (const taken of steps) {
          await take(fixture, taken)
          const { listed } = fixture
          for (const id of listed) known.add(id)
          expect(new Set(listed).size).toBe(listed.length)
          for (const id of listed) expect((await fixture.acquire([id])).id).toBe(id)
          fixture.next = new ChannelError('channel_unreachable')
          for (const id of [...known].filter((each) => !listed.includes(each))) {
            await expect(fixture.acquire([id])).rejects.toMatchObject({
              status: expect.any(Number),
            })
          }
          // Neither more nor less is kept than is listed, and no channel leaks.
          expect(fixture.store.size).toBe(fixture.listed.length)
          const open = fixture.channels.filter(({ closed }) => !closed)
          expect(open).toHaveLength(fixture.listed.length)
        }
      },
    ),
    { numRuns: 150 },
  )
})
