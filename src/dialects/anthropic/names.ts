import { createHash } from 'node:crypto'
import { GatewayError } from '../../errors.ts'

const PLAIN = /^[a-zA-Z0-9_-]{1,64}$/
const PREFIX = 'x-vg-'
const MAX_NAME = 64

/** The tool that a model without structured output is made to call; no escaped name looks like it. */
export const JSON_TOOL = `${PREFIX}_json`

const escapeByte = (byte: number): string => {
  const character = String.fromCharCode(byte)
  return /[a-zA-Z0-9-]/.test(character) ? character : `_${byte.toString(16).padStart(2, '0')}`
}

/**
 * A tool's name in the characters that Anthropic takes. The name itself says how to read it back, because an answer is
 * read without its request. Throws `request_not_supported` where it does not fit.
 */
export function escapeName(name: string): string {
  if (PLAIN.test(name) && !name.startsWith(PREFIX)) return name
  const escaped = PREFIX + Array.from(Buffer.from(name), escapeByte).join('')
  if (escaped.length > MAX_NAME) throw new GatewayError('request_not_supported')
  return escaped
}

export function unescapeName(name: string): string {
  if (!name.startsWith(PREFIX)) return name
  const bytes: number[] = []
  const rest = name.slice(PREFIX.length)
  for (let at = 0; at < rest.length; at++) {
    if (rest[at] !== '_') {
      bytes.push(rest.charCodeAt(at))
      continue
    }
    const hex = rest.slice(at + 1, at + 3)
    // A model that made the name up gets it back as it is.
    if (!/^[0-9a-f]{2}$/.test(hex)) return name
    bytes.push(Number.parseInt(hex, 16))
    at += 2
  }
  return Buffer.from(bytes).toString('utf8')
}

/** Ids of other providers have other characters; a call and its result only need to carry the same. */
export const callId = (id: string): string =>
  /^[a-zA-Z0-9_-]{1,256}$/.test(id)
    ? id
    : `${PREFIX}${createHash('sha256').update(id).digest('hex').slice(0, 40)}`
