import type { Pad } from './dialects/openai-chat/pad.ts'

export const PADDING_BLOCK = 64
/** A frame over this is filled to whole blocks of its own and sets no size for those that follow. */
const MAX_COMMON = 1024
/** `: ` and the end of the line. */
const COMMENT_BYTES = 3
/** A frame that is longer passes as it comes. */
const MAX_FRAME = 1 << 20
const LF = 0x0a
const CR = 0x0d
const EMPTY = Buffer.alloc(0)
const DATA = Buffer.from('data:')
/** A quote within a JSON text is escaped, so that this can only be a member's name. */
const OBFUSCATION = Buffer.from('"obfuscation":')

export interface Padding {
  readonly pad: Pad
  /** Called once, before the first frame. */
  readonly onApplied: () => void
}

/**
 * Fills frames of server-sent events up with a comment line of random characters, which every client passes over: whoever
 * watches the encrypted connection sees the sizes of frames, and without it the length of each token.
 *
 * Each frame is as large as the largest before it, in whole blocks, so that sizes do not tell which side of a block's end a
 * token falls on. What the provider has padded itself is left alone. Apart from the comments no byte changes.
 */
export class FramePadder {
  readonly #pad: Pad
  #held: Buffer = EMPTY
  #common = 0

  constructor({ pad }: Padding) {
    this.#pad = pad
  }

  /** Whole frames; the rest is held. */
  push(bytes: Buffer): Buffer {
    const whole = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const parts: Buffer[] = []
    let from = 0
    for (let end = frameEnd(whole, from); end !== -1; end = frameEnd(whole, from)) {
      const frame = whole.subarray(from, end)
      parts.push(this.#comment(frame), frame)
      from = end
    }
    this.#held = whole.subarray(from)
    if (this.#held.length > MAX_FRAME) parts.push(this.end())
    return Buffer.concat(parts)
  }

  /** What is held, as it is. */
  end(): Buffer {
    const held = this.#held
    this.#held = EMPTY
    return held
  }

  #comment(frame: Buffer): Buffer {
    if (!frame.includes(DATA) || frame.includes(OBFUSCATION)) return EMPTY
    const least = frame.length + COMMENT_BYTES
    // Half a block of room, so that a first frame that is short by chance does not give the next ones away.
    const blocks = Math.ceil((least + PADDING_BLOCK / 2) / PADDING_BLOCK) * PADDING_BLOCK
    if (least > this.#common && blocks <= MAX_COMMON) this.#common = blocks
    const size = least <= this.#common ? this.#common : blocks
    return Buffer.from(`: ${this.#pad(size - least)}\n`)
  }
}

/** One past the empty line that ends the first frame, or -1. Of the ends of lines that exist, the two in use. */
function frameEnd(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3
  }
  return -1
}
