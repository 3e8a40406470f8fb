import { isCounter, Metrics, type Family, type Sample } from '../metrics.ts'
import { measureBreaker } from '../routes/providers.ts'
import type { BreakerState } from '../upstream/breaker.ts'

/** What the leader does for all, and knows best: a worker's own numbers of it would count one thing several times. */
const OF_LEADER: ReadonlySet<Family> = new Set([
  'vouchgate_verifications_total',
  'vouchgate_provider_state',
  'vouchgate_provider_verified_seconds',
  'vouchgate_provider_sessions',
  'vouchgate_identities_first_seen_total',
  'vouchgate_collateral_total',
  'vouchgate_collateral_expires_seconds',
  'vouchgate_workers',
  'vouchgate_workers_ended_total',
  'vouchgate_keyset_not_after_seconds',
])

/** Worst first. */
const STATES = ['open', 'half_open', 'closed'] as const satisfies readonly BreakerState[]

const SERVING = /^\{provider="([a-z0-9-]+)",breaker="serving",state="([a-z_]+)"\}$/

/** Counters and gauges of all workers together: each is the sum, but a provider's breaker is the worst of them. */
export class Counters {
  /** What each worker said last. */
  readonly #last = new Map<number, readonly Sample[]>()
  /** Counted by workers that are gone. A counter that falls would read as one that began anew. */
  readonly #gone = new Metrics()

  said(worker: number, samples: readonly Sample[]): void {
    this.#last.set(
      worker,
      samples.filter(([family]) => !OF_LEADER.has(family)),
    )
  }

  /** What it has counted since it was asked last is not known. */
  lost(worker: number): void {
    const last = this.#last.get(worker) ?? []
    this.#gone.include(last.filter(([family]) => isCounter(family)))
    this.#last.delete(worker)
  }

  /** In the Prometheus text format, with what the leader knows. */
  text(leader: Metrics): string {
    const all = new Metrics()
    const breakers = new Map<string, Set<string>>()
    all.include(leader.samples())
    all.include(this.#gone.samples())
    for (const samples of this.#last.values()) {
      all.include(samples.filter(([family]) => family !== 'vouchgate_provider_breaker'))
      for (const [, labels, value] of samples) addBreaker(breakers, labels, value)
    }
    for (const [provider, seen] of breakers) {
      const worst = STATES.find((state) => seen.has(state)) ?? 'closed'
      measureBreaker(all, { breaker: 'serving', provider }, worst)
    }
    return all.text()
  }
}

function addBreaker(breakers: Map<string, Set<string>>, labels: string, value: number): void {
  const [, provider, state] = SERVING.exec(labels) ?? []
  if (provider === undefined || state === undefined || value === 0) return
  breakers.set(provider, (breakers.get(provider) ?? new Set()).add(state))
}
