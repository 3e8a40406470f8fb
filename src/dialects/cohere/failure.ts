import type { IncomingHttpHeaders } from 'node:http'
import type { FailureClass, ProviderFailure } from '../canonical.ts'
import { failureOf, retryAfter, statusClass } from '../failing.ts'
import { readBody, textAt } from '../loose.ts'

/** Cohere's own statuses: the client closed, and a token that is not valid. */
const INVALID_TOKEN = 498
const TOO_LONG = /too many tokens|context length|maximum (?:number of )?(?:input )?tokens/i

function kindOf(status: number, message: string): FailureClass {
  if (status === INVALID_TOKEN || /invalid api token/i.test(message)) return 'auth'
  const kind = statusClass(status)
  if (kind === 'rate_limit') return /month|trial key/i.test(message) ? 'quota' : kind
  return kind === 'bad_request' && TOO_LONG.test(message) ? 'context_length' : kind
}

/** `{"id","message"}`. Voyage, whose embeddings are asked for in the same way, says `detail`. */
export function classifyCohere(
  status: number,
  headers: IncomingHttpHeaders,
  body: Buffer,
): ProviderFailure {
  const value = readBody(body)
  const message = textAt(value, 'message') ?? textAt(value, 'detail') ?? ''
  return failureOf(status, kindOf(status, message), message, retryAfter(headers))
}
