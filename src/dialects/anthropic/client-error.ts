import { GatewayError, type ErrorCode } from '../../errors.ts'
import type { ProviderFailure } from '../canonical.ts'

/** Anthropic's type of error for each status that the gateway answers with. */
const TYPES: ReadonlyMap<number, string> = new Map([
  [401, 'authentication_error'],
  [402, 'billing_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
])

const typeOf = (status: number): string =>
  TYPES.get(status) ?? (status < 500 ? 'invalid_request_error' : 'api_error')

/** The provider's words where they are about the client's own request, else the gateway's. */
export function errorJson(
  code: ErrorCode,
  failure: ProviderFailure | null,
  requestId: string | null,
): string {
  const error = new GatewayError(code)
  return JSON.stringify({
    type: 'error',
    error: { type: typeOf(error.status), message: failure?.message ?? error.message, code },
    request_id: requestId,
  })
}
