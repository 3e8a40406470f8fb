import { isVerificationError } from '@vouchgate/attestation'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { discard } from './bounded.ts'
import { ChannelError, ClientError } from './errors.ts'
import { GatewayChannel } from './gateway-channel.ts'
import type { VerifiedGateway, VerifyOptions } from './verify-gateway.ts'

/** Works wherever a `fetch` is asked for, e.g. `new OpenAI({ baseURL, apiKey, fetch })`. */
export interface VerifiedFetch {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** The verification that the next request relies on. */
  gateway(): VerifiedGateway
  /** Lets running requests end. */
  close(): Promise<void>
}

/**
 * A `fetch` that reaches the verified gateway and nothing else.
 *
 * Redirects are never followed: they would lead to a party that nobody verified. After the evidence has
 * expired, or when the gateway shows a new key, it is verified again under the same policy first. Request
 * bodies are read whole before they are sent; responses stream.
 *
 * @throws what `verifyGateway` throws, `ClientError`, or the reason of the request's own abort signal.
 */
export function verifiedFetch(gateway: VerifiedGateway, options: VerifyOptions): VerifiedFetch {
  const channel = new GatewayChannel(gateway, options)
  const send = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init)
    const url = new URL(request.url)
    if (url.origin !== channel.origin) throw new ClientError('origin_not_verified')
    const body = request.body === null ? null : new Uint8Array(await request.arrayBuffer())
    const dispatcher = await channel.dispatcher()
    try {
      const answer = await dispatcher.request({
        method: request.method,
        path: url.pathname + url.search,
        headers: Object.fromEntries(request.headers),
        body,
        signal: request.signal,
      })
      return asResponse(answer)
    } catch (error) {
      throw publicError(error, request.signal)
    }
  }
  return Object.assign(send, {
    gateway: () => channel.gateway,
    close: () => channel.close(),
  })
}

/** Statuses that a `Response` may have no body for (Fetch §2.2.3). */
const NULL_BODY = new Set([204, 205, 304])

function asResponse({ statusCode: status, headers: received, body }: Dispatcher.ResponseData) {
  const headers = new Headers()
  for (const [name, value] of Object.entries(received)) {
    for (const one of [value ?? []].flat()) headers.append(name, one)
  }
  if (!NULL_BODY.has(status)) return new Response(Readable.toWeb(body), { status, headers })
  discard(body)
  return new Response(null, { status, headers })
}

/** What undici throws quotes header values and URLs; coded errors are all that leaves here. */
function publicError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  const coded = isVerificationError(error) || error instanceof ChannelError
  return coded ? error : new ClientError('request_failed')
}
