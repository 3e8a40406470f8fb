const COMMENT = Buffer.from(': keep-alive\n\n')
/** As long as the longest end of a frame. */
const END_BYTES = 3

/** Watches the silence of one stream. Between frames alone: a comment's empty line within one would end it early. */
export class KeepAlive {
  readonly #timer: NodeJS.Timeout
  /** The last bytes that were sent. */
  #tail: Uint8Array = new Uint8Array()

  /** Calls `send` with a comment whenever nothing was written for so long. */
  constructor(milliseconds: number, send: (comment: Buffer) => void) {
    this.#timer = setInterval(() => {
      if (endsFrame(this.#tail)) send(COMMENT)
    }, milliseconds)
    this.#timer.unref()
  }

  written(chunk: Uint8Array): void {
    this.#timer.refresh()
    this.#tail =
      chunk.length >= END_BYTES
        ? chunk.subarray(-END_BYTES)
        : Buffer.concat([this.#tail, chunk]).subarray(-END_BYTES)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** Nothing was sent yet, or an empty line was the last. */
function endsFrame(tail: Uint8Array): boolean {
  const end = Buffer.from(tail).toString('latin1')
  return end === '' || end.endsWith('\n\n') || end.endsWith('\n\r\n') || end.endsWith('\r\r')
}
