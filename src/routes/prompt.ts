import type { FastifyReply, FastifyRequest } from 'fastify'
import { PromptCall } from '../call.ts'
import type { Context } from '../context.ts'
import { dispatch } from '../dispatch.ts'
import { GatewayError } from '../errors.ts'
import { isRequestId, newReceiptId } from '../ids.ts'
import type { Operation } from '../operations.ts'
import { isPrompt } from '../prompt.ts'
import { ClientResponse } from '../response.ts'
import { principalOf } from './principal.ts'

/** Node joins a header that is sent more than once. */
const betasOf = ({ headers }: FastifyRequest): string => String(headers['anthropic-beta'] ?? '')

/** A prompt route. Fastify only delivers the body; `dispatch` answers on the raw response. */
export function answerPrompts(context: Context, operation: Operation) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { body: prompt, id: requestId } = request
    if (!isPrompt(prompt)) throw new GatewayError('unsupported_media_type')
    if (!isRequestId(requestId)) throw new GatewayError('internal')
    // Without a key to sign its receipt with, a prompt must not leave.
    if (context.enclave.current.notAfter <= context.clock.now()) {
      throw new GatewayError('keyset_expired')
    }
    const principal = principalOf(request)
    const receiptId = newReceiptId(context.random)
    const controller = new AbortController()
    const done = context.running.add(controller)
    reply.hijack()
    reply.raw.setHeader('x-receipt-id', receiptId)
    const onClose = (): void => {
      if (!reply.raw.writableEnded) controller.abort()
    }
    reply.raw.once('close', onClose)
    const response = new ClientResponse(reply.raw)
    const { signal } = controller
    const contentType = request.headers['content-type'] ?? ''
    const answering = { receiptId, principal, response, signal }
    const betas = operation.family === 'anthropic' ? betasOf(request) : ''
    const fields = { requestId, operation, prompt, contentType, betas, ...answering }
    try {
      await dispatch(context, new PromptCall(context, fields))
    } finally {
      done()
      reply.raw.off('close', onClose)
    }
  }
}
