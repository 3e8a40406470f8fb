import type { IncomingHttpHeaders } from 'node:http'

const MAX_RETRY_AFTER_SECONDS = 3600

/** A number of seconds; nobody can ask to be left alone for longer than an hour. */
export function retryAfter(headers: IncomingHttpHeaders): number | null {
  const text = headers['retry-after']
  if (text === undefined || !/^\d{1,9}$/.test(text)) return null
  return Math.min(Number(text), MAX_RETRY_AFTER_SECONDS)
}
