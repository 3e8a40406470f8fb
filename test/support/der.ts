import type { Bytes, UnixSeconds } from '@vouchgate/attestation'

/**
 * A DER writer (X.690 §10), only as much of it as certificates, CRLs and the SGX extension need.
 * It writes what it is told, also what no verifier may accept: negative tests depend on that.
 */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  return Uint8Array.from(Buffer.concat(parts))
}

/** Bytes of trusted test data in hex, spaces allowed. A typing mistake is a TypeError. */
export function hex(text: string): Bytes {
  const digits = text.replaceAll(' ', '')
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(digits)) throw new TypeError('not hex')
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

function tlv(tag: number, ...parts: readonly Uint8Array[]): Bytes {
  const content = concat(...parts)
  const length: number[] = []
  for (let rest = content.length; rest > 0; rest >>= 8) length.unshift(rest & 0xff)
  const header =
    content.length < 0x80 ? [tag, content.length] : [tag, 0x80 | length.length, ...length]
  return concat(Uint8Array.from(header), content)
}

export const sequence = (...parts: readonly Uint8Array[]): Bytes => tlv(0x30, ...parts)
export const set = (...parts: readonly Uint8Array[]): Bytes => tlv(0x31, ...parts)
export const octetString = (content: Uint8Array): Bytes => tlv(0x04, content)
export const utf8String = (text: string): Bytes => tlv(0x0c, Buffer.from(text))
export const printableString = (text: string): Bytes => tlv(0x13, Buffer.from(text))
export const boolean = (value: boolean): Bytes => tlv(0x01, Uint8Array.of(value ? 0xff : 0))
export const enumerated = (value: number): Bytes => tlv(0x0a, magnitude(value))
/** Constructed context-specific tag. */
export const explicit = (tag: number, content: Uint8Array): Bytes => tlv(0xa0 | tag, content)
/** Primitive context-specific tag. */
export const implicit = (tag: number, content: Uint8Array): Bytes => tlv(0x80 | tag, content)
export const bitString = (content: Uint8Array, unusedBits = 0): Bytes =>
  tlv(0x03, Uint8Array.of(unusedBits), content)

/** A non-negative INTEGER; bytes are its big-endian magnitude. */
export const integer = (value: number | Uint8Array): Bytes => tlv(0x02, magnitude(value))

function magnitude(value: number | Uint8Array): Bytes {
  const bytes = typeof value === 'number' ? numberBytes(value) : [...value]
  while (bytes.length > 1 && bytes[0] === 0) bytes.shift()
  return Uint8Array.from((bytes[0] ?? 0x80) >= 0x80 ? [0, ...bytes] : bytes)
}

function numberBytes(value: number): number[] {
  const bytes = [value % 256]
  for (let rest = Math.floor(value / 256); rest > 0; rest = Math.floor(rest / 256)) {
    bytes.unshift(rest % 256)
  }
  return bytes
}

/** OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Bytes {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return tlv(0x06, Uint8Array.from([40 * first + second, ...rest].flatMap(base128)))
}

function base128(arc: number): number[] {
  const bytes = [arc & 0x7f]
  for (let rest = arc >> 7; rest > 0; rest >>= 7) bytes.unshift(0x80 | (rest & 0x7f))
  return bytes
}

/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
export function time(at: UnixSeconds): Bytes {
  const digits = timeDigits(at)
  return digits < '2050' ? tlv(0x17, Buffer.from(digits.slice(2))) : generalizedTime(at)
}

export const generalizedTime = (at: UnixSeconds): Bytes => tlv(0x18, Buffer.from(timeDigits(at)))

const timeDigits = (at: UnixSeconds): string =>
  new Date(at * 1000).toISOString().replaceAll(/[-:T]|\.\d+/g, '')
