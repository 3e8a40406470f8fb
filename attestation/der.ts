import { concatBytes, type Bytes } from './bytes.ts'
import { EvidenceError, type EvidenceErrorCode } from './errors.ts'

/** One DER element: its tag byte, its content, and all of its bytes. */
export interface DerElement {
  readonly tag: number
  readonly content: Uint8Array
  readonly bytes: Uint8Array
}

/** A revocation list has thousands of elements, of which few are looked into: they are cut out when asked for. */
class Slice implements DerElement {
  readonly #source: Uint8Array
  readonly #at: number
  readonly #header: Header

  constructor(source: Uint8Array, at: number, header: Header) {
    this.#source = source
    this.#at = at
    this.#header = header
  }

  get tag(): number {
    return this.#header.tag
  }

  get content(): Uint8Array {
    return this.#source.subarray(this.#header.start, this.#header.end)
  }

  get bytes(): Uint8Array {
    return this.#source.subarray(this.#at, this.#header.end)
  }
}

export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  context0: 0xa0,
  context1: 0xa1,
  context2: 0xa2,
  context3: 0xa3,
} as const

/**
 * The elements that fill `bytes` exactly. Single-byte tags, definite minimal lengths, and no recursion:
 * the caller descends only where the format says so.
 */
export function derElements(bytes: Uint8Array, code: EvidenceErrorCode): DerElement[] {
  const elements: DerElement[] = []
  let at = 0
  while (at < bytes.length) {
    const found = readHeader(bytes, at, code)
    elements.push(new Slice(bytes, at, found))
    at = found.end
  }
  return elements
}

/** Where the content starts and ends. */
interface Header {
  readonly tag: number
  readonly start: number
  readonly end: number
}

function readHeader(bytes: Uint8Array, at: number, code: EvidenceErrorCode): Header {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f)
    throw new EvidenceError(code)
  let start = at + 2
  let length = first
  if (first >= 0x80) {
    const count = first & 0x7f
    length = 0
    for (const byte of bytes.subarray(start, start + count)) length = length * 256 + byte
    start += count
    // Also refuses the indefinite form, whose count and length are zero.
    if (length < 0x80 || length < 256 ** (count - 1)) throw new EvidenceError(code)
  }
  if (start + length > bytes.length) throw new EvidenceError(code)
  return { tag, start, end: start + length }
}

/** The content of `element`, which must have this tag. */
export function derContent(
  element: DerElement | undefined,
  tag: number,
  code: EvidenceErrorCode,
): Uint8Array {
  if (element?.tag !== tag) throw new EvidenceError(code)
  return element.content
}

/** A minimal non-negative INTEGER of at most `max`. */
export function derUnsigned(content: Uint8Array, max: number, code: EvidenceErrorCode): number {
  const [first, second] = content
  const padded = first === 0 && second !== undefined && second < 0x80
  if (first === undefined || first >= 0x80 || padded || content.length > 5) {
    throw new EvidenceError(code)
  }
  const value = content.reduce((sum, byte) => sum * 256 + byte, 0)
  if (value > max) throw new EvidenceError(code)
  return value
}

/** Dotted form of an OBJECT IDENTIFIER. */
export function derOid(content: Uint8Array, code: EvidenceErrorCode): string {
  let text = ''
  let arc = 0
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f)
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new EvidenceError(code)
    if (byte < 0x80) {
      text += text === '' ? firstArcs(arc) : `.${arc}`
      arc = 0
    }
  }
  if ((content.at(-1) ?? 0x80) >= 0x80) throw new EvidenceError(code)
  return text
}

/** The first two arcs share one number (X.690 §8.19.4). */
function firstArcs(value: number): string {
  const top = Math.min(Math.floor(value / 40), 2)
  return `${top}.${value - 40 * top}`
}

/** One element, its length in the one DER form. */
export function derEncode(tag: number, ...parts: readonly Uint8Array[]): Bytes {
  const content = concatBytes(...parts)
  const length: number[] = []
  for (let rest = content.length; rest > 0; rest >>= 8) length.unshift(rest & 0xff)
  const head = content.length < 0x80 ? [content.length] : [0x80 | length.length, ...length]
  return concatBytes(Uint8Array.of(tag, ...head), content)
}
