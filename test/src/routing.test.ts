import * as fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { consentToPlaintext } from '../../src/consent.ts'
import type { Model, Route } from '../../src/config/index.ts'
import {
  isCredentialDigest,
  isKeyId,
  isModelName,
  isProviderId,
  isSessionId,
  isTeamName,
  type ProviderId,
  type SessionId,
} from '../../src/ids.ts'
import type { LogEvent } from '../../src/log.ts'
import type { Wishes } from '../../src/plan.ts'
import { RouteTimes } from '../../src/route-times.ts'
import { Routing } from '../../src/routing.ts'
import type { ProviderState } from '../../src/session-slot.ts'
import { Breaker } from '../../src/upstream/breaker.ts'
import { ServingBreakers } from '../../src/upstream/serving.ts'
import { fakeClock, TEST_TIME } from '../support/clock.ts'
import { member, prompt, receiptOf, startWorld, type World } from './harness.ts'

const clock = fakeClock()
const id = (name: string): ProviderId => {
  if (!isProviderId(name)) throw new Error('no id')
  return name
}
const route = (provider: string, rest: Partial<Route> = {}): Route => ({
  provider: id(provider),
  model: 'm',
  priority: 0,
  weight: 1,
  ...rest,
})
const attested = (sessions: ReadonlySet<SessionId> | null = null) =>
  ({ confidentiality: 'attested', sessions }) as const
const standing = (state: ProviderState['state']): ProviderState => ({
  state,
  verifiedUntil: null,
  reason: null,
  retryAt: null,
  breaker: 'closed',
})

const UNCACHED = { cacheRead: null, cacheWrite: null, cacheWriteHour: null }

const NO_WISHES: Wishes = { first: [], sort: null, sticky: null, fallbacks: true }

interface Given {
  readonly states?: Readonly<Record<string, ProviderState['state']>>
  readonly current?: Readonly<Record<string, SessionId>>
  readonly draws?: readonly number[]
  /** By which the clock of measurements moves on whenever it is looked at. */
  readonly stepMs?: number
  /** US dollars by provider: of input and of output. */
  readonly prices?: Readonly<Record<string, readonly [number, number]>>
}

function routing(given: Given = {}) {
  const serving = new ServingBreakers({ clock, log: () => undefined })
  let draw = 0
  let now = 0
  const times = new RouteTimes(() => (now += given.stepMs ?? 0))
  const known = new Routing({
    sessions: {
      state: (provider) => standing(given.states?.[provider] ?? 'verified'),
      current: (provider) => [given.current?.[provider] ?? []].flat(),
    },
    serving,
    times,
    prices: {
      of: ({ provider }) => {
        const [input, output] = given.prices?.[provider] ?? []
        return input === undefined || output === undefined ? null : { ...UNCACHED, input, output }
      },
    },
    random: () => given.draws?.[draw++] ?? 0,
  })
  const wished = (routes: readonly Route[], wishes: Partial<Wishes>) =>
    known
      .order({
        routes,
        access: attested(),
        required: true,
        wishes: { ...NO_WISHES, ...wishes },
      })
      .map(({ provider }) => String(provider))
  const order = (routes: readonly Route[], pinned: ReadonlySet<SessionId> | null = null) =>
    known
      .order({ routes, access: attested(pinned), required: true, wishes: NO_WISHES })
      .map(({ provider }) => String(provider))
  return { known, serving, order, wished, times }
}

