import { admit } from './admit.ts'
import type { Pipeline, PromptCall } from './call.ts'
import { refuseStatefulBetas } from './betas.ts'
import { asGatewayError, type GatewayError } from './errors.ts'
import { firstAnswer, wasForwarded } from './first-answer.ts'
import { plan } from './plan.ts'
import { readShape } from './prompt.ts'
import { sseFrame } from './dialects/sse.ts'
import { ProviderRefusal } from './provider-refusal.ts'
import { JSON_HEADERS } from './response.ts'
import { VerificationRefused } from './upstream/failure.ts'

/**
 * The way of a prompt. It arrives authenticated (before its body is read) and wrapped in `Sensitive`; it leaves
 * through a channel whose peer has been verified, or by consent through one that cannot be.
 */
export async function dispatch(pipeline: Pipeline, call: PromptCall): Promise<void> {
  try {
    // What is asked: model, stream, constraints. No content.
    const shape = readShape(call.prompt, call.operation, call.contentType)
    call.receipt.model(shape.model)
    refuseStatefulBetas(call.betas)
    // Whether this key may, and which class of provider the model demands.
    const admission = admit(pipeline.config, call.principal, shape)
    call.admitted(admission.model)
    // The routes to try, all of that class.
    const planned = plan(shape, admission, pipeline.prices)
    call.receipt.planned(planned.required)
    call.keepAlive(shape.stream)
    // Session, channel, send, relay; the receipt is sealed before the last byte leaves.
    await firstAnswer({ pipeline, call, planned, shape })
  } catch (error) {
    refuse(call, asGatewayError(error))
  }
}

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
  const forwarded = error.code.startsWith('upstream_') && wasForwarded(error)
  const end = forwarded ? 'upstream_error' : 'refused'
  const seal = (hash: string): void =>
    call.seal({ end, code: error.code, chatId: null, usage: null }, hash)
  const headers = {
    ...JSON_HEADERS,
    ...(error.retryAfterSeconds === null ? {} : { 'retry-after': String(error.retryAfterSeconds) }),
  }
  const failure = error instanceof ProviderRefusal ? error.failure : null
  const body = call.operation.dialect.error(error.code, failure, call.requestId)
  if (call.response.opened) {
    // A comment has begun a stream while nobody answered: the error is its only event.
    const event = call.operation.family === 'anthropic' ? 'error' : undefined
    const frame = sseFrame(body.toString(), event)
    call.response.end(Buffer.from(frame), seal)
    return
  }
  call.response.send(error.status, headers, body, seal)
}
