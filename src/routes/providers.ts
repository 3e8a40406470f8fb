import type { Context } from '../context.ts'
import type { Metrics } from '../metrics.ts'
import type { ProviderState } from '../session-slot.ts'
import type { ProviderView } from '../sessions.ts'
import type { BreakerState } from '../upstream/breaker.ts'

/** What `/readyz` says of a provider. */
export const stateJson = (state: ProviderState) => ({
  state: state.state,
  verified_until: state.verifiedUntil,
  reason: state.reason,
  retry_at: state.retryAt,
  breaker: state.breaker,
})

/**
 * `GET /v1/attestation/providers`: every attested provider and how it stands. Public, like the sessions: whoever
 * sends prompts here may know where they go.
 */
export const listProviders = (context: Context) => async () => {
  const { sessions, serving } = context
  const providers = sessions.views().map(({ provider: { id, kind, origin }, state, current }) => ({
    id,
    kind,
    origin,
    ...stateJson(state),
    serving_breaker: serving.stateOf(id),
    sessions: current,
  }))
  return { api_version: 'aci/1', providers }
}

const STATES = ['verifying', 'verified', 'refused'] as const
const BREAKERS = ['closed', 'open', 'half_open'] as const satisfies readonly BreakerState[]

type Verification = Pick<Context, 'metrics' | 'clock'> & {
  readonly sessions: { views(): readonly ProviderView[] }
}

/** Looked at when metrics are asked for, so that a gauge is never older than the answer. */
export function measureVerification({ sessions, metrics, clock }: Verification): void {
  for (const { provider, state: now, current } of sessions.views()) {
    const { id } = provider
    for (const state of STATES) {
      const labels = { provider: id, state }
      metrics.set('vouchgate_provider_state', now.state === state ? 1 : 0, labels)
    }
    const left = now.verifiedUntil === null ? 0 : now.verifiedUntil - clock.now()
    metrics.set('vouchgate_provider_verified_seconds', left, { provider: id })
    metrics.set('vouchgate_provider_sessions', current.length, { provider: id })
    measureBreaker(metrics, { breaker: 'verification', provider: id }, now.breaker)
  }
}

export function measureServing({ serving, metrics, config }: Context): void {
  for (const provider of config.providers.keys()) {
    measureBreaker(metrics, { breaker: 'serving', provider }, serving.stateOf(provider))
  }
}

/** One series for each state: 1 for the one it is in. */
export function measureBreaker(
  metrics: Metrics,
  { breaker, provider }: { readonly breaker: string; readonly provider: string },
  now: BreakerState,
): void {
  for (const state of BREAKERS) {
    const labels = { provider, breaker, state }
    metrics.set('vouchgate_provider_breaker', now === state ? 1 : 0, labels)
  }
}