describe('the order of routes', () => {
  test('is by priority first, lower before higher', () => {
    const { order } = routing()
    expect(order([route('a', { priority: 2 }), route('b', { priority: 1 }), route('c')])).toEqual([
      'c',
      'b',
      'a',
    ])
  })

  test.each([
    [0, ['a', 'b']],
    [0.24, ['a', 'b']],
    [0.26, ['b', 'a']],
    [0.999, ['b', 'a']],
  ])('within one is drawn by weight: %s', (draw, expected) => {
    const { order } = routing({ draws: [draw] })
    expect(order([route('a', { weight: 1 }), route('b', { weight: 3 })])).toEqual(expected)
  })

  test('draws each place anew among those that are left', () => {
    const { order } = routing({ draws: [0.5, 0.9, 0] })
    expect(order([route('a'), route('b'), route('c')])).toEqual(['b', 'c', 'a'])
  })

  test('puts providers that have to be verified behind those that are, and refused ones last', () => {
    const states = { a: 'refused', b: 'verifying', c: 'verified' } as const
    const { order } = routing({ states })
    expect(order([route('a'), route('b', { priority: 1 }), route('c', { priority: 2 })])).toEqual([
      'c',
      'b',
      'a',
    ])
  })

  test('puts those first that hold a pinned session', () => {
    const pinned = 'ab'.repeat(32)
    if (!isSessionId(pinned)) throw new Error('no id')
    const { order } = routing({ current: { b: pinned } })
    expect(order([route('a'), route('b', { priority: 9 })], new Set([pinned]))).toEqual(['b', 'a'])
  })

  test('puts routes last that are left alone', () => {
    const { order, serving } = routing()
    for (let failure = 0; failure < 5; failure++) serving.enter(route('a'))?.settle('failed')
    expect(order([route('a'), route('b')])).toEqual(['b', 'a'])
    expect(order([route('a', { model: 'another' }), route('b')])).toEqual(['a', 'b'])
  })

  test('is by priority and weight alone for plain providers', () => {
    const [key, team, name, sha256] = ['key', 'team', 'model', 'ab'.repeat(32)]
    if (!isKeyId(key) || !isTeamName(team) || !isModelName(name) || !isCredentialDigest(sha256)) {
      throw new Error('no ids')
    }
    const routes = [route('a'), route('b')]
    const model: Model = {
      name,
      aliases: [],
      confidentiality: 'plain',
      order: 'weighted',
      sticky: 'none',
      padding: false,
      cacheSalt: true,
      routes,
    }
    const consent = consentToPlaintext(model, {
      id: key,
      team,
      sha256,
      models: '*',
      plainModels: 'allow',
    })
    const access = { confidentiality: 'plain', consent } as const
    const { known } = routing({ states: { a: 'refused' } })
    expect(known.order({ routes, access, required: false, wishes: NO_WISHES })).toEqual(routes)
  })

  test('is always a permutation of what was planned', () => {
    const routes = fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
        priority: fc.nat({ max: 3 }),
        weight: fc.integer({ min: 1, max: 1000 }),
        state: fc.constantFrom('verified' as const, 'verifying' as const, 'refused' as const),
        draw: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      }),
      { selector: ({ name }) => name },
    )
    fc.assert(
      fc.property(routes, (given) => {
        const states = Object.fromEntries(given.map(({ name, state }) => [name, state]))
        const { order } = routing({ states, draws: given.map(({ draw }) => draw) })
        const planned = given.map(({ name, ...rest }) => route(name, rest))
        expect(order(planned).toSorted()).toEqual(given.map(({ name }) => name).toSorted())
      }),
    )
  })

  test('follows the weights over many draws', () => {
    let first = 0
    for (let draw = 0; draw < 1000; draw++) {
      const { order } = routing({ draws: [draw / 1000] })
      if (order([route('a', { weight: 9 }), route('b', { weight: 1 })])[0] === 'a') first++
    }
    expect(first).toBe(900)
  })
})

