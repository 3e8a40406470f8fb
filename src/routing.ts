import type { Route } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { ProviderId, SessionId } from './ids.ts'
import type { Plan } from './plan.ts'
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

export interface RoutingOptions {
  readonly sessions: KnownSessions
  readonly serving: KnownServing
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

  /** By priority, drawn by weight within one; behind all others those that would fail or have to wait. */
  order({ routes, access }: Plan): readonly Route[] {
    const drawn = Map.groupBy(routes, ({ priority }) => priority)
    const preferred = [...drawn]
      .toSorted(([left], [right]) => left - right)
      .flatMap(([, equal]) => permuted(equal, this.#options.random))
    const standing = new Map(preferred.map((route) => [route, this.#standing(route, access)]))
    const at = (route: Route): number => standing.get(route) ?? 0
    return preferred.toSorted((left, right) => at(left) - at(right))
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
