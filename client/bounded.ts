import { concatBytes, type Bytes } from '@vouchgate/attestation'
import type { Readable } from 'node:stream'

/** Reads at most `max` bytes; `null` where there are more, and the rest is never buffered. */
export async function readBounded(
  body: AsyncIterable<unknown>,
  max: number,
): Promise<Bytes | null> {
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of body) {
    if (!(part instanceof Uint8Array)) throw new TypeError('a body is made of bytes')
    length += part.length
    if (length > max) return null
    parts.push(part)
  }
  return concatBytes(...parts)
}

/** Gives a body up. undici reports that as an error event, which would end the process if nobody listened. */
export function discard(body: Readable): void {
  body.on('error', () => undefined).destroy()
}
