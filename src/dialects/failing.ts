import type { IncomingHttpHeaders } from 'node:http'
import type { FailureClass, ProviderFailure } from './canonical.ts'

const MAX_MESSAGE = 1000
const MAX_RETRY_SECONDS = 86_400
const TELLABLE: ReadonlySet<FailureClass> = new Set([
  'bad_request',
  'context_length',
  'content_filter',
])

/** What a status means where the body says nothing better. */
export function statusClass(status: number): FailureClass {
  if (status === 401 || status === 403) return 'auth'
  if (status === 402) return 'quota'
  if (status === 404) return 'not_found'
  if (status === 429) return 'rate_limit'
  if (status === 503 || status === 529) return 'overloaded'
  // A redirect is not followed: nobody attested or agreed to where it leads.
  if (status < 400 || status === 408 || status === 424 || status >= 500) return 'server'
  return 'bad_request'
}

/** The text stays only where it is about the client's own request; others tell of the gateway's account. */
export const failureOf = (
  status: number,
  kind: FailureClass,
  message: string | null,
  retryAfterSeconds: number | null = null,
): ProviderFailure => ({
  class: kind,
  status,
  retryAfterSeconds,
  message: message !== null && TELLABLE.has(kind) ? message.slice(0, MAX_MESSAGE) : null,
})

/** Whole seconds, rounded up; null where it is not a sensible duration. */
export const retrySeconds = (seconds: number): number | null =>
  seconds >= 0 && seconds <= MAX_RETRY_SECONDS ? Math.ceil(seconds) : null

/** Whole seconds alone: what else a provider may say has been made into them where its answer arrives. */
export function retryAfter({ 'retry-after': value }: IncomingHttpHeaders): number | null {
  return value !== undefined && /^\d{1,5}$/.test(value) ? retrySeconds(Number(value)) : null
}
