interface Entry {
  readonly status: number
  readonly type: string
  readonly retryable: boolean
  readonly message: string
}

const entry = (status: number, type: string, retryable: boolean, message: string): Entry => ({
  status,
  type,
  retryable,
  message,
})
const invalid = (status: number, message: string): Entry =>
  entry(status, 'invalid_request_error', false, message)
const upstream = (status: number, message: string): Entry =>
  entry(status, 'api_error', true, message)

/** Every failure a client can see. Codes are API; a message never contains input. */
const ERRORS = {
  invalid_json: invalid(400, 'the request body is not valid JSON'),
  duplicate_member: invalid(400, 'the request body has a duplicate member'),
  invalid_request: invalid(400, 'the request body is not what this path takes'),
  invalid_constraint: invalid(400, 'the aci_ members of provider are not valid'),
  invalid_preference: invalid(
    400,
    'provider has a member that is not known here or not valid; known: order, only, ignore, allow_fallbacks, sort, max_price and the aci_ members',
  ),
  no_allowed_provider: invalid(
    404,
    'the preferences under provider leave no provider of this model',
  ),
  request_not_encryptable: invalid(
    400,
    'this request has a part that the provider would receive in clear; it was not forwarded',
  ),
  invalid_nonce: invalid(400, 'nonce must be exactly 64 lower-case hex characters'),
  invalid_query: invalid(400, 'the query parameters are not valid'),
  bad_request: invalid(400, 'the request cannot be read'),
  missing_api_key: invalid(401, 'send an API key: Authorization: Bearer <key>'),
  invalid_api_key: invalid(401, 'the API key is not known'),
  unauthorized: entry(401, 'unauthorized', false, 'present the API key that made the request'),
  model_not_allowed: entry(403, 'permission_error', false, 'this key may not use this model'),
  plaintext_not_allowed: entry(
    403,
    'permission_error',
    false,
    'this model is served without a TEE, and this key may not use such models',
  ),
  model_not_found: invalid(404, 'the model does not exist'),
  route_not_found: entry(404, 'not_found_error', false, 'there is nothing at this path'),
  not_found: entry(404, 'not_found', false, 'there is no such document, or not for this key'),
  method_not_allowed: invalid(405, 'this path does not accept this method'),
  session_not_accepted: entry(
    412,
    'session_not_accepted',
    true,
    'none of the pinned sessions can serve; the prompt was not forwarded',
  ),
  request_timeout: invalid(408, 'the request did not arrive in time'),
  headers_too_large: invalid(431, 'the headers of the request are too large'),
  body_too_large: invalid(413, 'the request body is too large'),
  host_not_allowed: invalid(421, 'the Host header names another server'),
  unsupported_media_type: invalid(
    415,
    'send application/json, or multipart/form-data where a recording goes, without content encoding',
  ),
  quote_busy: entry(429, 'rate_limit_error', true, 'too many quotes are waiting'),
  upstream_rate_limited: entry(429, 'rate_limit_error', true, 'the provider limits its rate'),
  request_not_supported: invalid(400, 'no provider of this model can be asked this'),
  not_stateless: invalid(
    400,
    'this needs the gateway to keep content between requests; by its retention policy it keeps none',
  ),
  context_length_exceeded: invalid(400, 'the request is longer than the model can read'),
  content_filtered: invalid(400, 'the provider refuses this content'),
  request_rejected: invalid(400, 'the provider does not accept this request'),
  internal: entry(500, 'server_error', false, 'an internal error'),
  upstream_unreachable: upstream(502, 'the provider cannot be reached'),
  upstream_error: upstream(502, 'the provider failed'),
  upstream_credentials: upstream(502, 'the provider does not accept the gateway as its client'),
  upstream_malformed: upstream(502, 'the provider sent a response that cannot be read'),
  upstream_too_large: upstream(502, 'the provider sent a response over the limit'),
  upstream_not_encrypted: upstream(
    502,
    'the provider sent a reply in clear where it must be encrypted',
  ),
  upstream_undecryptable: upstream(502, 'the reply of the provider cannot be decrypted'),
  upstream_broken: upstream(502, 'the provider ended the response before it was complete'),
  upstream_overloaded: upstream(503, 'the provider is overloaded'),
  upstream_timeout: upstream(504, 'the provider did not answer in time'),
  upstream_verification_failed: entry(
    503,
    'upstream_verification_failed',
    true,
    'no provider of this model could be verified; the prompt was not forwarded',
  ),
  upstream_circuit_open: entry(
    503,
    'api_error',
    true,
    'the provider keeps failing and is left alone for a while; the prompt was not forwarded',
  ),
  quote_unavailable: entry(503, 'server_error', true, 'the TEE did not give a quote'),
  worker_busy: entry(
    503,
    'server_error',
    true,
    'another process of the gateway did not answer in time',
  ),
  keyset_expired: entry(503, 'server_error', true, 'the keys of the gateway have expired'),
  shutting_down: entry(503, 'server_error', true, 'the gateway is shutting down'),
} as const satisfies Record<string, Entry>

export type ErrorCode = keyof typeof ERRORS

/** A failure with a code of the table; `retryAfterSeconds` becomes the Retry-After header. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  readonly retryAfterSeconds: number | null

  constructor(code: ErrorCode, retryAfterSeconds: number | null = null) {
    super(ERRORS[code].message)
    this.code = code
    this.retryAfterSeconds = retryAfterSeconds
  }

  get status(): number {
    return ERRORS[this.code].status
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }
}

/** The members of an OpenAI error; all four are required by OpenAI's schema. */
export function errorMembers(code: ErrorCode): {
  message: string
  type: string
  param: string | null
  code: string
} {
  const { message, type } = ERRORS[code]
  return { message, type, param: null, code }
}

/** The OpenAI error body. */
export const errorBody = (code: ErrorCode): string => JSON.stringify({ error: errorMembers(code) })

/** Anything unexpected becomes `internal`; the error itself is dropped, because messages quote input. */
export const asGatewayError = (error: unknown): GatewayError =>
  error instanceof GatewayError ? error : new GatewayError('internal')
