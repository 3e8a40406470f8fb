import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Context } from '../context.ts'
import { measureProviders, stateJson } from './providers.ts'

/** `GET /healthz`: the process answers. */
export const healthz = () => async () => ({ status: 'ok' })

/** `GET /readyz`: every attested provider has been asked, the keyset is in force, and the gateway is not draining. */
export const readyz = (context: Context) => async (_request: FastifyRequest, reply: FastifyReply) =>
  readiness(context, reply)

/** `GET /readyz` of the admin listener: also how each provider stands. */
export const readyDetail =
  (context: Context) => async (_request: FastifyRequest, reply: FastifyReply) => ({
    ...readiness(context, reply),
    providers: Object.fromEntries(
      context.sessions.views().map(({ provider, state }) => [provider.id, stateJson(state)]),
    ),
  })

function readiness({ sessions, clock, enclave, running }: Context, reply: FastifyReply) {
  const known = sessions.views().every(({ state }) => state.state !== 'verifying')
  const live = clock.now() < enclave.current.notAfter
  const ready = known && live && !running.draining
  reply.code(ready ? 200 : 503)
  return {
    status: ready ? 'ready' : 'not_ready',
    keyset_digest: enclave.current.keysetDigest,
  }
}

/** `GET /metrics` of the admin listener, in the Prometheus text format. */
export const metrics =
  (context: Context) => async (_request: FastifyRequest, reply: FastifyReply) => {
    context.metrics.set('vouchgate_prompts_in_flight', context.running.size)
    context.metrics.set('vouchgate_receipts', context.receipts.size)
    context.metrics.set('vouchgate_keyset_not_after_seconds', context.enclave.current.notAfter)
    measureProviders(context)
    reply.type('text/plain; version=0.0.4; charset=utf-8')
    return context.metrics.text()
  }