describe('what is wished of the order', () => {
  const [a, b, c] = [route('a'), route('b'), route('c')]

  test('latency puts the route first that answered soonest, unknown ones before it', () => {
    const { wished, times } = routing()
    times.answered(a, 30, null)
    times.answered(b, 10, null)
    expect(wished([a, b, c], { sort: 'latency' })).toEqual(['c', 'b', 'a'])
  })

  test('averages move with each answer', () => {
    const { times } = routing()
    times.answered(a, 100, 1000)
    times.answered(a, 200, 2000)
    expect([times.firstByteMs(a), times.rate(a)]).toEqual([130, 1300])
    times.answered(a, 130, null)
    expect(times.rate(a)).toBe(1300)
  })

  test('what was measured long ago is forgotten', () => {
    const { times } = routing({ stepMs: 300_001 })
    times.answered(a, 100, 1000)
    expect([times.firstByteMs(a), times.rate(a)]).toEqual([null, null])
  })

  test('throughput puts the fastest first', () => {
    const { wished, times } = routing()
    times.answered(a, 1, 1000)
    times.answered(b, 9, 9000)
    expect(wished([a, b], { sort: 'throughput' })).toEqual(['b', 'a'])
  })

  test('price puts the cheapest first by input and output together, unknown ones last', () => {
    const { wished } = routing({ prices: { b: [1, 9], c: [4, 5] } })
    expect(wished([a, b, c], { sort: 'price' })).toEqual(['c', 'b', 'a'])
  })

  test('equal or unknown prices leave the draw as it is', () => {
    const prices = { a: [1, 2], b: [2, 1] } as const
    const [d, e] = [route('d'), route('e')]
    const { wished } = routing({ prices, draws: [0.9, 0.9, 0.9, 0] })
    expect(wished([d, e, a, b], { sort: 'price' })).toEqual(['b', 'a', 'e', 'd'])
  })

  test('a cheap route that is left alone still comes last', () => {
    const { wished } = routing({ prices: { a: [1, 1], b: [2, 2] }, states: { a: 'refused' } })
    expect(wished([a, b], { sort: 'price' })).toEqual(['b', 'a'])
  })

  test('a sort stays within a priority', () => {
    const { wished, times } = routing()
    times.answered(a, 30, null)
    times.answered(b, 10, null)
    expect(wished([a, route('b', { priority: 1 })], { sort: 'latency' })).toEqual(['a', 'b'])
  })

  test('named providers come first, whatever their priority', () => {
    const routes = [a, b, route('c', { priority: 5 })]
    expect(routing().wished(routes, { first: ['c', 'unknown', 'b'] })).toEqual(['c', 'b', 'a'])
  })

  test('a key keeps its order, and a route that goes away moves no other', () => {
    const routes = ['a', 'b', 'c', 'd', 'e'].map((name) => route(name))
    const { wished } = routing({ draws: [0.9, 0.1, 0.5] })
    for (let key = 0; key < 50; key++) {
      const sticky = `key-${key}`
      const all = wished(routes, { sticky })
      expect(wished(routes.toReversed(), { sticky })).toEqual(all)
      const [, ...others] = all
      expect(
        wished(
          routes.filter(({ provider }) => provider !== all[0]),
          { sticky },
        ),
      ).toEqual(others)
    }
  })

  test('keys spread by weight', () => {
    const { wished } = routing()
    let heavy = 0
    for (let key = 0; key < 2000; key++) {
      const [first] = wished([route('a', { weight: 3 }), b], { sticky: `key-${key}` })
      if (first === 'a') heavy++
    }
    expect(Math.abs(heavy - 1500)).toBeLessThan(100)
  })
})

describe('a breaker', () => {
  beforeEach(() => clock.set(TEST_TIME))

  test('waits longer each time, up to a minute', () => {
    const breaker = new Breaker({ clock, unpunished: 0 })
    const waits = Array.from({ length: 9 }, () => {
      breaker.failed()
      return breaker.waitSeconds
    })
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
  })

  test('does not grow without bound', () => {
    const breaker = new Breaker({ clock, unpunished: 4 })
    for (let failure = 0; failure < 2000; failure++) breaker.failed()
    expect(breaker.waitSeconds).toBe(60)
  })

  test('of a route forgives four failures, and starts over after a success', () => {
    const breaker = new Breaker({ clock, unpunished: 4 })
    for (let failure = 0; failure < 4; failure++) breaker.failed()
    expect([breaker.state, breaker.waitSeconds, breaker.retryAt]).toEqual(['closed', null, null])
    breaker.failed()
    expect([breaker.state, breaker.waitSeconds]).toEqual(['open', 1])
    clock.advance(1)
    expect(breaker.state).toBe('half_open')
    breaker.succeeded()
    breaker.failed()
    expect(breaker.state).toBe('closed')
  })
})

describe('a route that keeps failing', () => {
  let serving: ServingBreakers
  let events: LogEvent[]
  const failing = route('a')
  const fail = (times: number): void => {
    for (let failure = 0; failure < times; failure++) serving.enter(failing)?.settle('failed')
  }
  beforeEach(() => {
    clock.set(TEST_TIME)
    events = []
    serving = new ServingBreakers({ clock, log: (event) => void events.push(event) })
  })

  test('is left alone after five failures in a row', () => {
    fail(4)
    serving.enter(failing)?.settle('served')
    fail(4)
    expect(serving.admits(failing)).toBe(true)
    fail(1)
    expect([serving.admits(failing), serving.enter(failing)]).toEqual([false, null])
    expect([serving.waitSeconds(failing), serving.stateOf(id('a'))]).toEqual([1, 'open'])
  })

  test('is tried by one request at a time then', () => {
    fail(5)
    clock.advance(1)
    const probe = serving.enter(failing)
    expect(probe).not.toBeNull()
    expect([serving.admits(failing), serving.enter(failing)]).toEqual([false, null])
    probe?.settle('failed')
    expect(serving.waitSeconds(failing)).toBe(2)
    clock.advance(2)
    serving.enter(failing)?.settle('served')
    expect(serving.stateOf(id('a'))).toBe('closed')
    expect(events.map((event) => [event.event, Reflect.get(event, 'state')])).toEqual([
      ['route_breaker_changed', 'open'],
      ['route_breaker_changed', 'open'],
      ['route_breaker_changed', 'closed'],
    ])
  })

  test('is free for the next probe where a client went away', () => {
    fail(5)
    clock.advance(1)
    serving.enter(failing)?.settle('neither')
    expect(serving.enter(failing)).not.toBeNull()
  })

  test('says nothing of other models or other providers', () => {
    fail(5)
    expect(serving.admits(route('a', { model: 'another' }))).toBe(true)
    expect(serving.stateOf(id('b'))).toBe('closed')
  })
})

