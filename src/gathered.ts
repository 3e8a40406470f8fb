const LEAST = 4096

/**
 * Bytes that come in pieces, in memory of their own. Whoever sends a body one byte at a time must not make us hold an
 * object for each of them, nor copy everything again for each.
 */
export class Gathered {
  #bytes = Buffer.alloc(0)
  #length = 0

  get length(): number {
    return this.#length
  }

  push(chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.#bytes.length) this.#grow(length)
    this.#bytes.set(chunk, this.#length)
    this.#length = length
  }

  /** All of them, and begins anew. */
  take(): Buffer {
    const whole = this.#length === this.#bytes.length
    const bytes = whole ? this.#bytes : copyOf(this.#bytes.subarray(0, this.#length))
    this.#bytes = Buffer.alloc(0)
    this.#length = 0
    return bytes
  }

  /** The first piece is often the only one. */
  #grow(length: number): void {
    const room = this.#length === 0 ? length : Math.max(LEAST, 2 * this.#bytes.length, length)
    const larger = Buffer.alloc(room)
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

/** Not a slice of Node's shared pool, which would keep its neighbours alive. */
function copyOf(bytes: Uint8Array): Buffer {
  const copy = Buffer.alloc(bytes.length)
  copy.set(bytes)
  return copy
}
