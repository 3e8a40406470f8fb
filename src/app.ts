import Fastify, {
  LogController,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type onRequestHookHandler,
} from 'fastify'
import type { Server } from 'node:https'
import { EnclaveError, tlsOptions } from '../enclave/index.ts'
import { readBody } from './body.ts'
import type { Context } from './context.ts'
import { GatewayError } from './errors.ts'
import { isRequestId, newRequestId } from './ids.ts'
import type { RouteName } from './log.ts'
import { attestation, getReceipt, getSession, listSessions } from './routes/aci.ts'
import { operation, OPERATIONS, type OperationName } from './operations.ts'
import { answerPrompts } from './routes/prompt.ts'
import { getModel, listModels } from './routes/models.ts'
import { listProviders } from './routes/providers.ts'
import { speaksAnthropic } from './routes/dialect.ts'
import { refuseToKeep, STATEFUL_BELOW, STATEFUL_PATHS } from './routes/stateful.ts'
import { healthz, readyz } from './routes/state.ts'
import { unreadable } from './unreadable.ts'

export type App = FastifyInstance<Server>

const promptRoutes = Object.keys(OPERATIONS)
  .filter((name): name is OperationName => name in OPERATIONS)
  .map(operation)

const STATEFUL_URLS = [
  ...STATEFUL_PATHS,
  ...[...STATEFUL_PATHS, ...STATEFUL_BELOW].map((path) => `${path}/*`),
]

const ROUTE_NAMES: ReadonlyMap<string | undefined, RouteName> = new Map([
  ...promptRoutes.map((route) => [`/v1${route.path}`, route.name] as const),
  ['/v1/models', 'models'],
  ['/v1/models/*', 'models'],
  ['/v1/aci/attestation', 'attestation'],
  ['/v1/aci/sessions', 'sessions'],
  ['/v1/aci/sessions/:id', 'sessions'],
  ['/v1/aci/receipts/:id', 'receipts'],
  ['/v1/attestation/providers', 'providers'],
  ['/healthz', 'health'],
  ['/readyz', 'health'],
  ...STATEFUL_URLS.map((url) => [url, 'stateful'] as const),
])

const MESSAGES = operation('messages').dialect
const CHAT = operation('chat').dialect

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** Node gives the headers of a request so much. */
const HEADERS_MS = 60_000

/** The HTTP surface. Fastify's own logs are off and no body reaches it unwrapped. */
export function buildApp(context: Context): App {
  const app = Fastify<Server>({
    https: tlsOptions(context.enclave.current),
    logger: false,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => newRequestId(context.random),
    requestIdHeader: false,
    // Behind the limit of bodies that are read, for what is sent where nobody reads it.
    requestTimeout: 1000 * context.config.limits.body_seconds + HEADERS_MS,
    // While draining, the hook below answers in the shape clients expect.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 512 },
    frameworkErrors: (error, request, reply) => {
      stamp(context, request, reply)
      sendError(request, reply, toGatewayError(error))
    },
    clientErrorHandler: ({ code }, socket) => {
      socket.end(unreadable(code))
    },
  })
  addBodies(app, context)
  addHooks(app, context)
  addRoutes(app, context)
  context.enclave.onRotate((generation) => app.server.setSecureContext(tlsOptions(generation)))
  return app
}

function addBodies(app: App, { config }: Context): void {
  const { body_bytes: bytes, body_seconds: seconds } = config.limits
  const limits = { bytes, ms: 1000 * seconds }
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', async (request: FastifyRequest) => {
    const encoding = request.headers['content-encoding'] ?? 'identity'
    if (encoding !== 'identity') throw new GatewayError('unsupported_media_type')
    return readBody(request.raw, limits)
  })
  app.addContentTypeParser('multipart/form-data', async (request: FastifyRequest) => {
    const encoding = request.headers['content-encoding'] ?? 'identity'
    const route = promptRoutes.find(({ path }) => request.routeOptions.url === `/v1${path}`)
    if (route?.takes !== 'form' || encoding !== 'identity') {
      throw new GatewayError('unsupported_media_type')
    }
    return readBody(request.raw, limits)
  })
}