describe('a gateway', () => {
  let world: World
  beforeAll(async () => {
    world = await startWorld()
    await world.gateway.tick()
  })
  afterAll(() => world.close())
  beforeEach(() => {
    world.model.chat.answer = null
    world.backup.chat.answer = null
    world.plain.chat.answer = null
    // Past every wait.
    world.clock.advance(61)
    world.model.reset()
    world.backup.reset()
    world.plain.reset()
  })
  const chats = (server: World['plain']): number =>
    server.requests.filter(({ path }) => path === '/v1/chat/completions').length
  const failing = { status: 500, body: '{}' }

  test('leaves a failing route alone while another one serves, and comes back to it', async () => {
    world.model.chat.answer = failing
    for (let each = 0; each < 8; each++) {
      expect((await world.chat(prompt('resilient'))).status).toBe(200)
    }
    expect([chats(world.model), chats(world.backup)]).toEqual([5, 8])
    const { text } = await world.call('/v1/attestation/providers', { key: null })
    expect(member(JSON.parse(text), 'providers.0.serving_breaker')).toBe('open')
    world.model.chat.answer = null
    world.clock.advance(61)
    await world.chat(prompt('resilient'))
    await world.chat(prompt('resilient'))
    expect(chats(world.model)).toBe(7)
  })

  test('says so where there is no other, without forwarding anything, and when to come back', async () => {
    world.plain.chat.answer = failing
    for (let each = 0; each < 5; each++) await world.chat(prompt('ordinary'))
    const answer = await world.chat(prompt('ordinary'))
    expect([answer.status, answer.at('error.code'), answer.headers['retry-after']]).toEqual([
      503,
      'upstream_circuit_open',
      '1',
    ])
    expect(chats(world.plain)).toBe(5)
    const { event_log: log } = await receiptOf(world, answer)
    expect(log.map(({ type }) => type)).not.toContain('request.forwarded')
    expect(log.at(-1)).toMatchObject({ type: 'vouchgate.outcome', end: 'refused' })
  })

  test('never serves an attested model by a plain provider, however many routes fail', async () => {
    world.model.chat.answer = failing
    world.backup.chat.answer = failing
    for (let each = 0; each < 12; each++) await world.chat(prompt('resilient'))
    const answer = await world.chat(prompt('resilient'))
    expect([answer.status, answer.at('error.code')]).toEqual([503, 'upstream_circuit_open'])
    expect(chats(world.plain) + chats(world.plainBackup)).toBe(0)
  })

  test('does not count what is the request’s own fault, or a rate limit', async () => {
    for (const status of [400, 429]) {
      world.model.chat.answer = { status, body: '{}' }
      for (let each = 0; each < 7; each++) await world.chat(prompt('secure'))
    }
    expect(chats(world.model)).toBe(14)
  })
})

test('a gateway prefers a provider that is verified over one that is refused', async () => {
  const world = await startWorld()
  world.model.evidence.nonce = () => '1'.repeat(64)
  await world.gateway.tick()
  const before = world.model.requests.length
  const answer = await world.chat(prompt('resilient'))
  expect(answer.status).toBe(200)
  expect(world.model.requests).toHaveLength(before)
  expect((await receiptOf(world, answer)).event_log.map(({ type }) => type)).not.toContain(
    'vouchgate.attempt',
  )
  await world.close()
})

test('a gateway spreads prompts by the weights of its routes', async () => {
  let draw = 0
  const world = await startWorld({
    draw: () => (draw++ % 10) / 10,
    edit: (file) => {
      const [, , resilient] = file.models
      Object.assign(resilient?.routes[0] ?? {}, { weight: 3 })
      Object.assign(resilient?.routes[1] ?? {}, { weight: 2 })
    },
  })
  await world.gateway.tick()
  for (let each = 0; each < 20; each++) await world.chat(prompt('resilient'))
  const chats = (server: World['model']): number =>
    server.requests.filter(({ path }) => path === '/v1/chat/completions').length
  expect(chats(world.model) + chats(world.backup)).toBe(20)
  expect(chats(world.model)).toBeGreaterThan(chats(world.backup))
  await world.close()
})
