import { admit } from './admit.ts'
import { Attempt } from './attempt.ts'
import type { Pipeline, PromptCall } from './call.ts'
import { asGatewayError, GatewayError, type ErrorCode } from './errors.ts'
import { plan, type Plan } from './plan.ts'
import { readShape, type Shape } from './prompt.ts'
import { ProviderRefusal } from './provider-refusal.ts'
import { VerificationRefused } from './upstream/failure.ts'
import { countsAsFailure, type Served } from './upstream/serving.ts'

/**
 * The way of a prompt. It arrives authenticated (before its body is read) and wrapped in `Sensitive`; it leaves
 * through a channel whose peer has been verified, or by consent through one that cannot be.
 */
export async function dispatch(pipeline: Pipeline, call: PromptCall): Promise<void> {
  try {
    // What is asked: model, stream, constraints. No content.
    const shape = readShape(call.prompt, call.operation)
    call.receipt.model(shape.model)
    // Whether this key may, and which class of provider the model demands.
    const admission = admit(pipeline.config, call.principal, shape)
    call.admitted(admission.model)
    // The routes to try, all of that class.
    const planned = plan(shape, admission)
    call.receipt.planned(planned.required)
    // Session, channel, send, relay; the receipt is sealed before the last byte leaves.
    await firstAnswer(pipeline, call, planned, shape)
  } catch (error) {
    refuse(call, asGatewayError(error))
  }
}

/** Tries the routes in order until one answers or has begun to. */
async function firstAnswer(
  pipeline: Pipeline,
  call: PromptCall,
  planned: Plan,
  shape: Shape,
): Promise<void> {
  let last: GatewayError | null = null
  for (const route of pipeline.routing.order(planned)) {
    const pass = pipeline.routing.enter(route)
    if (pass === null) {
      last = weightier(last, pipeline.routing.leftAlone(route))
      continue
    }
    call.attempting(route)
    let served: Served = 'neither'
    try {
      await new Attempt(pipeline, call, shape, route).run(planned.access)
      if (!call.signal.aborted) served = 'served'
      return
    } catch (error) {
      const failure = asGatewayError(error)
      served = servedBy(failure)
      last = weightier(last, failure)
      call.abandoned(route.provider, failure)
      // Another provider would see the same request, or nobody is listening any more.
      if (!last.retryable || call.signal.aborted) throw last
    } finally {
      pass.settle(served)
    }
  }
  throw last ?? new GatewayError('internal')
}

function servedBy(failure: GatewayError): Served {
  // The key is still not there after the provider was verified anew: whoever is asked next should be another one.
  const lost = failure instanceof VerificationRefused && failure.reason === 'channel_key_mismatch'
  if (lost || countsAsFailure(failure.code)) return 'failed'
  return failure.code === 'request_rejected' ? 'served' : 'neither'
}

/** The errors that say that the prompt was not forwarded must not be said once another route has sent it. */
const WEIGHT: Partial<Record<ErrorCode, number>> = {
  upstream_verification_failed: 0,
  upstream_circuit_open: 0,
  session_not_accepted: 1,
}

const weight = ({ code }: GatewayError): number => WEIGHT[code] ?? 2

const weightier = (last: GatewayError | null, next: GatewayError): GatewayError =>
  last !== null && weight(last) > weight(next) ? last : next

function refuse(call: PromptCall, error: GatewayError): void {
  if (call.sealed) return
  if (call.signal.aborted) {
    call.seal(
      { end: 'client_abort', code: null, chatId: null, usage: null },
      call.response.emittedHash(),
    )
    return
  }
  if (error.code === 'session_not_accepted') call.receipt.refusedFor('session_not_accepted')
  else if (error instanceof VerificationRefused) call.receipt.refusedFor(error.reason)
  const forwarded = error.code.startsWith('upstream_') && weight(error) === 2
  const end = forwarded ? 'upstream_error' : 'refused'
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    ...(error.retryAfterSeconds === null ? {} : { 'retry-after': String(error.retryAfterSeconds) }),
  }
  const failure = error instanceof ProviderRefusal ? error.failure : null
  const body = call.operation.dialect.error(error.code, failure, call.requestId)
  call.response.send(error.status, headers, body, (hash) =>
    call.seal({ end, code: error.code, chatId: null, usage: null }, hash),
  )
}
