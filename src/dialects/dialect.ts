import type { IncomingHttpHeaders } from 'node:http'
import type { JsonValue } from '@vouchgate/attestation'
import type { ErrorCode } from '../errors.ts'
import type {
  CanonicalAnswer,
  CanonicalEvent,
  CanonicalRequest,
  ProviderFailure,
} from './canonical.ts'

/** What a client speaks. Pure: bytes and values in, values and bytes out. */
export interface ClientDialect {
  readonly name: 'openai-chat' | 'openai-responses' | 'anthropic-messages'
  /**
   * Reads a request body that was parsed as JSON.
   * Throws `GatewayError` `invalid_request` where it is not one, `not_stateless` where it needs the gateway to keep something.
   */
  decode(body: JsonValue): CanonicalRequest
  /** A whole answer as this dialect writes it. */
  encode(answer: CanonicalAnswer, request: CanonicalRequest): Buffer
  /** Writes one answer as a stream. */
  stream(request: CanonicalRequest): StreamEncoder
  /** The body of an error response. */
  error(code: ErrorCode, failure: ProviderFailure | null, requestId: string): Buffer
}

/** Whole frames of server-sent events. Every method may give an empty buffer. */
export interface StreamEncoder {
  push(event: CanonicalEvent): Buffer
  /** The stream has ended as it should. Without it a client must not take the answer for complete. */
  end(): Buffer
  /** An error that the client's SDK raises, and no end. */
  fail(code: ErrorCode, failure: ProviderFailure | null): Buffer
}

/** How a request goes to a provider. */
export interface EncodedRequest {
  /** Below the provider's base URL, with a leading slash. */
  readonly path: string
  /** Beside content-type, accept and the credential. Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface Target {
  /** The model's name at the provider. */
  readonly model: string
  /** Random bytes, for ids that a provider does not give. */
  readonly random: (length: number) => Uint8Array
  /** Unix seconds. */
  readonly now: () => number
}

/** What a provider speaks. Pure as well. */
export interface ProviderDialect {
  readonly name: string
  /** Throws `GatewayError` `request_not_supported` for what this provider cannot be asked and must not be dropped. */
  encode(request: CanonicalRequest, target: Target): EncodedRequest
  /** Reads a whole answer, status 200. Throws `GatewayError` `upstream_malformed`; a failure inside it is thrown as `ProviderError`. */
  decode(body: Buffer, target: Target): CanonicalAnswer
  /** Reads a stream, status 200. */
  stream(target: Target): StreamDecoder
  /** What any other status means; `retry-after` is in whole seconds here. Never throws, whatever the body is. */
  classify(status: number, headers: IncomingHttpHeaders, body: Buffer): ProviderFailure
}

export interface StreamDecoder {
  /** Any bytes, cut anywhere. Throws `GatewayError` `upstream_malformed` where they can never become a stream of this dialect. */
  push(chunk: Buffer): readonly CanonicalEvent[]
  /** The connection has ended cleanly. Throws `GatewayError` `upstream_broken` where the stream may not end here. */
  end(): readonly CanonicalEvent[]
}

/** A provider's failure that came with status 200. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError'
  readonly failure: ProviderFailure

  constructor(failure: ProviderFailure) {
    super('the provider reports a failure')
    this.failure = failure
  }
}