function addHooks(app: App, context: Context): void {
  // With callbacks: a promise for each hook of each request costs more than the hooks do.
  app.addHook('onRequest', (request, reply, done) => {
    stamp(context, request, reply)
    if (context.running.draining) {
      reply.header('connection', 'close')
      done(new GatewayError('shutting_down'))
    } else if (request.is404) done(new GatewayError('route_not_found'))
    else done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    const route = ROUTE_NAMES.get(request.routeOptions.url) ?? 'other'
    const status = reply.raw.statusCode
    context.metrics.add('vouchgate_requests_total', { route, status })
    const ms = Math.round(reply.elapsedTime)
    if (isRequestId(request.id)) {
      context.log({ event: 'request_done', request: request.id, route, status, ms })
    }
    done()
  })
  app.setErrorHandler((error, request, reply) => {
    const known = toGatewayError(error)
    if (isRequestId(request.id)) {
      context.log({ event: 'request_failed', request: request.id, code: known.code })
    }
    sendError(request, reply, known)
  })
  app.setNotFoundHandler(async () => {
    throw new GatewayError('route_not_found')
  })
}

/** The headers of every response (ACI §5.2), set where an error cannot lose them. */
function stamp({ enclave }: Context, request: FastifyRequest, reply: FastifyReply): void {
  reply.raw.setHeader('x-request-id', request.id)
  reply.raw.setHeader('x-aci-version', 'aci/1')
  reply.raw.setHeader('x-aci-keyset-digest', enclave.current.keysetDigest)
}

/** In the shape of the dialect that is spoken at this address. */
function sendError(request: FastifyRequest, reply: FastifyReply, error: GatewayError): void {
  if (error.retryAfterSeconds !== null) reply.header('retry-after', error.retryAfterSeconds)
  // What is left of such a body is not read for a next request.
  if (error.code === 'body_too_large' || error.code === 'request_timeout')
    reply.header('connection', 'close')
  const dialect = speaksAnthropic(request) ? MESSAGES : CHAT
  const body = dialect.error(error.code, null, request.id)
  reply.code(error.status).type('application/json; charset=utf-8').send(body)
}

/** Fastify's messages quote paths and types; only its codes are looked at. */
function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  if (error instanceof EnclaveError) {
    const code = error.code === 'quote_busy' ? 'quote_busy' : 'quote_unavailable'
    return new GatewayError(code, error.retryAfterSeconds)
  }
  if (typeof error !== 'object' || error === null) return new GatewayError('internal')
  const code = 'code' in error ? error.code : null
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return new GatewayError('unsupported_media_type')
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new GatewayError('body_too_large')
  const status = 'statusCode' in error ? error.statusCode : 500
  return new GatewayError(typeof status === 'number' && status < 500 ? 'bad_request' : 'internal')
}

/** Anthropic's SDKs send the key in a header of their own. */
function credentialOf({ headers }: FastifyRequest): string | undefined {
  const { authorization, 'x-api-key': key } = headers
  return authorization ?? (typeof key === 'string' ? `Bearer ${key}` : undefined)
}

function addRoutes(app: App, context: Context): void {
  app.decorateRequest('principal', null)
  const authenticate: onRequestHookHandler = (request, _reply, done) => {
    request.principal = context.keys.authenticate(credentialOf(request))
    done()
  }
  const keyed = { onRequest: authenticate }
  for (const route of promptRoutes) {
    app.post(`/v1${route.path}`, keyed, answerPrompts(context, route))
  }
  app.get('/v1/models', keyed, listModels(context))
  app.get('/v1/models/*', keyed, getModel(context))
  for (const url of STATEFUL_URLS) {
    const onRequest = [authenticate, refuseToKeep]
    app.route({ method: [...METHODS], url, onRequest, handler: refuseToKeep })
  }
  app.get('/v1/aci/attestation', attestation(context))
  app.get('/v1/aci/sessions', listSessions(context))
  app.get('/v1/aci/sessions/:id', getSession(context))
  app.get('/v1/aci/receipts/:id', getReceipt(context))
  app.get('/v1/attestation/providers', listProviders(context))
  app.get('/healthz', healthz())
  app.get('/readyz', readyz(context))
  for (const url of ROUTE_NAMES.keys()) if (url !== undefined) refuseOtherMethods(app, url)
}

function refuseOtherMethods(app: App, url: string): void {
  const allowed = METHODS.filter((method) => app.hasRoute({ method, url }))
  const others = METHODS.filter((method) => !allowed.includes(method))
  if (others.length === 0) return
  app.route({
    method: others,
    url,
    onRequest: async (_request, reply) => {
      reply.header('allow', allowed.join(', '))
      throw new GatewayError('method_not_allowed')
    },
    handler: async () => {
      throw new GatewayError('method_not_allowed')
    },
  })
}
