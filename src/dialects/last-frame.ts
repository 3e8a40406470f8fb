import { GatewayError } from '../errors.ts'
import { readJson } from './loose.ts'
import type { SseEvent, SseParser } from './sse.ts'

/** What a stream of JSON frames ended within. Half a frame, or half a character, is a stream that broke off: `upstream_broken`. */
export function lastFrame(sse: SseParser): SseEvent[] {
  let frames: SseEvent[]
  try {
    frames = sse.end()
  } catch {
    throw new GatewayError('upstream_broken')
  }
  if (frames.some(({ data }) => readJson(data) === undefined))
    throw new GatewayError('upstream_broken')
  return frames
}
