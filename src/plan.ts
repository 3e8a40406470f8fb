import type { Admission } from './admit.ts'
import type { Route } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { SessionId } from './ids.ts'
import type { Shape } from './prompt.ts'
import type { Access } from './upstream/upstream.ts'

/** Ordered routes, all of one confidentiality class: no failure can downgrade a prompt. */
export interface Plan {
  readonly access: Access
  readonly routes: readonly Route[]
  /** Whether verified serving is required (ACI §7.5). */
  readonly required: boolean
}

/** Throws `upstream_verification_failed` or `session_not_accepted` where a plain model cannot satisfy ACI §5.3. */
export function plan(shape: Shape, admission: Admission): Plan {
  const { verified, sessions } = shape.constraints
  if (admission.confidentiality === 'attested') {
    const { routes } = admission.model
    return { access: { confidentiality: 'attested', sessions }, routes, required: true }
  }
  refuseConstraints(verified, sessions)
  const { confidentiality, consent } = admission
  const { routes } = consent.model
  return { access: { confidentiality, consent }, routes, required: false }
}

function refuseConstraints(verified: boolean, sessions: ReadonlySet<SessionId> | null): void {
  if (sessions !== null) throw new GatewayError('session_not_accepted')
  if (verified) throw new GatewayError('upstream_verification_failed')
}
