import { AnswerTimer } from './answer-timer.ts'
import type { Pipeline, PromptCall } from './call.ts'
import type { Route } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { Shape } from './prompt.ts'
import { translate, type Translation } from './translate.ts'
import { VerificationRefused } from './upstream/failure.ts'
import { SendError } from './upstream/send.ts'
import type { Access, Connection, Upstream } from './upstream/upstream.ts'

const MAX_ROUNDS = 3

/** One prompt to one provider. */
export class Attempt {
  readonly #pipeline: Pipeline
  readonly #upstream: Upstream
  readonly #call: PromptCall
  readonly #route: Route
  readonly #stream: boolean
  readonly #translation: Translation

  /** Throws where the provider cannot be asked this. */
  constructor(pipeline: Pipeline, call: PromptCall, shape: Shape, route: Route) {
    const { config, upstreams, clock, random } = pipeline
    const provider = config.providers.get(route.provider)
    const upstream = upstreams.get(route.provider)
    if (upstream === undefined || provider === undefined) throw new GatewayError('internal')
    const target = { random, now: () => clock.now() }
    const maxBytes = config.limits.response_bytes
    this.#pipeline = pipeline
    this.#upstream = upstream
    this.#call = call
    this.#route = route
    this.#stream = shape.stream
    this.#translation = translate({ call, shape, route, provider, maxBytes, target })
  }

  /** Throws a `GatewayError` where the client has been sent nothing. */
  async run(access: Access): Promise<void> {
    // A provider that shows another key has seen nothing: it is verified again, and asked under the new one.
    for (let round = 0; round < MAX_ROUNDS; round++) if (await this.#once(access)) return
    throw new VerificationRefused('channel_key_mismatch', null)
  }

  /** False where the peer did not hold the attested key, or was refused before anything was sent. */
  async #once(access: Access): Promise<boolean> {
    const connection = await this.#upstream.connect(access)
    try {
      return await this.#exchange(connection)
    } finally {
      connection.release()
    }
  }

  async #exchange(connection: Connection): Promise<boolean> {
    const { path: operation, headers, body, sink } = this.#translation
    const answer = sink(connection.session)
    const limit = this.#limit()
    const { signal } = limit
    const { routing, clock } = this.#pipeline
    const timer = new AnswerTimer(answer, routing.times, clock)
    try {
      await connection.send({ operation, headers, body, stream: this.#stream, signal }, timer)
      answer.complete()
      timer.note(this.#route)
    } catch (error) {
      if (!(error instanceof SendError)) throw error
      if (error.failure === 'key_mismatch') {
        connection.evict('channel_key_mismatch')
        // What may have left was encrypted to a key that is gone: nobody was sent a prompt.
        this.#call.receipt.retrying()
        return false
      }
      if (error.failure === 'withdrawn') return false
      const late = error.failure === 'aborted' && !this.#call.signal.aborted
      answer.fail(late ? 'timeout' : error.failure)
    } finally {
      limit.end()
    }
    return true
  }

  /** Aborted when the client goes away, when no content has come in time, or when the whole takes too long. */
  #limit(): { readonly signal: AbortSignal; end(): void } {
    const { response, signal, leftMs } = this.#call
    if (!this.#stream && leftMs === null) return { signal, end: () => undefined }
    const { first_token_seconds: firstToken } = this.#pipeline.config.limits
    const controller = new AbortController()
    const abort = (): void => controller.abort()
    const late = (): void => {
      if (!response.begun) abort()
    }
    const timers = [
      ...(this.#stream ? [setTimeout(late, 1000 * firstToken)] : []),
      ...(leftMs === null ? [] : [setTimeout(abort, leftMs)]),
    ]
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    return {
      signal: controller.signal,
      end: () => {
        for (const timer of timers) clearTimeout(timer)
        signal.removeEventListener('abort', abort)
      },
    }
  }
}
