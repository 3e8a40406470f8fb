import type { UnixSeconds } from '@vouchgate/attestation'
import type { IncomingHttpHeaders } from 'node:http'

const HOUR = 3600
const DECIMAL = /^\d{1,9}(?:\.\d{1,9})?$/

/**
 * How many whole seconds from `now`, rounded up, the other side asks to be left alone; null where it does not say, or nothing
 * that can be read. Nobody can ask for more than `most`.
 */
export function retryAfter(
  headers: IncomingHttpHeaders,
  now: UnixSeconds,
  most = HOUR,
): number | null {
  const wait = milliseconds(headers) ?? duration(headers) ?? until(headers, now)
  return wait === null ? null : Math.min(Math.ceil(wait), most)
}

/** OpenAI's and Azure's header, which is the more exact one where both are there. */
function milliseconds({ 'retry-after-ms': text }: IncomingHttpHeaders): number | null {
  return typeof text === 'string' && DECIMAL.test(text) ? Number(text) / 1000 : null
}

function duration({ 'retry-after': text }: IncomingHttpHeaders): number | null {
  return text !== undefined && DECIMAL.test(text) ? Number(text) : null
}

/**
 * A date (RFC 9110 §10.2.3) in the one form that may be sent (§5.6.7). `Date.parse` takes much else for a date, so the text
 * must be what the time it gives is written as. A date that has passed asks for no wait.
 */
function until({ 'retry-after': text }: IncomingHttpHeaders, now: UnixSeconds): number | null {
  const time = Date.parse(text ?? '')
  if (!Number.isFinite(time) || new Date(time).toUTCString() !== text) return null
  return Math.max(0, time / 1000 - now)
}
