import { isVerificationError } from '@vouchgate/attestation'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Dispatcher } from 'undici'
import { ChannelError, ClientError } from './errors.ts'
import { GatewayChannel } from './gateway-channel.ts'
import { verifyGateway, type VerifiedGateway, type VerifyOptions } from './verify-gateway.ts'

export interface ProxyOptions extends VerifyOptions {
  readonly gatewayUrl: string
  readonly listen: {
    /** Address to listen on. */
    readonly host: string
    /** 0 for any free one. */
    readonly port: number
  }
  /**
   * Prompts and keys cross the hop to this proxy in the clear, so it is loopback alone unless a caller
   * says by name that this hop is safe, as in a pod of its own.
   */
  readonly remoteClients?: 'refuse' | 'allow'
}

export interface VerifyingProxy {
  /** `http://host:port`; the OpenAI base URL is this plus `/v1`. */
  readonly url: string
  gateway(): VerifiedGateway
  /** Stops listening, ends open connections. */
  close(): Promise<void>
}

/** Answered by the proxy itself; everything else is the gateway's. */
export const PROXY_HEALTH_PATH = '/vouchgate/health'

const LOOPBACK = /^(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|localhost)$/
/** RFC 9110 §7.6.1, and what belongs to this hop's connection. */
const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const ERRORS = {
  gateway_verification_failed: {
    status: 503,
    type: 'gateway_verification_failed',
    message: 'the gateway could not be verified; nothing was sent to it',
  },
  gateway_unreachable: {
    status: 502,
    type: 'api_error',
    message: 'the gateway cannot be reached',
  },
  bad_request: {
    status: 400,
    type: 'invalid_request_error',
    message: 'the request target is not a path',
  },
} as const

/**
 * A local OpenAI-compatible server that verifies the gateway first and then forwards everything, byte for
 * byte, over connections that end in the attested key. Any SDK becomes a verifying client with it.
 *
 * It holds no API key: the client's own `Authorization` header passes through.
 *
 * @throws what `verifyGateway` throws, `ClientError` `listen_not_loopback` or `listen_failed`.
 */
export async function startProxy(options: ProxyOptions): Promise<VerifyingProxy> {
  const { gatewayUrl, listen, remoteClients = 'refuse' } = options
  if (remoteClients === 'refuse' && !LOOPBACK.test(listen.host)) {
    throw new ClientError('listen_not_loopback')
  }
  const channel = new GatewayChannel(await verifyGateway(gatewayUrl, options), options)
  const server = createServer((request, response) => {
    // A cut connection, never a clean end, is how a client learns that the rest is missing.
    answer(channel, request, response).catch(() => response.destroy())
  })
  const port = await listenOn(server, listen)
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  return {
    url: `http://${host}:${port}`,
    gateway: () => channel.gateway,
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
      server.closeAllConnections()
      await Promise.all([closed, channel.destroy()])
    },
  }
}

async function listenOn(server: Server, listen: ProxyOptions['listen']): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', () => reject(new ClientError('listen_failed')))
    server.listen(listen.port, listen.host, () => resolve())
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new ClientError('listen_failed')
  return address.port
}

async function answer(
  channel: GatewayChannel,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url ?? ''
  if (path === PROXY_HEALTH_PATH) return sendHealth(channel, response)
  // A proxy request ("GET http://elsewhere/") is not for us to route.
  if (!path.startsWith('/')) return sendError(response, 'bad_request')
  const abort = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) abort.abort()
  })
  let upstream: Dispatcher.ResponseData
  try {
    upstream = await forward(channel, request, abort.signal)
  } catch (error) {
    if (!response.destroyed) sendError(response, errorCode(error))
    return
  }
  response.writeHead(upstream.statusCode, headersOut(upstream.headers))
  await pipeline(upstream.body, response)
}

async function forward(
  channel: GatewayChannel,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const dispatcher = await channel.dispatcher()
  const { headers } = request
  const hasBody =
    headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
  return dispatcher.request({
    method: request.method ?? 'GET',
    path: request.url ?? '/',
    headers: headersIn(request),
    body: hasBody ? request : null,
    signal,
  })
}

/** Everything as the client wrote it, in order, but what belongs to this hop. */
function headersIn(request: IncomingMessage): string[] {
  const { rawHeaders } = request
  const dropped = connectionOptions(request.headers.connection)
  const kept: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name = '', value = ''] = rawHeaders.slice(index, index + 2)
    if (!dropped(name.toLowerCase())) kept.push(name, value)
  }
  return kept
}

function headersOut(
  headers: Dispatcher.ResponseData['headers'],
): Record<string, string | string[]> {
  const { connection } = headers
  const dropped = connectionOptions(Array.isArray(connection) ? connection.join(',') : connection)
  const kept: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !dropped(name)) kept[name] = value
  }
  return kept
}

function connectionOptions(connection: string | undefined): (name: string) => boolean {
  const named = new Set((connection ?? '').toLowerCase().split(/[\s,]+/))
  return (name) => HOP_BY_HOP.has(name) || named.has(name)
}

function errorCode(error: unknown): keyof typeof ERRORS {
  if (isVerificationError(error)) return 'gateway_verification_failed'
  const refused = error instanceof ChannelError && error.kind !== 'unavailable'
  return refused ? 'gateway_verification_failed' : 'gateway_unreachable'
}

function sendError(response: ServerResponse, code: keyof typeof ERRORS): void {
  const { status, type, message } = ERRORS[code]
  sendJson(response, status, { error: { message, type, param: null, code } })
}

function sendHealth(channel: GatewayChannel, response: ServerResponse): void {
  const { endpoint } = channel.gateway
  sendJson(response, 200, {
    gateway: endpoint.origin,
    keyset_digest: endpoint.keysetDigest,
    verified_at: endpoint.verifiedAt,
    expires_at: endpoint.expiresAt,
    workload: endpoint.workload,
  })
}

function sendJson(response: ServerResponse, status: number, value: object): void {
  const body = Buffer.from(JSON.stringify(value))
  const headers = { 'content-type': 'application/json', 'content-length': body.length }
  response.writeHead(status, headers).end(body)
}
