import type { IncomingHttpHeaders } from 'node:http'
import type { JsonValue } from '@vouchgate/attestation'
import type { FailureClass, ProviderFailure } from '../canonical.ts'
import { failureOf, retryAfter, retrySeconds, statusClass } from '../failing.ts'
import { countAt, listAt, readBody, textAt } from '../loose.ts'
import { isList, member } from '../json.ts'

/** google.rpc.Code names. */
const BY_NAME: Readonly<Record<string, FailureClass>> = {
  INVALID_ARGUMENT: 'bad_request',
  FAILED_PRECONDITION: 'bad_request',
  OUT_OF_RANGE: 'bad_request',
  UNAUTHENTICATED: 'auth',
  PERMISSION_DENIED: 'auth',
  NOT_FOUND: 'not_found',
  RESOURCE_EXHAUSTED: 'rate_limit',
  INTERNAL: 'server',
  UNKNOWN: 'server',
  DEADLINE_EXCEEDED: 'server',
  UNAVAILABLE: 'overloaded',
}
const TOO_LONG =
  /token count .{0,40}exceeds|exceeds the maximum number of tokens|input token count/i
const DELAY = /^(\d{1,6}(?:\.\d{1,9})?)s$/

function retryDelay(error: JsonValue | undefined): number | null {
  for (const detail of listAt(error, 'details')) {
    const [, seconds] = DELAY.exec(textAt(detail, 'retryDelay') ?? '') ?? []
    if (seconds !== undefined) return retrySeconds(Number(seconds))
  }
  return null
}

const invalidKey = (error: JsonValue | undefined, message: string): boolean =>
  listAt(error, 'details').some((detail) => textAt(detail, 'reason') === 'API_KEY_INVALID') ||
  /api key (?:not valid|expired|not found)/i.test(message)

/** A quota of a day does not come back with the next minute. */
const perDay = (error: JsonValue | undefined): boolean =>
  listAt(error, 'details').some((detail) =>
    listAt(detail, 'violations').some((one) => textAt(one, 'quotaId')?.includes('PerDay') === true),
  )

function kindOf(status: number, error: JsonValue | undefined, message: string): FailureClass {
  const name = textAt(error, 'status') ?? ''
  const named = Object.hasOwn(BY_NAME, name) ? BY_NAME[name] : undefined
  const kind = named ?? statusClass(status)
  if (kind === 'rate_limit') return perDay(error) ? 'quota' : kind
  if (kind !== 'bad_request') return kind
  if (invalidKey(error, message)) return 'auth'
  if (/billing/i.test(message)) return 'quota'
  return TOO_LONG.test(message) ? 'context_length' : kind
}

/** An error of google.rpc.Status form. `status` is the HTTP status it came with, 200 within a stream. */
export function geminiFailure(
  error: JsonValue | undefined,
  status: number,
  headers: IncomingHttpHeaders = {},
): ProviderFailure {
  const message = textAt(error, 'message') ?? ''
  const code = countAt(error, 'code')
  const real = status === 200 && code !== null && code >= 400 && code < 600 ? code : status
  const known = real === 200 ? 500 : real
  const kind = kindOf(known, error, message)
  return failureOf(known, kind, message, retryDelay(error) ?? retryAfter(headers))
}

/** The OpenAI-compatible surface puts the same object into an array. */
export function classifyGemini(
  status: number,
  headers: IncomingHttpHeaders,
  body: Buffer,
): ProviderFailure {
  const value = readBody(body)
  return geminiFailure(member(isList(value) ? value[0] : value, 'error'), status, headers)
}
