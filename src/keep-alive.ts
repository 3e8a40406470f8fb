const COMMENT = Buffer.from(': keep-alive\n\n')
/** As long as the longest end of a frame. */
const END_BYTES = 3
const LF = 0x0a
const CR = 0x0d

/** Watches the silence of one stream. Between frames alone: a comment's empty line within one would end it early. */
export class KeepAlive {
  readonly #timer: NodeJS.Timeout
  /** The last three bytes that were sent, as one number: a slice would keep the whole chunk. */
  #tail = 0
  #begun = false

  /** Calls `send` with a comment whenever nothing was written for so long. */
  constructor(milliseconds: number, send: (comment: Buffer) => void) {
    this.#timer = setInterval(() => {
      if (!this.#begun || endsFrame(this.#tail)) send(COMMENT)
    }, milliseconds)
    this.#timer.unref()
  }

  written(chunk: Uint8Array): void {
    this.#timer.refresh()
    this.#begun ||= chunk.length > 0
    for (let at = Math.max(0, chunk.length - END_BYTES); at < chunk.length; at++) {
      this.#tail = ((this.#tail << 8) | (chunk[at] ?? 0)) & 0xffffff
    }
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** Whether an empty line was the last. */
function endsFrame(tail: number): boolean {
  const [third, second, last] = [tail >> 16, (tail >> 8) & 0xff, tail & 0xff]
  if (last === LF && second === CR) return third === LF
  return last === second && (last === LF || last === CR)
}
