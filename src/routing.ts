import type { Route } from './config/index.ts'
import { createHash } from 'node:crypto'
import { GatewayError } from './errors.ts'
import type { ProviderId, SessionId } from './ids.ts'
import type { Plan, Wishes } from './plan.ts'
import type { RouteTimes } from './route-times.ts'
import type { Price } from './prices/table.ts'
import type { ProviderState } from './session-slot.ts'
import type { Pass } from './upstream/serving.ts'
import type { Access } from './upstream/upstream.ts'

/** What is known of attested providers. */
interface KnownSessions {
  state(provider: ProviderId): ProviderState
  /** The sessions that can serve now. */
  current(provider: ProviderId): readonly SessionId[]
}

/** Which routes are left alone because they keep failing. */
interface KnownServing {
  enter(route: Route): Pass | null
  admits(route: Route): boolean
  waitSeconds(route: Route): number
}

interface KnownPrices {
  of(route: Route): Price | null
}

export interface RoutingOptions {
  readonly sessions: KnownSessions
  readonly serving: KnownServing
  readonly times: RouteTimes
  readonly prices: KnownPrices
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** In which order the routes of a plan are tried. It gives back the plan's own routes, so no class is added. */
export class Routing {
  readonly #options: RoutingOptions

  constructor(options: RoutingOptions) {
    this.#options = options
  }

  /** The permission to try a route, or null while it is left alone. */
  enter(route: Route): Pass | null {
    return this.#options.serving.enter(route)
  }

  /** What a client is told that asked for nothing but routes that are left alone. */
  leftAlone(route: Route): GatewayError {
    return new GatewayError('upstream_circuit_open', this.#options.serving.waitSeconds(route))
  }

  get times(): RouteTimes {
    return this.#options.times
  }

  /**
   * By priority, within one by weight or as wished; behind all others those that would fail or have to wait.
   * Providers that the client names first come first in any case.
   */
  order({ routes, access, wishes }: Plan): readonly Route[] {
    if (routes.length === 1) return routes
    const drawn = Map.groupBy(routes, ({ priority }) => priority)
    const preferred = [...drawn]
      .toSorted(([left], [right]) => left - right)
      .flatMap(([, equal]) => this.#within(equal, wishes))
    const standing = new Map(preferred.map((route) => [route, this.#standing(route, access)]))
    const at = (route: Route): number => standing.get(route) ?? 0
    const ready = preferred.toSorted((left, right) => at(left) - at(right))
    return namedFirst(ready, wishes.first)
  }

  #within(equal: readonly Route[], { sticky, sort }: Wishes): readonly Route[] {
    const { random, times, prices } = this.#options
    const drawn = sticky === null ? permuted(equal, random) : rendezvous(equal, sticky)
    if (sort === 'price') return ascending(drawn, (route) => perToken(prices.of(route)))
    // Unknown ones come first, or they would stay unknown.
    if (sort === 'latency') return ascending(drawn, (route) => times.firstByteMs(route) ?? 0)
    if (sort === 'throughput') return ascending(drawn, (route) => -(times.rate(route) ?? Infinity))
    return drawn
  }

  /** 0: can serve now. 1: may be able to after a verification. 2: is known not to. */
  #standing(route: Route, access: Access): number {
    const { sessions, serving } = this.#options
    if (!serving.admits(route)) return 2
    if (access.confidentiality === 'plain') return 0
    const { sessions: pinned } = access
    if (pinned !== null) {
      return sessions.current(route.provider).some((id) => pinned.has(id)) ? 0 : 2
    }
    return STANDING[sessions.state(route.provider).state]
  }
}

/** One measure of two prices: a token in and a token out. What has no known price comes last, since asking tells none. */
const perToken = (price: Price | null): number =>
  price === null ? Infinity : price.input + price.output

const ascending = (routes: readonly Route[], by: (route: Route) => number): readonly Route[] =>
  routes.toSorted((left, right) => {
    const [a, b] = [by(left), by(right)]
    return a === b ? 0 : a - b
  })

function namedFirst(routes: readonly Route[], first: readonly string[]): readonly Route[] {
  if (first.length === 0) return routes
  const place = ({ provider }: Route): number => {
    const at = first.indexOf(provider)
    return at === -1 ? first.length : at
  }
  return ascending(routes, place)
}

/**
 * Weighted rendezvous hashing: every key prefers the routes in an order of its own, in proportion to their weights,
 * and a route that comes or goes moves no other key.
 */
function rendezvous(routes: readonly Route[], key: string): readonly Route[] {
  const score = ({ provider, model, weight }: Route): number => {
    const digest = createHash('sha256')
      .update(JSON.stringify([key, provider, model]))
      .digest()
    // In (0, 1): neither end has a logarithm that can be divided by.
    const point = (digest.readUIntBE(0, 6) + 0.5) / 2 ** 48
    return -Math.log(point) / weight
  }
  return ascending(routes, score)
}

const STANDING = { verified: 0, verifying: 1, refused: 2 } as const

/** A random permutation in which each next element is drawn with the odds of its weight among those left. */
function permuted(routes: readonly Route[], random: () => number): Route[] {
  const left = [...routes]
  const drawn: Route[] = []
  while (left.length > 0) {
    let point = random() * left.reduce((sum, { weight }) => sum + weight, 0)
    const at = left.findIndex(({ weight }) => (point -= weight) < 0)
    drawn.push(...left.splice(at, 1))
  }
  return drawn
}
