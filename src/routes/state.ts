import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Context } from '../context.ts'
import type { ProviderView } from '../sessions.ts'
import { measureServing, measureVerification, stateJson } from './providers.ts'

/** What an operator is shown. */
export interface AdminView {
  readonly ready: () => { readonly ready: boolean; readonly body: object }
  /** In the Prometheus text format. */
  readonly metrics: () => Promise<string>
}

/** `GET /healthz`: the process answers. */
export const healthz = () => async () => ({ status: 'ok' })

/** `GET /readyz`: every attested provider has been asked, the keyset is in force, and the gateway is not draining. */
export const readyz =
  (context: Context) => async (_request: FastifyRequest, reply: FastifyReply) => {
    const ready = isReady(context)
    reply.code(ready ? 200 : 503)
    return readyJson(ready, context)
  }

/** What the admin listener of a gateway shows that is one process. */
export const adminView = (context: Context): AdminView => ({
  ready: () => {
    const ready = isReady(context)
    const detail = { providers: providersJson(context.sessions.views()) }
    return { ready, body: { ...readyJson(ready, context), ...detail } }
  },
  metrics: async () => {
    measure(context)
    return context.metrics.text()
  },
})

export const providersJson = (views: readonly ProviderView[]): object =>
  Object.fromEntries(views.map(({ provider, state }) => [provider.id, stateJson(state)]))

type Ready = Pick<Context, 'clock' | 'enclave'> & {
  readonly running: { readonly draining: boolean }
  readonly sessions: { views(): readonly ProviderView[] }
}

export function isReady({ sessions, clock, enclave, running }: Ready): boolean {
  const known = sessions.views().every(({ state }) => state.state !== 'verifying')
  const live = clock.now() < enclave.current.notAfter
  return known && live && !running.draining
}

export const readyJson = (ready: boolean, { enclave }: Pick<Context, 'enclave'>) => ({
  status: ready ? 'ready' : 'not_ready',
  keyset_digest: enclave.current.keysetDigest,
})

/** Brings the gauges up to date. */
export function measure(context: Context): void {
  context.metrics.set('vouchgate_prompts_in_flight', context.running.size)
  context.metrics.set('vouchgate_receipts', context.receipts.size)
  context.metrics.set('vouchgate_keyset_not_after_seconds', context.enclave.current.notAfter)
  measureVerification(context)
  measureServing(context)
}
