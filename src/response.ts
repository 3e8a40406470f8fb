import { createHash, type Hash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { hashLabel } from './prompt.ts'

type Headers = Readonly<Record<string, string>>
/** Called with the hash of the whole body before its last bytes leave. */
type Seal = (bodyHash: string) => void

/**
 * The response to one prompt. Hashes the exact bytes it emits, and lets the receipt be sealed before the last
 * of them leaves: a client that asks for its receipt on the last byte finds it.
 */
export class ClientResponse {
  readonly #raw: ServerResponse
  #hash: Hash | null = null
  #bytes = 0
  #status = 0

  constructor(raw: ServerResponse) {
    this.#raw = raw
  }

  /** Whether a content byte has been sent, after which there is no fallback. */
  get begun(): boolean {
    return this.#status !== 0
  }

  get status(): number {
    return this.#status
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A whole body at once. */
  send(status: number, headers: Headers, body: Uint8Array, seal: Seal): void {
    this.#status = status
    this.#bytes = body.length
    this.#sealed(seal, hashLabel(body))
    this.#raw.writeHead(status, { ...headers, 'content-length': body.length })
    this.#raw.end(body)
  }

  /** A header known only once the answer is; nothing where the head has left. */
  lateHeader(name: string, value: string): void {
    if (!this.#raw.headersSent) this.#raw.setHeader(name, value)
  }

  begin(status: number, headers: Headers): void {
    this.#status = status
    this.#hash = createHash('sha256')
    this.#raw.writeHead(status, headers)
  }

  /** False: the client reads more slowly than the provider writes. */
  write(chunk: Uint8Array): boolean {
    this.#count(chunk)
    return this.#raw.write(chunk)
  }

  onDrain(resume: () => void): void {
    this.#raw.once('drain', resume)
  }

  end(tail: Uint8Array, seal: Seal): void {
    this.#count(tail)
    this.#sealed(seal, this.emittedHash())
    this.#raw.end(tail)
  }

  /** Of what has been emitted so far. Ends the counting. */
  emittedHash(): string {
    return this.#hash === null ? hashLabel(new Uint8Array()) : `sha256:${this.#hash.digest('hex')}`
  }

  /** Without a receipt there is no complete response. */
  #sealed(seal: Seal, bodyHash: string): void {
    try {
      seal(bodyHash)
    } catch (error) {
      this.#raw.destroy()
      throw error
    }
  }

  #count(chunk: Uint8Array): void {
    this.#hash?.update(chunk)
    this.#bytes += chunk.length
  }
}
