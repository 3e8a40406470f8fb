import { GatewayError } from './errors.ts'

/** Where one member of a JSON object stands, as byte offsets into the document. */
export interface Member {
  readonly name: string
  /** The opening quote of the name. */
  readonly start: number
  readonly valueStart: number
  /** One past the last byte of the value. */
  readonly end: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const COMMA = 0x2c
const COLON = 0x3a
const ASCII = 0x7f

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

/** Whether the value that starts here is an object. */
export const startsObject = (bytes: Buffer, at: number): boolean => bytes[at] === OPEN_BRACE

/**
 * The members of the JSON object that begins at `from`, without decoding any value.
 *
 * For documents that `JSON.parse` accepted this is exact; on others it throws `invalid_json` or gives ranges
 * inside the document, never outside. A name that occurs twice is refused with `duplicate_member`: of two
 * parsers one keeps the first and one the last, so the gateway and the provider could read different requests.
 */
export function jsonMembers(bytes: Buffer, from = 0): Member[] {
  const members: Member[] = []
  const seen = new Set<string>()
  let at = afterByte(bytes, from, OPEN_BRACE)
  at = skipSpace(bytes, at)
  if (bytes[at] === CLOSE_BRACE) return members
  for (;;) {
    const start = skipSpace(bytes, at)
    const nameEnd = stringEnd(bytes, start)
    const name = memberName(bytes, start, nameEnd)
    if (seen.has(name)) throw new GatewayError('duplicate_member')
    seen.add(name)
    const valueStart = skipSpace(bytes, afterByte(bytes, nameEnd, COLON))
    const end = valueEnd(bytes, valueStart)
    members.push({ name, start, valueStart, end })
    at = skipSpace(bytes, end)
    if (bytes[at] === CLOSE_BRACE) return members
    at = afterByte(bytes, at, COMMA)
  }
}

function skipSpace(bytes: Buffer, from: number): number {
  let at = from
  while (isSpace(bytes[at])) at++
  return at
}

function afterByte(bytes: Buffer, from: number, expected: number): number {
  const at = skipSpace(bytes, from)
  if (bytes[at] !== expected) throw new GatewayError('invalid_json')
  return at + 1
}

/** Up to here a loop is faster than a call into native code. */
const SHORT = 32

/** One past the closing quote. `indexOf` is native, so long prompts cost next to nothing here. */
function stringEnd(bytes: Buffer, start: number): number {
  if (bytes[start] !== QUOTE) throw new GatewayError('invalid_json')
  for (let at = start + 1; at <= start + SHORT; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) return at + 1
    if (byte === BACKSLASH) break
  }
  let at = start + 1
  for (;;) {
    const quote = bytes.indexOf(QUOTE, at)
    if (quote === -1) throw new GatewayError('invalid_json')
    let slashes = 0
    while (quote - slashes > start + 1 && bytes[quote - slashes - 1] === BACKSLASH) slashes++
    at = quote + 1
    if (slashes % 2 === 0) return at
  }
}

/** Escapes are decoded: `"mod\u0065l"` is the member `model` to every parser. */
function memberName(bytes: Buffer, start: number, end: number): string {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0
    if (byte === BACKSLASH || byte > ASCII) return parseName(bytes.toString('utf8', start, end))
  }
  return bytes.toString('latin1', start + 1, end - 1)
}

function parseName(raw: string): string {
  try {
    const name: unknown = JSON.parse(raw)
    if (typeof name === 'string') return name
  } catch {
    throw new GatewayError('invalid_json')
  }
  throw new GatewayError('invalid_json')
}

function valueEnd(bytes: Buffer, start: number): number {
  const first = bytes[start]
  if (first === QUOTE) return stringEnd(bytes, start)
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return containerEnd(bytes, start)
  let at = start
  for (; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte)) break
  }
  if (at === start) throw new GatewayError('invalid_json')
  return at
}

function containerEnd(bytes: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < bytes.length;) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      at = stringEnd(bytes, at)
      continue
    }
    at++
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth--
      if (depth === 0) return at
    }
  }
  throw new GatewayError('invalid_json')
}

export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The document with the ranges replaced; every other byte stays as it was. Edits must be in order. */
export function applyEdits(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const parts: Uint8Array[] = []
  let at = 0
  for (const { start, end, text } of edits) {
    parts.push(bytes.subarray(at, start), Buffer.from(text))
    at = end
  }
  parts.push(bytes.subarray(at))
  return Buffer.concat(parts)
}

/** Takes one member and the comma that separated it out of its object. */
export function removal(members: readonly Member[], member: Member): Edit {
  const index = members.indexOf(member)
  const next = members[index + 1]
  if (next !== undefined) return { start: member.start, end: next.start, text: '' }
  const previous = members[index - 1]
  return { start: previous?.end ?? member.start, end: member.end, text: '' }
}
