import { crc32 } from 'node:zlib'
import { GatewayError } from '../../errors.ts'

/**
 * AWS event stream encoding (vnd.amazon.eventstream), big-endian:
 *
 *   u32 total length | u32 headers length | u32 CRC-32 of these 8 bytes | headers | payload | u32 CRC-32 of all before
 *
 * and each header: u8 length of name | name | u8 type | value.
 */
export interface EventStreamMessage {
  /** Those of type string; others are passed over. */
  readonly headers: ReadonlyMap<string, string>
  readonly payload: Buffer
}

const PRELUDE = 12
const TRAILER = 4
const MAX_TOTAL = 16 << 20
const MAX_HEADERS = 128 << 10

const STRING = 7
/** Sizes of the values of types 0 to 9; 6 and 7 say their own. */
const SIZES = [0, 0, 1, 2, 4, 8, null, null, 8, 16] as const

const malformed = (): GatewayError => new GatewayError('upstream_malformed')

function readHeaders(bytes: Buffer): Map<string, string> {
  const headers = new Map<string, string>()
  let at = 0
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw malformed()
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const name = take(take(1).readUInt8()).toString('utf8')
    const type = take(1).readUInt8()
    const fixed = SIZES[type]
    if (fixed === undefined) throw malformed()
    const value = take(fixed ?? take(2).readUInt16BE())
    if (type === STRING) headers.set(name, value.toString('utf8'))
  }
  return headers
}

/** Splits bytes, cut anywhere, into messages. Throws `upstream_malformed` on a checksum or a length that is not right. */
export class EventStreamParser {
  readonly #chunks: Buffer[] = []
  #held = 0
  /** Total length of the message that is being held; 0 before its prelude is known. */
  #total = 0

  push(chunk: Buffer): EventStreamMessage[] {
    const messages: EventStreamMessage[] = []
    if (chunk.length > 0) this.#chunks.push(chunk)
    this.#held += chunk.length
    while (this.#held >= (this.#total === 0 ? PRELUDE : this.#total)) {
      if (this.#total === 0) this.#total = this.#prelude()
      else messages.push(this.#message())
    }
    return messages
  }

  /** Whether the stream stands between two messages. */
  get whole(): boolean {
    return this.#held === 0
  }

  /** Joined only where a message is complete, so that many small chunks cost no more than one copy. */
  #bytes(): Buffer {
    const [first] = this.#chunks
    const bytes = this.#chunks.length === 1 && first ? first : Buffer.concat(this.#chunks)
    this.#chunks.splice(0, this.#chunks.length, bytes)
    return bytes
  }

  #prelude(): number {
    const bytes = this.#bytes()
    const total = bytes.readUInt32BE(0)
    const headers = bytes.readUInt32BE(4)
    // The checksum first: a length that was not meant must not decide how much is held.
    if (crc32(bytes.subarray(0, 8)) !== bytes.readUInt32BE(8)) throw malformed()
    if (total > MAX_TOTAL || headers > MAX_HEADERS) throw malformed()
    if (total < PRELUDE + headers + TRAILER) throw malformed()
    return total
  }

  #message(): EventStreamMessage {
    const bytes = this.#bytes()
    const total = this.#total
    const end = total - TRAILER
    if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32BE(end)) throw malformed()
    const headersEnd = PRELUDE + bytes.readUInt32BE(4)
    const rest = bytes.subarray(total)
    this.#chunks.splice(0, this.#chunks.length, ...(rest.length === 0 ? [] : [rest]))
    this.#held = rest.length
    this.#total = 0
    return {
      headers: readHeaders(bytes.subarray(PRELUDE, headersEnd)),
      payload: bytes.subarray(headersEnd, end),
    }
  }
}
