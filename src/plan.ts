import type { Admission } from './admit.ts'
import type { Route } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { SessionId } from './ids.ts'
import type { Preferences, Sort } from './preferences.ts'
import type { Prices } from './prices/prices.ts'
import type { Shape } from './prompt.ts'
import type { Access } from './upstream/upstream.ts'

/** Ordered routes, all of one confidentiality class: no failure can downgrade a prompt. */
export interface Plan {
  readonly access: Access
  readonly routes: readonly Route[]
  /** Whether verified serving is required (ACI §7.5). */
  readonly required: boolean
  readonly wishes: Wishes
}

/** In which order the routes of a plan are wanted. */
export interface Wishes {
  /** Ids of providers before all others. */
  readonly first: readonly string[]
  readonly sort: Sort | null
  /** What decides the draw among routes of one priority; null: chance. */
  readonly sticky: string | null
  /** Whether a second route may be tried. */
  readonly fallbacks: boolean
}

/**
 * Throws `upstream_verification_failed` or `session_not_accepted` where a plain model cannot satisfy ACI §5.3,
 * `no_allowed_provider` where the preferences leave nothing.
 */
export function plan(shape: Shape, admission: Admission, prices: Prices): Plan {
  const { verified, sessions } = shape.constraints
  const wishes = wishesOf(shape, admission)
  if (admission.confidentiality === 'attested') {
    const routes = narrowed(admission.routes, shape, prices)
    return { access: { confidentiality: 'attested', sessions }, routes, required: true, wishes }
  }
  refuseConstraints(verified, sessions)
  const { confidentiality, consent } = admission
  // The consent's own routes, whatever the admission says.
  const own = consent.model.routes.filter((route) => admission.routes.includes(route))
  const routes = narrowed(own, shape, prices)
  return { access: { confidentiality, consent }, routes, required: false, wishes }
}

/** Some of the given routes: a preference never adds one. */
function narrowed(routes: readonly Route[], { preferences }: Shape, prices: Prices): Route[] {
  const { only, ignore, maxPrice } = preferences
  const left = routes
    .filter(({ provider }) => (only === null || only.has(provider)) && !ignore.has(provider))
    .filter((route) => affordable(route, maxPrice, prices))
  if (left.length === 0) throw new GatewayError('no_allowed_provider')
  return left
}

/** A price that nobody knows may be too high. */
function affordable(route: Route, most: Preferences['maxPrice'], prices: Prices): boolean {
  if (most === null) return true
  const price = prices.of(route)
  return price !== null && price.input <= most.prompt && price.output <= most.completion
}

const ORDERS = {
  weighted: null,
  latency: 'latency',
  cost: 'price',
} as const satisfies Record<Admission['model']['order'], Sort | null>

function wishesOf({ preferences }: Shape, { model, principal }: Admission): Wishes {
  const { order: first, sort, fallbacks } = preferences
  return {
    first,
    sort: sort ?? ORDERS[model.order],
    sticky: model.sticky === 'key' ? principal.id : null,
    fallbacks,
  }
}

function refuseConstraints(verified: boolean, sessions: ReadonlySet<SessionId> | null): void {
  if (sessions !== null) throw new GatewayError('session_not_accepted')
  if (verified) throw new GatewayError('upstream_verification_failed')
}
