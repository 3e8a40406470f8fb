import type { CanonicalRequest } from '../canonical.ts'
import { isObject, member } from '../json.ts'

/** Gives that many characters, one byte each in JSON, that compression cannot shorten. */
export type Pad = (length: number) => string

const BLOCK = 32

/**
 * The `obfuscation` member of a frame that carries `texts`: whoever watches the encrypted connection sees frame sizes,
 * and without it the length of each token. Texts and padding together always fill whole blocks.
 */
export function obfuscation(pad: Pad | null, texts: readonly string[]): { obfuscation?: string } {
  if (pad === null) return {}
  const length = texts.reduce((sum, text) => sum + Buffer.byteLength(JSON.stringify(text)) - 2, 0)
  const blocks = Math.max(1, Math.ceil(length / BLOCK))
  return { obfuscation: pad(blocks * BLOCK - length) }
}

/** The padding that this client wants: all of it, unless it asks for none. */
export function wantedPad(pad: Pad | null, request: CanonicalRequest): Pad | null {
  const options = request.extra['stream_options']
  return isObject(options) && member(options, 'include_obfuscation') === false ? null : pad
}
