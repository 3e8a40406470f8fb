import type { FailureClass, ProviderFailure } from './dialects/canonical.ts'
import { GatewayError, type ErrorCode } from './errors.ts'

const CODES: Readonly<Record<FailureClass, ErrorCode>> = {
  auth: 'upstream_credentials',
  quota: 'upstream_credentials',
  rate_limit: 'upstream_rate_limited',
  overloaded: 'upstream_overloaded',
  not_found: 'upstream_error',
  server: 'upstream_error',
  bad_request: 'request_rejected',
  context_length: 'context_length_exceeded',
  content_filter: 'content_filtered',
}

/** What a provider has against a request. Its words go to the client alone, and only where they are about the request. */
export class ProviderRefusal extends GatewayError {
  readonly failure: ProviderFailure

  constructor(code: ErrorCode, failure: ProviderFailure) {
    super(code, failure.retryAfterSeconds)
    this.failure = failure
  }
}

export const providerRefusal = (failure: ProviderFailure): ProviderRefusal =>
  new ProviderRefusal(CODES[failure.class], failure)
