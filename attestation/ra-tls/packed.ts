import type { Bytes } from '../bytes.ts'
import { decodeUtf8 } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'

/** What CBOR and MessagePack documents are made of here. */
export type Packed =
  | { readonly kind: 'integer'; readonly value: number }
  | { readonly kind: 'bytes'; readonly value: Bytes }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'list'; readonly items: readonly Packed[] }
  | { readonly kind: 'map'; readonly members: ReadonlyMap<string, Packed> }
  | { readonly kind: 'tagged'; readonly tag: number; readonly content: Packed }
  | { readonly kind: 'empty' }

/** What the first bytes of a value say. */
type Head =
  | { readonly kind: 'integer'; readonly value: number }
  | { readonly kind: 'bytes' | 'text' | 'list' | 'map' | 'tag'; readonly length: number }
  | { readonly kind: 'empty' }

const MAX_DEPTH = 16

/** Every value is at least a byte, so no count makes this work longer than the document is. */
class PackedReader {
  readonly #bytes: Uint8Array
  readonly #headOf: (reader: PackedReader) => Head
  #at = 0

  constructor(bytes: Uint8Array, headOf: (reader: PackedReader) => Head) {
    this.#bytes = bytes
    this.#headOf = headOf
  }

  /** Big-endian, of 1, 2, 4 or 8 bytes; nothing here is longer than 2^53. */
  unsigned(length: number): number {
    let value = 0
    for (const byte of this.take(length)) value = value * 256 + byte
    if (!Number.isSafeInteger(value)) throw new EvidenceError('ra_tls_malformed')
    return value
  }

  take(length: number): Bytes {
    if (length > this.#bytes.length - this.#at) throw new EvidenceError('ra_tls_malformed')
    this.#at += length
    return Uint8Array.from(this.#bytes.subarray(this.#at - length, this.#at))
  }

  /** The one value that fills the document. */
  document(): Packed {
    const value = this.#value(0)
    if (this.#at !== this.#bytes.length) throw new EvidenceError('ra_tls_malformed')
    return value
  }

  #value(depth: number): Packed {
    if (depth > MAX_DEPTH) throw new EvidenceError('ra_tls_malformed')
    const head = this.#headOf(this)
    switch (head.kind) {
      case 'integer':
      case 'empty':
        return head
      case 'bytes':
        return { kind: 'bytes', value: this.take(head.length) }
      case 'text':
        return { kind: 'text', value: decodeUtf8(this.take(head.length)) }
      case 'list':
        return { kind: 'list', items: this.#list(head.length, depth) }
      case 'map':
        return { kind: 'map', members: this.#map(head.length, depth) }
      case 'tag':
        return { kind: 'tagged', tag: head.length, content: this.#value(depth + 1) }
    }
  }

  #list(count: number, depth: number): Packed[] {
    const items: Packed[] = []
    for (let at = 0; at < count; at++) items.push(this.#value(depth + 1))
    return items
  }

  /** A name that occurs twice is refused: two readers could heed different ones. */
  #map(count: number, depth: number): Map<string, Packed> {
    const members = new Map<string, Packed>()
    for (let at = 0; at < count; at++) {
      const name = this.#value(depth + 1)
      if (name.kind !== 'text' || members.has(name.value))
        throw new EvidenceError('ra_tls_malformed')
      members.set(name.value, this.#value(depth + 1))
    }
    return members
  }
}

/** One CBOR value of definite lengths (RFC 8949 §3). Throws `ra_tls_malformed`. */
export const decodeCbor = (bytes: Uint8Array): Packed =>
  new PackedReader(bytes, cborHead).document()

const CBOR_KINDS = ['integer', 'negative', 'bytes', 'text', 'list', 'map', 'tag', 'simple'] as const

function cborHead(reader: PackedReader): Head {
  const first = reader.unsigned(1)
  const kind = CBOR_KINDS[first >> 5]
  const small = first & 0x1f
  if (kind === 'simple') return simple(small)
  if (small > 27) throw new EvidenceError('ra_tls_malformed')
  const value = small < 24 ? small : reader.unsigned(2 ** (small - 24))
  if (kind === 'integer') return { kind, value }
  if (kind === undefined || kind === 'negative') throw new EvidenceError('ra_tls_malformed')
  return { kind, length: value }
}

/** false, true, null, undefined; no floating point number stands in evidence. */
function simple(value: number): Head {
  if (value < 20 || value > 23) throw new EvidenceError('ra_tls_malformed')
  return { kind: 'empty' }
}

/** One MessagePack value. Throws `ra_tls_malformed`. */
export const decodeMessagePack = (bytes: Uint8Array): Packed =>
  new PackedReader(bytes, messagePackHead).document()

/** First bytes that a length of 1, 2 or 4 bytes follows, by the least of them. */
const SIZED = [
  { first: 0xc4, kind: 'bytes', sizes: [1, 2, 4] },
  { first: 0xd9, kind: 'text', sizes: [1, 2, 4] },
  { first: 0xdc, kind: 'list', sizes: [2, 4] },
  { first: 0xde, kind: 'map', sizes: [2, 4] },
] as const

function messagePackHead(reader: PackedReader): Head {
  const first = reader.unsigned(1)
  if (first < 0x80) return { kind: 'integer', value: first }
  if (first < 0x90) return { kind: 'map', length: first & 0x0f }
  if (first < 0xa0) return { kind: 'list', length: first & 0x0f }
  if (first < 0xc0) return { kind: 'text', length: first & 0x1f }
  if (first === 0xc0 || first === 0xc2 || first === 0xc3) return { kind: 'empty' }
  if (first >= 0xcc && first <= 0xcf) {
    return { kind: 'integer', value: reader.unsigned(2 ** (first - 0xcc)) }
  }
  for (const { first: least, kind, sizes } of SIZED) {
    const size = sizes[first - least]
    if (size !== undefined) return { kind, length: reader.unsigned(size) }
  }
  throw new EvidenceError('ra_tls_malformed')
}
