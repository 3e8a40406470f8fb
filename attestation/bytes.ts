import { EvidenceError } from './errors.ts'

/** Bytes that own an ordinary `ArrayBuffer`, the only kind Web Crypto takes. */
export type Bytes = Uint8Array<ArrayBuffer>

/** Seconds since 1970-01-01T00:00:00Z. */
export type UnixSeconds = number

/** The current time as a parameter: no verifier reads a clock of its own. */
export interface Clock {
  now(): UnixSeconds
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

const NO_DIGIT = 0xff
/** The value of each hex digit by its character code. */
const HEX_DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const char = String.fromCharCode(code)
  return /[0-9a-f]/i.test(char) ? Number.parseInt(char, 16) : NO_DIGIT
})
const HEX_OF_BYTE = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Lower-case hex. */
export function toHex(bytes: Uint8Array): string {
  let hex = ''
  for (const byte of bytes) hex += HEX_OF_BYTE[byte] ?? ''
  return hex
}

/** Hex of either case and even length. Throws `encoding_malformed`; lenient decoders truncate at the first bad digit. */
export function fromHex(hex: string): Bytes {
  if (hex.length % 2 !== 0) throw new EvidenceError('encoding_malformed')
  const bytes = new Uint8Array(hex.length / 2)
  let seen = 0
  for (let index = 0; index < bytes.length; index++) {
    const high = HEX_DIGITS[hex.charCodeAt(2 * index)] ?? NO_DIGIT
    const low = HEX_DIGITS[hex.charCodeAt(2 * index + 1)] ?? NO_DIGIT
    seen |= high | low
    bytes[index] = (high << 4) | low
  }
  if (seen > 0x0f) throw new EvidenceError('encoding_malformed')
  return bytes
}

/** Standard base64 with padding (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** Standard base64 with padding, nothing else. Throws `encoding_malformed`. */
export function fromBase64(text: string): Bytes {
  if (!BASE64.test(text)) throw new EvidenceError('encoding_malformed')
  const binary = atob(text)
  const bytes = new Uint8Array(binary.length)
  for (let index = 0; index < bytes.length; index++) bytes[index] = binary.charCodeAt(index)
  return bytes
}

export function concatBytes(...parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

/** Compares in time that depends on the lengths alone. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false
  let difference = 0
  for (let index = 0; index < left.length; index++) {
    difference |= (left[index] ?? 0) ^ (right[index] ?? 0)
  }
  return difference === 0
}

export function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false
  return true
}

/** Strict UTF-8, no byte order mark. Throws `encoding_malformed`. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new EvidenceError('encoding_malformed')
  }
}

export const encodeUtf8 = (text: string): Bytes => Uint8Array.from(new TextEncoder().encode(text))

const digest =
  (algorithm: 'SHA-256' | 'SHA-384' | 'SHA-512') =>
  async (bytes: Uint8Array): Promise<Bytes> =>
    new Uint8Array(await crypto.subtle.digest(algorithm, ownBuffer(bytes)))

export const sha256: (bytes: Uint8Array) => Promise<Bytes> = digest('SHA-256')
export const sha384: (bytes: Uint8Array) => Promise<Bytes> = digest('SHA-384')
export const sha512: (bytes: Uint8Array) => Promise<Bytes> = digest('SHA-512')

/** `sha256:<hex>`, the form of ACI digest fields. */
export const sha256Label = async (bytes: Uint8Array): Promise<string> =>
  `sha256:${toHex(await sha256(bytes))}`

const isOwn = (bytes: Uint8Array): bytes is Bytes => bytes.buffer instanceof ArrayBuffer

/** The same bytes for Web Crypto, copied only where they live in shared memory. */
export const ownBuffer = (bytes: Uint8Array): Bytes =>
  isOwn(bytes) ? bytes : Uint8Array.from(bytes)

/**
 * Reads little-endian fields front to back. Every read is checked against the end before anything is
 * sliced, so a length taken from hostile input can at worst throw `code`.
 */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #code: ReaderError
  #offset = 0

  constructor(bytes: Uint8Array, code: ReaderError) {
    this.#bytes = bytes
    this.#code = code
  }

  get offset(): number {
    return this.#offset
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  take(length: number): Bytes {
    if (length > this.remaining) throw new EvidenceError(this.#code)
    const start = this.#offset
    this.#offset += length
    return Uint8Array.from(this.#bytes.subarray(start, this.#offset))
  }

  u16(): number {
    const bytes = this.take(2)
    return new DataView(bytes.buffer).getUint16(0, true)
  }

  u32(): number {
    const bytes = this.take(4)
    return new DataView(bytes.buffer).getUint32(0, true)
  }

  /** A reader over exactly the next `length` bytes. */
  window(length: number): Reader {
    return new Reader(this.take(length), this.#code)
  }

  /** All bytes of the window must have been consumed. */
  end(): void {
    if (this.remaining !== 0) throw new EvidenceError(this.#code)
  }
}

type ReaderError =
  | 'quote_malformed'
  | 'pck_extension_malformed'
  | 'snp_report_malformed'
  | 'snp_certificate_table_malformed'
  | 'hcl_malformed'
  | 'tpm_quote_malformed'
  | 'eventlog_malformed'
  | 'spdm_malformed'
  | 'spdm_opaque_malformed'
  | 'gpu_field_malformed'
  | 'ra_tls_malformed'
