import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Enclave } from '../../enclave/index.ts'
import { Crew } from '../../src/cluster/crew.ts'
import { Exchange } from '../../src/cluster/exchange.ts'
import { LeaderClient } from '../../src/cluster/leader-client.ts'
import type { FromLeader, FromWorker } from '../../src/cluster/messages.ts'
import { requirePermission, type WorkerProcess } from '../../src/cluster/processes.ts'
import { isCredentialDigest, isSessionId } from '../../src/ids.ts'
import type { LogEvent } from '../../src/log.ts'
import { fakeClock } from '../support/clock.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

/* Processes that do nothing by themselves: when they are started, replaced, given up and ended. */

class Puppet {
  readonly heard: FromLeader[] = []
  killed = false
  readonly #number: number
  readonly #exits: ((code: number | null, signal: string | null) => void)[] = []
  readonly #listeners: ((message: unknown) => void)[] = []

  constructor(number: number) {
    this.#number = number
  }

  get process(): WorkerProcess {
    return {
      number: this.#number,
      pid: 100 + this.#number,
      send: (message) => void this.heard.push(message),
      onMessage: (listener) => void this.#listeners.push(listener),
      onExit: (listener) => void this.#exits.push(listener),
      kill: () => {
        this.killed = true
        this.exit(null, 'SIGKILL')
      },
    }
  }

  say(message: FromWorker): void {
    for (const listener of this.#listeners) listener(message)
  }

  exit(code: number | null, signal: string | null = null): void {
    for (const listener of this.#exits) listener(code, signal)
  }
}

const DIGEST = `sha256:${'a'.repeat(64)}`
const clock = fakeClock()
const HELLO: FromWorker = { type: 'hello', configDigest: DIGEST, facts: {} }
const vendor = createTeeVendor()
const enclave = await Enclave.boot({
  source: vendor.quoteSource(),
  clock,
  boot: { software: 'vouchgate/test', config_digest: DIGEST, self_check: {} },
  domain: null,
  lifetimeSeconds: 600,
  provenance: { repo_url: null, repo_commit: null, image_digest: null, image_provenance: null },
  maxWaitingQuotes: 1,
})
const equipment = () => ({
  handed: enclave.handOver(),
  tenantSecret: new Uint8Array(32),
  rounds: [],
})

let puppets: Puppet[] = []
let events: LogEvent[] = []
let lost = 0
let full = false
let crew: Crew

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  puppets = []
  events = []
  lost = 0
  full = false
  crew = new Crew({
    count: 2,
    fork: () => {
      if (full) throw new Error('EAGAIN')
      const puppet = new Puppet(puppets.length + 1)
      puppets.push(puppet)
      return puppet.process
    },
    configDigest: DIGEST,
    clock,
    log: (event) => events.push(event),
    answer: () => null,
    onLost: () => {
      lost++
    },
  })
})
afterEach(() => {
  vi.useRealTimers()
})

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}

async function serving(): Promise<void> {
  const mustered = crew.muster()
  for (const puppet of puppets) puppet.say(HELLO)
  await mustered
  const served = crew.serve({ equipment, facts: {} })
  await settled()
  for (const puppet of puppets) puppet.say({ type: 'serving', port: 4 })
  expect(await served).toBe(4)
  await settled()
}

