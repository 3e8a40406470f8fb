import type { UnixSeconds } from './bytes.ts'
import { EvidenceError } from './errors.ts'

/**
 * Strict `YYYY-MM-DDTHH:MM:SSZ`. `Date.parse` accepts garbage or gives NaN, and a comparison with NaN is
 * always false: a document with a broken date would never expire. So the text must be what the time it
 * gives is written as.
 */
export function parseTime(text: string): UnixSeconds {
  const milliseconds = Date.parse(text)
  if (!Number.isFinite(milliseconds) || formatTime(milliseconds / 1000) !== text) {
    throw new EvidenceError('time_malformed')
  }
  return milliseconds / 1000
}

/** `YYYY-MM-DDTHH:MM:SSZ` */
export const formatTime = (time: UnixSeconds): string =>
  `${new Date(time * 1000).toISOString().slice(0, 19)}Z`
