import type { Pipeline, PromptCall } from './call.ts'
import type { Route } from './config/index.ts'
import { GatewayError } from './errors.ts'
import { bodyHash, forwardable, type Prompt, type Shape } from './prompt.ts'
import { Relay } from './relay.ts'
import { VerificationRefused } from './upstream/failure.ts'
import { SendError } from './upstream/send.ts'
import type { Access, Connection } from './upstream/upstream.ts'

const MAX_ROUNDS = 3
const OPERATION = '/chat/completions'

/** One prompt to one provider. */
export class Attempt {
  readonly #pipeline: Pipeline
  readonly #call: PromptCall
  readonly #shape: Shape
  readonly #route: Route
  readonly #body: Prompt

  constructor(pipeline: Pipeline, call: PromptCall, shape: Shape, route: Route) {
    this.#pipeline = pipeline
    this.#call = call
    this.#shape = shape
    this.#route = route
    this.#body = forwardable(call.prompt, shape, route.model)
  }

  /** Throws a `GatewayError` where the client has been sent nothing. */
  async run(access: Access): Promise<void> {
    // A provider that shows another key has seen nothing: it is verified again, and asked under the new one.
    for (let round = 0; round < MAX_ROUNDS; round++) if (await this.#once(access)) return
    throw new VerificationRefused('channel_key_mismatch', null)
  }

  /** False where the peer did not hold the attested key, or was refused before anything was sent. */
  async #once(access: Access): Promise<boolean> {
    const upstream = this.#pipeline.upstreams.get(this.#route.provider)
    if (upstream === undefined) throw new GatewayError('internal')
    const connection = await upstream.connect(access)
    try {
      return await this.#exchange(connection)
    } finally {
      connection.release()
    }
  }

  async #exchange(connection: Connection): Promise<boolean> {
    const { signal } = this.#call
    const relay = this.#relay(connection)
    const { stream } = this.#shape
    const message = { operation: OPERATION, body: this.#body, stream, signal }
    try {
      await connection.send(message, relay)
      relay.complete()
    } catch (error) {
      if (!(error instanceof SendError)) throw error
      if (error.failure === 'key_mismatch') {
        connection.evict('channel_key_mismatch')
        return false
      }
      if (error.failure === 'withdrawn') return false
      relay.fail(error.failure)
    }
    return true
  }

  #relay({ session }: Connection): Relay {
    const { response, prompt, receipt, receivedHash } = this.#call
    const { provider, model } = this.#route
    const unchanged = this.#body === prompt
    return new Relay({
      response,
      stream: this.#shape.stream,
      maxBytes: this.#pipeline.config.limits.response_bytes,
      onSent: () => {
        const hash = unchanged ? receivedHash : bodyHash(this.#body)
        receipt.forwarded({ provider, model, session }, hash)
      },
      seal: (answer, hash) => this.#call.seal(answer, hash),
    })
  }
}
