const LEAST = 4096
/** Of a promise: memory is not set aside for what may never come. */
const MOST_EXPECTED = 1 << 20
const EMPTY = Buffer.alloc(0)

/**
 * Bytes that come in pieces. Whoever sends a body one byte at a time must not make us hold an object for each of them, nor
 * copy everything again for each; what comes in one piece is not copied at all.
 */
export class Gathered {
  readonly #expected: number
  #bytes: Buffer = EMPTY
  #length = 0

  /** `expected`: how many bytes there will be, where somebody has said so. */
  constructor(expected = 0) {
    this.#expected = Math.min(expected, MOST_EXPECTED)
  }

  get length(): number {
    return this.#length
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    const length = this.#length + chunk.length
    if (this.#length === 0 && fillsItsMemory(chunk)) {
      // A later piece does not fit behind it and makes a copy of both.
      this.#bytes = chunk
    } else {
      if (length > this.#bytes.length) this.#grow(length)
      this.#bytes.set(chunk, this.#length)
    }
    this.#length = length
  }

  /** All of them, and begins anew. */
  take(): Buffer {
    const whole = this.#length === this.#bytes.length
    const bytes = whole ? this.#bytes : ownCopy(this.#bytes.subarray(0, this.#length))
    this.#bytes = EMPTY
    this.#length = 0
    return bytes
  }

  #grow(length: number): void {
    const room = Math.max(this.#length === 0 ? length : LEAST, 2 * this.#length, length)
    const larger = Buffer.allocUnsafeSlow(Math.max(room, this.#expected))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

/** A slice of something large would keep all of it in memory: a few bytes of a record, or Node's shared pool. */
const fillsItsMemory = ({ length, buffer }: Buffer): boolean => 2 * length >= buffer.byteLength

function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  copy.set(bytes)
  return copy
}