describe('a crew', () => {
  test('replaces one that has ended at once, and what keeps ending less and less often', async () => {
    await serving()
    puppets[0]?.exit(1)
    expect(puppets.length).toBe(3)
    expect(events).toContainEqual({ event: 'worker_ended', worker: 1, code: 1, signal: null })
    puppets[2]?.exit(1)
    expect(puppets.length).toBe(3)
    clock.advance(1)
    crew.tick()
    expect(puppets.length).toBe(4)
    puppets[3]?.exit(1)
    clock.advance(1)
    crew.tick()
    expect(puppets.length).toBe(4)
    clock.advance(1)
    crew.tick()
    expect(puppets.length).toBe(5)
    expect(lost).toBe(3)
  })

  test('forgets failures once a replacement has served for a minute', async () => {
    await serving()
    puppets[0]?.exit(1)
    puppets[1]?.exit(1)
    clock.advance(1)
    crew.tick()
    expect(puppets.length).toBe(4)
    for (const puppet of puppets.slice(2)) puppet.say(HELLO)
    await settled()
    for (const puppet of puppets.slice(2)) puppet.say({ type: 'serving', port: 4 })
    await settled()
    clock.advance(60)
    crew.tick()
    puppets[2]?.exit(1)
    expect(puppets.length).toBe(5)
  })

  test('is not one where a process ends before it has said what it is', async () => {
    const mustered = crew.muster()
    puppets[0]?.say(HELLO)
    puppets[1]?.exit(1)
    await expect(mustered).rejects.toMatchObject({ code: 'worker_failed' })
    expect(puppets.length).toBe(2)
  })

  test.each([
    ['listen_failed', 'listen_failed'],
    ['internal', 'worker_failed'],
  ] as const)('does not serve where a process says %s', async (reason, code) => {
    const mustered = crew.muster()
    for (const puppet of puppets) puppet.say(HELLO)
    await mustered
    const served = crew.serve({ equipment, facts: {} })
    await settled()
    puppets[1]?.say({ type: 'failed', reason })
    await expect(served).rejects.toMatchObject({ code })
  })

  test('gives up on a process that says nothing for a minute', async () => {
    const mustered = crew.muster()
    mustered.catch(() => undefined)
    vi.advanceTimersByTime(60_000)
    expect(puppets.map(({ killed }) => killed)).toEqual([true, true])
    expect(events).toContainEqual({ event: 'worker_refused', worker: 1, reason: 'silent' })
    await expect(mustered).rejects.toMatchObject({ code: 'worker_failed' })
  })

  test('gives up on a process that has its keys and does not begin to serve', async () => {
    const mustered = crew.muster()
    for (const puppet of puppets) puppet.say(HELLO)
    await mustered
    const served = crew.serve({ equipment, facts: {} })
    await settled()
    puppets[0]?.say({ type: 'serving', port: 4 })
    await settled()
    vi.advanceTimersByTime(60_000)
    expect(puppets.map(({ killed }) => killed)).toEqual([false, true])
    await expect(served).rejects.toMatchObject({ code: 'worker_failed' })
  })

  test('tries again where no process can be started', async () => {
    await serving()
    full = true
    puppets[0]?.exit(1)
    expect([puppets.length, events.at(-1)]).toEqual([2, { event: 'worker_start_failed' }])
    full = false
    clock.advance(1)
    crew.tick()
    expect(puppets.length).toBe(3)
  })

  test('is not one where a process cannot be started', async () => {
    full = true
    await expect(crew.muster()).rejects.toMatchObject({ code: 'worker_failed' })
  })

  test('lets them end, and ends the one that does not', async () => {
    await serving()
    const closed = crew.close(3)
    expect(puppets.map(({ heard }) => heard.at(-1)?.type)).toEqual(['drain', 'drain'])
    puppets[0]?.exit(0)
    vi.advanceTimersByTime(7_999)
    expect(puppets[1]?.killed).toBe(false)
    vi.advanceTimersByTime(1)
    expect(puppets[1]?.killed).toBe(true)
    await closed
    expect([puppets.length, lost]).toEqual([2, 0])
    crew.tick()
    expect(puppets.length).toBe(2)
  })
})

describe('questions to another process', () => {
  const asking = (timeoutMs: number | null) =>
    new Exchange<'receipt' | 'session', string>({ limits: { receipt: 2, session: 1 }, timeoutMs })

  test('are answered by their numbers, whatever the order', async () => {
    const exchange = asking(null)
    const ids: number[] = []
    const answers = [1, 2].map(() => exchange.ask('receipt', (id) => void ids.push(id)))
    exchange.answered(ids[1] ?? 0, 'second')
    exchange.answered(ids[0] ?? 0, 'first')
    exchange.answered(77, 'nobody asked')
    expect(await Promise.all(answers)).toEqual(['first', 'second'])
  })

  test('are bounded in number, each kind by itself', async () => {
    const exchange = asking(null)
    const sent: number[] = []
    const ask = (kind: 'receipt' | 'session') => exchange.ask(kind, (id) => void sent.push(id))
    const waiting = [ask('receipt'), ask('receipt')]
    expect(await ask('receipt')).toBe(null)
    expect(sent.length).toBe(2)
    waiting.push(ask('session'))
    expect(sent.length).toBe(3)
    exchange.close()
    expect(await Promise.all(waiting)).toEqual([null, null, null])
  })

  test('are given up after their time', async () => {
    const exchange = asking(2000)
    const answer = exchange.ask('receipt', () => undefined)
    vi.advanceTimersByTime(2000)
    expect(await answer).toBe(null)
    const late = exchange.ask('receipt', () => undefined)
    exchange.close()
    expect(await late).toBe(null)
  })
})

describe('a worker that asks its leader too much', () => {
  const hex = 'a'.repeat(64)
  const client = new LeaderClient({ send: () => undefined, onMessage: () => undefined }, 1)
  const times = <T>(count: number, each: () => Promise<T>): void => {
    for (let at = 0; at < count; at++) void each()
  }

  test('says so with a code: receipts, sessions, reports, collateral', async () => {
    if (!isCredentialDigest(hex) || !isSessionId(hex)) throw new TypeError('hex')
    times(64, () => client.receipt('x', hex))
    await expect(client.receipt('x', hex)).rejects.toMatchObject({ code: 'worker_busy' })
    times(16, () => client.session(hex))
    await expect(client.session(hex)).rejects.toMatchObject({ code: 'worker_busy' })
    times(2, () => client.report(hex))
    await expect(client.report(hex)).rejects.toMatchObject({ code: 'quote_busy' })
    times(64, () => client.collateral())
    await expect(client.collateral()).rejects.toMatchObject({ code: 'collateral_unavailable' })
  })
})

test('a process that may not start others is no leader', () => {
  const refuse = () => requirePermission({ has: (scope) => scope !== 'child' })
  expect(refuse).toThrow(expect.objectContaining({ code: 'workers_not_permitted' }))
  requirePermission({ has: (scope) => scope === 'child' })
  // Without the permission model everything is allowed.
  requirePermission(undefined)
})
