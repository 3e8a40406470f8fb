import { setTimeout as delay } from 'node:timers/promises'
import { Attempt } from './attempt.ts'
import type { Pipeline, PromptCall } from './call.ts'
import type { Route } from './config/index.ts'
import { asGatewayError, GatewayError, type ErrorCode } from './errors.ts'
import type { Plan } from './plan.ts'
import type { Shape } from './prompt.ts'
import { VerificationRefused } from './upstream/failure.ts'
import { countsAsFailure, type Served } from './upstream/serving.ts'

export interface Asking {
  readonly pipeline: Pipeline
  readonly call: PromptCall
  readonly planned: Plan
  readonly shape: Shape
}

/** However short the waits are that a provider asks for. */
const MAX_ROUNDS = 4

/** What a provider that cannot take a request now may say when to come again. */
const COMES_AGAIN: ReadonlySet<ErrorCode> = new Set([
  'upstream_rate_limited',
  'upstream_overloaded',
])

/**
 * Tries the routes in order until one answers or has begun to. Where none does, those are asked again that said when, as
 * long as the waits fit into the budget. Throws the weightiest of what went wrong.
 */
export async function firstAnswer(asking: Asking): Promise<void> {
  const { pipeline, call, planned } = asking
  const failures = new Failures(pipeline.config.limits.retry_budget_seconds)
  const ordered = pipeline.routing.order(planned)
  let routes = planned.wishes.fallbacks ? ordered : ordered.slice(0, 1)
  do {
    for (const route of routes) {
      const failure = await failureOf(asking, route)
      if (failure === null) return
      const worst = failures.add(route, failure)
      // Another provider would see the same request, or nobody is listening any more; but one that cannot be asked this
      // has seen nothing, and the next may speak another dialect.
      const settled = !worst.retryable && failure.code !== 'request_not_supported'
      if (settled || call.signal.aborted || call.expired) throw worst
    }
    routes = await failures.waited(call.signal)
  } while (routes.length > 0)
  throw failures.worst
}

/** What went wrong so far, and who may be asked again. */
class Failures {
  #left: number
  #rounds = 1
  #worst: GatewayError | null = null
  readonly #again = new Map<Route, number>()

  constructor(budgetSeconds: number) {
    this.#left = budgetSeconds
  }

  get worst(): GatewayError {
    return this.#worst ?? new GatewayError('internal')
  }

  add(route: Route, failure: GatewayError): GatewayError {
    this.#worst = weightier(this.#worst, failure)
    const { code, retryAfterSeconds: wait } = failure
    if (COMES_AGAIN.has(code) && wait !== null && wait <= this.#left) this.#again.set(route, wait)
    return this.#worst
  }

  /** The routes that can be asked again soonest, once that time has come; none where it is too late. */
  async waited(signal: AbortSignal): Promise<readonly Route[]> {
    if (this.#again.size === 0 || this.#rounds === MAX_ROUNDS) return []
    const wait = Math.min(...this.#again.values())
    const routes = [...this.#again].filter(([, each]) => each === wait).map(([route]) => route)
    this.#again.clear()
    this.#left -= wait
    this.#rounds += 1
    return (await paused(wait, signal)) ? routes : []
  }
}

/** Null where the route has answered. */
async function failureOf(
  { pipeline, call, planned, shape }: Asking,
  route: Route,
): Promise<GatewayError | null> {
  const pass = pipeline.routing.enter(route)
  if (pass === null) return pipeline.routing.leftAlone(route)
  call.trying(route)
  let served: Served = 'neither'
  try {
    await new Attempt(pipeline, call, shape, route).run(planned.access)
    if (!call.signal.aborted) served = 'served'
    return null
  } catch (error) {
    const failure = asGatewayError(error)
    served = servedBy(failure)
    call.abandoned(route.provider, failure)
    return failure
  } finally {
    pass.settle(served)
  }
}

/** False where the client has gone away meanwhile. */
async function paused(seconds: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(1000 * seconds, undefined, { signal })
    return true
  } catch {
    return false
  }
}

function servedBy(failure: GatewayError): Served {
  // The key is still not there after the provider was verified anew: whoever is asked next should be another one.
  const lost = failure instanceof VerificationRefused && failure.reason === 'channel_key_mismatch'
  if (lost || countsAsFailure(failure.code)) return 'failed'
  return failure.code === 'request_rejected' ? 'served' : 'neither'
}

/** The errors that say that the prompt was not forwarded must not be said once another route has sent it. */
const WEIGHT: Partial<Record<ErrorCode, number>> = {
  request_not_supported: 0,
  upstream_verification_failed: 0,
  upstream_circuit_open: 0,
  session_not_accepted: 1,
}

const weight = ({ code }: GatewayError): number => WEIGHT[code] ?? 2

const weightier = (last: GatewayError | null, next: GatewayError): GatewayError =>
  last !== null && weight(last) > weight(next) ? last : next

/** Whether some provider has been sent the prompt, as far as this error says. */
export const wasForwarded = (error: GatewayError): boolean => weight(error) === 2
