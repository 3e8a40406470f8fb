import type { IncomingHttpHeaders } from 'node:http'
import type { JsonValue } from '@vouchgate/attestation'
import type { FailureClass, ProviderFailure } from '../canonical.ts'
import { retryAfter } from '../failing.ts'
import { membersOf, Must, parseShallow, textOf } from './read.ts'
import type { Json } from '../json.ts'

const MAX_MESSAGE = 1000
/** An error's body beyond it says nothing more. */
const MAX_BODY = 1 << 16

interface Kind {
  readonly class: FailureClass
  readonly status: number
}

const kind = (status: number, failureClass: FailureClass): Kind => ({ class: failureClass, status })

/** Anthropic's types of error with the status that each comes with. */
const TYPES: ReadonlyMap<string, Kind> = new Map([
  ['invalid_request_error', kind(400, 'bad_request')],
  ['authentication_error', kind(401, 'auth')],
  ['billing_error', kind(402, 'quota')],
  ['permission_error', kind(403, 'auth')],
  ['not_found_error', kind(404, 'not_found')],
  ['request_too_large', kind(413, 'bad_request')],
  ['rate_limit_error', kind(429, 'rate_limit')],
  ['api_error', kind(500, 'server')],
  ['timeout_error', kind(504, 'server')],
  ['overloaded_error', kind(529, 'overloaded')],
])

const STATUSES: ReadonlyMap<number, FailureClass> = new Map([
  [401, 'auth'],
  [402, 'quota'],
  [403, 'auth'],
  [404, 'not_found'],
  [408, 'server'],
  [429, 'rate_limit'],
  [503, 'overloaded'],
  [529, 'overloaded'],
])

/** What Anthropic calls invalid requests for want of a type of their own. */
const WORDS: readonly (readonly [RegExp, FailureClass])[] = [
  [/credit balance is too low|specified API usage limits/i, 'quota'],
  [/prompt is too long|context (?:limit|window)|input is too long/i, 'context_length'],
  [/content filtering policy|usage policy/i, 'content_filter'],
]

const classOf = (status: number): FailureClass =>
  STATUSES.get(status) ?? (status >= 400 && status < 500 ? 'bad_request' : 'server')

function refine(named: FailureClass, message: string): FailureClass {
  if (named !== 'bad_request') return named
  return WORDS.find(([words]) => words.test(message))?.[1] ?? named
}

const ABOUT_REQUEST: ReadonlySet<FailureClass> = new Set([
  'bad_request',
  'context_length',
  'content_filter',
])

function failure(found: Kind, message: string, retryAfterSeconds: number | null): ProviderFailure {
  const failureClass = refine(found.class, message)
  return {
    class: failureClass,
    status: found.status,
    retryAfterSeconds,
    message:
      ABOUT_REQUEST.has(failureClass) && message !== '' ? message.slice(0, MAX_MESSAGE) : null,
  }
}

/** An `error` within a response of status 200: the status is the one it would have had. */
export function failureWithin(error: Json): ProviderFailure {
  const { type, message } = membersOf(error)
  return failure(TYPES.get(textOf(type)) ?? kind(500, 'server'), textOf(message), null)
}

function parsed(body: Buffer): JsonValue {
  try {
    return parseShallow(body.subarray(0, MAX_BODY).toString('utf8'), new Must('upstream_malformed'))
  } catch {
    return null
  }
}

export function classify(
  status: number,
  headers: IncomingHttpHeaders,
  body: Buffer,
): ProviderFailure {
  const document = membersOf(parsed(body))
  const error = membersOf(document['error'])
  // Clouds that serve Anthropic's models put a bare message.
  const message = textOf(error['message']) || textOf(document['message'])
  const found = TYPES.get(textOf(error['type']))
  // A type that contradicts its status (a proxy's) does not turn a server's fault into the client's.
  const agrees = found !== undefined && found.status >= 500 === status >= 500
  return failure(kind(status, agrees ? found.class : classOf(status)), message, retryAfter(headers))
}
