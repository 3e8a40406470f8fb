import type { Clock } from '@vouchgate/attestation'
import type { Route } from '../config/index.ts'
import type { ErrorCode } from '../errors.ts'
import type { ProviderId } from '../ids.ts'
import type { Logger } from '../log.ts'
import { Breaker, type BreakerState } from './breaker.ts'

/** How an exchange ended for the route: `neither` says nothing about it, e.g. the client went away. */
export type Served = 'served' | 'failed' | 'neither'

/** The permission to try a route; `settle` must be called once, whatever happened. */
export interface Pass {
  settle(served: Served): void
}

export interface ServingOptions {
  readonly clock: Clock
  readonly log: Logger
}

interface Entry {
  readonly breaker: Breaker
  probing: boolean
}

/** What the provider is at fault for, as opposed to the request, the client or a rate limit. */
const FAILURES: ReadonlySet<ErrorCode> = new Set([
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_error',
  'upstream_overloaded',
])

export const countsAsFailure = (code: ErrorCode): boolean => FAILURES.has(code)

const SEVERITY = { closed: 0, half_open: 1, open: 2 } as const satisfies Record<
  BreakerState,
  number
>

/** One breaker per route: a model that always fails does not take its provider's other models along. */
export class ServingBreakers {
  readonly #options: ServingOptions
  readonly #routes = new Map<ProviderId, Map<string, Entry>>()

  constructor(options: ServingOptions) {
    this.#options = options
  }

  /** Null while the route is left alone, or while another request is its probe. */
  enter(route: Route): Pass | null {
    const entry = this.#entry(route)
    if (!mayEnter(entry)) return null
    const probe = entry.breaker.state === 'half_open'
    if (probe) entry.probing = true
    return {
      settle: (served) => {
        if (probe) entry.probing = false
        this.#settle(route, entry.breaker, served)
      },
    }
  }

  /** Whether `enter` would give a pass now. */
  admits(route: Route): boolean {
    const entry = this.#routes.get(route.provider)?.get(route.model)
    return entry === undefined || mayEnter(entry)
  }

  /** Seconds until the route is tried again, at least 1. */
  waitSeconds(route: Route): number {
    return this.#routes.get(route.provider)?.get(route.model)?.breaker.waitSeconds ?? 1
  }

  /** The worst of a provider's routes. */
  stateOf(provider: ProviderId): BreakerState {
    let worst: BreakerState = 'closed'
    for (const { breaker } of this.#routes.get(provider)?.values() ?? []) {
      if (SEVERITY[breaker.state] > SEVERITY[worst]) worst = breaker.state
    }
    return worst
  }

  #entry({ provider, model }: Route): Entry {
    const models = this.#routes.get(provider) ?? new Map<string, Entry>()
    this.#routes.set(provider, models)
    const { clock } = this.#options
    const entry = models.get(model) ?? {
      breaker: new Breaker({ clock, unpunished: 4 }),
      probing: false,
    }
    models.set(model, entry)
    return entry
  }

  #settle({ provider }: Route, breaker: Breaker, served: Served): void {
    if (served === 'neither') return
    const before = breaker.state
    if (served === 'served') breaker.succeeded()
    else breaker.failed()
    const { state } = breaker
    if (state === before) return
    const retryAt = breaker.retryAt ?? 0
    this.#options.log({ event: 'route_breaker_changed', provider, state, retryAt })
  }
}

const mayEnter = ({ breaker, probing }: Entry): boolean =>
  breaker.state === 'closed' || (breaker.state === 'half_open' && !probing)
