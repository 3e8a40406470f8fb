import type { Admission } from './admit.ts'
import type { Route } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { SessionId } from './ids.ts'
import type { Sort } from './preferences.ts'
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
export function plan(shape: Shape, admission: Admission): Plan {
  const { verified, sessions } = shape.constraints
  const wishes = wishesOf(shape, admission)
  if (admission.confidentiality === 'attested') {
    const routes = narrowed(admission.routes, shape)
    return { access: { confidentiality: 'attested', sessions }, routes, required: true, wishes }
  }
  refuseConstraints(verified, sessions)
  const { confidentiality, consent } = admission
  // The consent's own routes, whatever the admission says.
  const own = consent.model.routes.filter((route) => admission.routes.includes(route))
  const routes = narrowed(own, shape)
  return { access: { confidentiality, consent }, routes, required: false, wishes }
}

/** Some of the given routes: a preference never adds one. */
function narrowed(routes: readonly Route[], { preferences }: Shape): Route[] {
  const { only, ignore } = preferences
  const left = routes.filter(
    ({ provider }) => (only === null || only.has(provider)) && !ignore.has(provider),
  )
  if (left.length === 0) throw new GatewayError('no_allowed_provider')
  return left
}

function wishesOf({ preferences }: Shape, { model, principal }: Admission): Wishes {
  const { order: first, sort, fallbacks } = preferences
  return {
    first,
    sort: sort ?? (model.order === 'latency' ? 'latency' : null),
    sticky: model.sticky === 'key' ? principal.id : null,
    fallbacks,
  }
}

function refuseConstraints(verified: boolean, sessions: ReadonlySet<SessionId> | null): void {
  if (sessions !== null) throw new GatewayError('session_not_accepted')
  if (verified) throw new GatewayError('upstream_verification_failed')
}
