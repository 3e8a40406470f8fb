import { createDecipheriv, hkdfSync } from 'node:crypto'
import { SendError } from './send.ts'

/** What the key of a reply is derived from, beside the nonce that the reply brings. */
export interface ResponseKeyInput {
  /** Exported from the HPKE context of the request. */
  readonly secret: Uint8Array
  /** The encapsulated key of the request. */
  readonly enc: Uint8Array
}

const KEY_LENGTH = 32
const NONCE_LENGTH = 12
const TAG_LENGTH = 16
const LENGTH_BYTES = 4
/**
 * A frame is held until its tag is there. The specification allows 64 MiB; enclaves make one of each write, some tens
 * of KiB. This leaves room for an answer written at once, and takes less than a provider could fill the memory with.
 */
const MAX_FRAME = (16 << 20) + TAG_LENGTH
const NOTHING = Buffer.alloc(0)

/** Decrypts the frames of one reply in order: `u32 length ‖ ciphertext ‖ tag`, the nonce counting up. */
export class EhbpFrames {
  readonly #key: Buffer
  readonly #nonce: Buffer
  #sequence = 0n
  #held: Buffer[] = []
  #length = 0
  /** How many bytes must be held before something can be read. */
  #needed = LENGTH_BYTES

  constructor({ secret, enc }: ResponseKeyInput, responseNonce: Uint8Array) {
    const salt = Buffer.concat([enc, responseNonce])
    this.#key = Buffer.from(hkdfSync('sha256', secret, salt, 'key', KEY_LENGTH))
    this.#nonce = Buffer.from(hkdfSync('sha256', secret, salt, 'nonce', NONCE_LENGTH))
  }

  /** What can be decrypted now; often nothing. Throws `SendError` `undecryptable`. */
  push(chunk: Buffer): Buffer {
    this.#held.push(chunk)
    this.#length += chunk.length
    // Joined only once it makes a frame: joining at each chunk would be quadratic in the size of a frame.
    if (this.#length < this.#needed) return NOTHING
    return this.#read(Buffer.concat(this.#held))
  }

  /** The reply has ended. Throws `undecryptable` within a frame. */
  end(): void {
    if (this.#length > 0) throw new SendError('undecryptable')
  }

  #read(bytes: Buffer): Buffer {
    const opened: Buffer[] = []
    let at = 0
    for (;;) {
      const size = frameSize(bytes, at)
      this.#needed = LENGTH_BYTES + size
      if (bytes.length - at < this.#needed) break
      if (size > 0) opened.push(this.#open(bytes.subarray(at + LENGTH_BYTES, at + this.#needed)))
      at += this.#needed
    }
    const rest = bytes.subarray(at)
    this.#held = [rest]
    this.#length = rest.length
    return opened.length === 0 ? NOTHING : Buffer.concat(opened)
  }

  #open(frame: Buffer): Buffer {
    const decipher = createDecipheriv('aes-256-gcm', this.#key, this.#nextNonce())
    const tagAt = frame.length - TAG_LENGTH
    decipher.setAuthTag(frame.subarray(tagAt))
    const plaintext = decipher.update(frame.subarray(0, tagAt))
    try {
      decipher.final()
    } catch {
      throw new SendError('undecryptable')
    }
    return plaintext
  }

  #nextNonce(): Buffer {
    const nonce = Buffer.from(this.#nonce)
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ this.#sequence, 4)
    this.#sequence += 1n
    return nonce
  }
}

/** Zero where no length is there yet, and for a frame without content, which is skipped. */
function frameSize(bytes: Buffer, at: number): number {
  if (bytes.length - at < LENGTH_BYTES) return 0
  const size = bytes.readUInt32BE(at)
  if (size > MAX_FRAME || (size > 0 && size < TAG_LENGTH)) throw new SendError('undecryptable')
  return size
}
