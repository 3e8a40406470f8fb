import { isIP } from 'node:net'
import Fastify, { LogController, type FastifyInstance, type FastifyReply } from 'fastify'
import { LOOPBACK } from '../client/loopback.ts'
import type { App } from './app.ts'
import type { Config } from './config/index.ts'
import { errorBody, GatewayError } from './errors.ts'
import type { Logger } from './log.ts'
import { healthz, type AdminView } from './routes/state.ts'

export interface Admin {
  readonly url: string
  close(): Promise<unknown>
}

export interface AdminOptions {
  readonly config: Config
  readonly log: Logger
  readonly view: AdminView
}

/** Null where the configuration wants none. Rejects where the address cannot be listened on. */
export async function openAdmin({ config, log, view }: AdminOptions): Promise<Admin | null> {
  const { host, port } = config.admin
  if (port === null) return null
  const app = buildAdmin(view, host)
  const url = await app.listen({ host, port })
  log({ event: 'admin_started', port: Number(new URL(url).port) })
  return { url, close: () => app.close() }
}

/** Where the address cannot be listened on, the admin listener ends too. */
export async function listen(
  app: App,
  { listen: at }: Config,
  admin: Admin | null,
): Promise<string> {
  try {
    return await app.listen({ host: at.host, port: at.port })
  } catch (error) {
    await admin?.close()
    throw error
  }
}

/**
 * What an operator watches. Counters tell of traffic, to whoever can read them: of how many prompts, how long and when. So they
 * are not where clients are, and there is no TLS and no key because nobody else should reach it.
 */
function buildAdmin({ ready, metrics }: AdminView, host: string): FastifyInstance {
  const app = Fastify({
    logger: false,
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: 10_000,
    frameworkErrors: (error, _request, reply: FastifyReply) => answerError(error, reply),
    bodyLimit: 1024,
    return503OnClosing: false,
    forceCloseConnections: true,
  })
  app.removeAllContentTypeParsers()
  app.addHook('onRequest', async ({ headers }) => {
    if (!isOurs(headers.host ?? '', host)) throw new GatewayError('host_not_allowed')
  })
  app.get('/healthz', healthz())
  app.get('/readyz', async (_request, reply) => {
    const { ready: isReady, body } = ready()
    reply.code(isReady ? 200 : 503)
    return body
  })
  app.get('/metrics', async (_request, reply) => {
    reply.type('text/plain; version=0.0.4; charset=utf-8')
    return metrics()
  })
  app.setNotFoundHandler(async () => {
    throw new GatewayError('route_not_found')
  })
  app.setErrorHandler((error, _request, reply) => {
    answerError(error, reply)
  })
  return app
}

const ANY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/**
 * Whether a `Host` header means this listener. A page of anybody's can make its own name lead here (DNS rebinding), and the
 * browser then lets it read the answers. Where every address is listened on any address will do, since it is no name.
 */
export function isOurs(header: string, listening: string): boolean {
  const [, bracketed, plain] = HOST.exec(header) ?? []
  const host = (bracketed ?? plain ?? '').toLowerCase()
  if (LOOPBACK.has(host) || host === listening.toLowerCase()) return true
  return ANY_ADDRESS.has(listening) && isIP(host) !== 0
}

/** A name or address with or without a port. */
const HOST = /^(?:\[([0-9a-f:.]+)\]|([^:[\]@/]+))(?::\d{1,5})?$/i

const JSON_TYPE = 'application/json; charset=utf-8'

/** Fastify's messages quote paths and types. */
function answerError(error: unknown, reply: FastifyReply): void {
  const known = error instanceof GatewayError ? error : new GatewayError('bad_request')
  reply.code(known.status).type(JSON_TYPE).send(errorBody(known.code))
}
