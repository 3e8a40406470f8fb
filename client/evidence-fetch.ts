import type { Bytes, Clock } from '@vouchgate/attestation'
import type { IncomingHttpHeaders } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { Client, request, type Dispatcher } from 'undici'
import { discard, readBounded } from './bounded.ts'
import { ChannelError } from './errors.ts'
import { isLocalHttp } from './loopback.ts'
import { connectorOf, openTls } from './pinned.ts'
import { retryAfter } from './retry-after.ts'

export interface EvidenceRequest {
  /** `https://host[:port]` */
  readonly origin: string
  /** With a leading slash and the query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** A request with a body is a POST. */
  readonly body?: Uint8Array
  readonly maxBytes: number
  /** Where the answer takes longer than answers usually do. */
  readonly timeoutMs?: number
}

interface EvidenceAnswer {
  /** The response body, byte for byte. */
  readonly body: Bytes
  readonly headers: IncomingHttpHeaders
  /** SHA-256 of the key that the connection ended in on which this was read; null under Web PKI. */
  readonly spkiSha256: Bytes | null
}

/**
 * One document that a verification needs, status 200. Redirects are not followed. Nothing is verified here.
 *
 * @throws ChannelError `channel_*`, `report_unavailable`, `report_rate_limited`, `report_too_large`; never undici's
 * own errors, which carry the URL.
 */
export type EvidenceFetch = (request: EvidenceRequest) => Promise<EvidenceAnswer>

/**
 * From an origin that attests its own key: opens one connection, looks at its key and fetches on that same connection.
 * With a second one, the key that was seen and the service that answered could be two parties.
 */
export const attestedFetch =
  (timeoutMs: number, clock: Clock): EvidenceFetch =>
  async (asked) => {
    const url = requireOrigin(asked.origin)
    const signal = AbortSignal.timeout(timeoutMs)
    const { socket, spkiSha256 } = await openTls(url, timeoutMs)
    // This socket or none: a retry on another connection would carry a report over a key nobody looked at.
    const connect = connectorOf(async () => socket)
    const client = new Client(asked.origin, { allowH2: false, connect })
    try {
      const answer = await client.request({
        path: asked.path,
        signal,
        ...method(shownTo(socket, asked)),
      })
      return { ...(await read(answer, asked.maxBytes, clock)), spkiSha256 }
    } catch (error) {
      throw failure(error, signal)
    } finally {
      await client.destroy()
      socket.destroy()
    }
  }

/**
 * Before its evidence is verified nobody knows whom this connection reached, and whoever it is can take the key of the
 * gateway and use it. So that goes only to a peer that at least Web PKI vouches for.
 */
function shownTo(socket: TLSSocket, asked: EvidenceRequest): EvidenceRequest {
  if (socket.authorized) return asked
  const { authorization: _kept, ...headers } = asked.headers ?? {}
  return { ...asked, headers }
}

/** From a service that vouches for what it serves by signatures, or that only hints: Web PKI is enough. */
export const webFetch =
  (timeoutMs: number, clock: Clock): EvidenceFetch =>
  async (asked) => {
    requireOrigin(asked.origin)
    return fetchFrom(asked, timeoutMs, clock)
  }

/** The same, from where the configuration says that a service is: http that does not leave the machine is allowed. */
export const configuredFetch =
  (timeoutMs: number, clock: Clock): EvidenceFetch =>
  async (asked) => {
    const url = URL.parse(asked.origin)
    const local = url !== null && isLocalHttp(url)
    if (!local || url.origin !== asked.origin) requireOrigin(asked.origin)
    return fetchFrom(asked, timeoutMs, clock)
  }

async function fetchFrom(
  asked: EvidenceRequest,
  timeoutMs: number,
  clock: Clock,
): Promise<EvidenceAnswer> {
  const signal = AbortSignal.timeout(asked.timeoutMs ?? timeoutMs)
  try {
    const answer = await request(asked.origin + asked.path, { signal, ...method(asked) })
    return { ...(await read(answer, asked.maxBytes, clock)), spkiSha256: null }
  } catch (error) {
    throw failure(error, signal)
  }
}

const method = ({ headers = {}, body }: EvidenceRequest) => ({
  method: body === undefined ? ('GET' as const) : ('POST' as const),
  headers: { accept: 'application/json', ...headers },
  body: body ?? null,
})

async function read(
  { statusCode, headers, body }: Dispatcher.ResponseData,
  maxBytes: number,
  clock: Clock,
): Promise<Omit<EvidenceAnswer, 'spkiSha256'>> {
  if (statusCode !== 200) {
    discard(body)
    const code = statusCode === 429 ? 'report_rate_limited' : 'report_unavailable'
    throw new ChannelError(code, retryAfter(headers, clock.now()))
  }
  const bytes = await readBounded(body, maxBytes)
  if (bytes === null) throw new ChannelError('report_too_large')
  return { body: bytes, headers }
}

function failure(error: unknown, signal: AbortSignal): ChannelError {
  if (error instanceof ChannelError) return error
  return new ChannelError(signal.aborted ? 'channel_timeout' : 'report_unavailable')
}

function requireOrigin(origin: string): URL {
  const url = URL.parse(origin)
  if (url === null || url.protocol !== 'https:' || url.origin !== origin) {
    throw new TypeError('an origin is https://host[:port]')
  }
  return url
}

/** The leaf certificate of a TLS server, which proved to hold its key. */
interface ShownCertificate {
  /** DER. */
  readonly certificate: Bytes
  readonly spkiSha256: Bytes
}

/** Rejects with `ChannelError` `channel_*`. */
export type CertificateFetch = (origin: string) => Promise<ShownCertificate>

/** One handshake over which nothing is sent. */
export const certificateFetch =
  (timeoutMs: number): CertificateFetch =>
  async (origin) => {
    const { socket, spkiSha256 } = await openTls(requireOrigin(origin), timeoutMs)
    const certificate = socket.getPeerX509Certificate()?.raw
    socket.destroy()
    if (certificate === undefined) throw new ChannelError('channel_key_unreadable')
    return { certificate: Uint8Array.from(certificate), spkiSha256 }
  }
