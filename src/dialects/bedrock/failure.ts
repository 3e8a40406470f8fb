import type { IncomingHttpHeaders } from 'node:http'
import type { JsonValue } from '@vouchgate/attestation'
import type { FailureClass, ProviderFailure } from '../canonical.ts'
import { failureOf, retryAfter, statusClass } from '../failing.ts'
import { readBody, textAt } from '../loose.ts'

/** Exceptions by name in lower case, without `exception`, with the status each has outside a stream. */
const EXCEPTIONS: Readonly<Record<string, readonly [number, FailureClass]>> = {
  validation: [400, 'bad_request'],
  accessdenied: [403, 'auth'],
  unrecognizedclient: [403, 'auth'],
  expiredtoken: [403, 'auth'],
  invalidsignature: [403, 'auth'],
  incompletesignature: [403, 'auth'],
  missingauthenticationtoken: [403, 'auth'],
  invalidclienttokenid: [403, 'auth'],
  resourcenotfound: [404, 'not_found'],
  modeltimeout: [408, 'server'],
  modelerror: [424, 'server'],
  modelstreamerror: [424, 'server'],
  throttling: [429, 'rate_limit'],
  modelnotready: [429, 'overloaded'],
  servicequotaexceeded: [429, 'quota'],
  internalserver: [500, 'server'],
  internalfailure: [500, 'server'],
  serviceunavailable: [503, 'overloaded'],
}
const TOO_LONG =
  /input is too long|prompt is too long|too many input tokens|maximum context length|context (?:length|window)/i

function refined(kind: FailureClass, message: string): FailureClass {
  if (kind === 'rate_limit') return /per day|daily/i.test(message) ? 'quota' : kind
  if (kind !== 'bad_request') return kind
  // The model is the gateway's configuration, not the client's words.
  if (/model identifier is invalid/i.test(message)) return 'not_found'
  return TOO_LONG.test(message) ? 'context_length' : kind
}

/** `name` is an exception's, in any case, with or without the word and what follows a colon. */
export function bedrockFailure(
  name: string,
  body: JsonValue | undefined,
  status: number | null,
  headers: IncomingHttpHeaders = {},
): ProviderFailure {
  const short = name
    .slice(name.lastIndexOf('#') + 1)
    .replace(/:.*$/s, '')
    .toLowerCase()
    .replace(/(?:exception|error)$/, '')
  const known = Object.hasOwn(EXCEPTIONS, short) ? EXCEPTIONS[short] : undefined
  const real = status ?? known?.[0] ?? 500
  const message = textAt(body, 'message') ?? textAt(body, 'Message') ?? ''
  const kind = refined(known?.[1] ?? statusClass(real), message)
  return failureOf(real, kind, message, retryAfter(headers))
}

export function classifyBedrock(
  status: number,
  headers: IncomingHttpHeaders,
  body: Buffer,
): ProviderFailure {
  const value = readBody(body)
  const header = headers['x-amzn-errortype']
  const name = (typeof header === 'string' ? header : textAt(value, '__type')) ?? ''
  return bedrockFailure(name, value, status, headers)
}
