import type { IncomingHttpHeaders } from 'node:http'
import { GatewayError, type ErrorCode } from '../errors.ts'
import type { SendFailure } from './send.ts'

/** `caller`: the request itself is at fault, so another provider would refuse it as well. */
export type StatusClass = 'ok' | 'caller' | ErrorCode

const STATUS: Readonly<Record<number, StatusClass>> = {
  400: 'caller',
  401: 'upstream_credentials',
  402: 'upstream_credentials',
  403: 'upstream_credentials',
  408: 'upstream_timeout',
  413: 'caller',
  422: 'caller',
  429: 'upstream_rate_limited',
  503: 'upstream_overloaded',
  504: 'upstream_timeout',
  529: 'upstream_overloaded',
}

export function classifyStatus(status: number): StatusClass {
  if (status >= 200 && status < 300) return 'ok'
  return STATUS[status] ?? 'upstream_error'
}

const FAILURES: Readonly<Record<Exclude<SendFailure, 'aborted'>, ErrorCode>> = {
  unreachable: 'upstream_unreachable',
  key_mismatch: 'upstream_verification_failed',
  withdrawn: 'upstream_verification_failed',
  timeout: 'upstream_timeout',
  broken: 'upstream_broken',
  too_large: 'upstream_too_large',
  malformed: 'upstream_malformed',
  not_encrypted: 'upstream_not_encrypted',
  undecryptable: 'upstream_undecryptable',
}

export const failureCode = (failure: Exclude<SendFailure, 'aborted'>): ErrorCode =>
  FAILURES[failure]

/** The provider's Retry-After, where it is a plain number of seconds. */
export function upstreamError(code: ErrorCode, headers: IncomingHttpHeaders): GatewayError {
  const seconds = Number(headers['retry-after'])
  return new GatewayError(
    code,
    Number.isInteger(seconds) && seconds >= 0 && seconds <= 3600 ? seconds : null,
  )
}
