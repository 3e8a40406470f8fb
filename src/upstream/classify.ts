import type { UnixSeconds } from '@vouchgate/attestation'
import type { IncomingHttpHeaders } from 'node:http'
import { retryAfter } from '../../client/retry-after.ts'
import { retryAfter as waitOf } from '../dialects/failing.ts'
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

const DAY = 86_400

/** With the wait that a provider asks for as whole seconds, up to a day: nothing behind this needs a clock to read it. */
export function withWait(headers: IncomingHttpHeaders, now: UnixSeconds): IncomingHttpHeaders {
  if (!('retry-after' in headers || 'retry-after-ms' in headers)) return headers
  const { 'retry-after': _said, 'retry-after-ms': _exactly, ...rest } = headers
  const seconds = retryAfter(headers, now, DAY)
  return seconds === null ? rest : { ...rest, 'retry-after': String(seconds) }
}

export const upstreamError = (code: ErrorCode, headers: IncomingHttpHeaders): GatewayError =>
  new GatewayError(code, waitOf(headers))
