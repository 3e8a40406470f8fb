import type { IncomingHttpHeaders } from 'node:http'
import { gather, type AnswerSink, type SinkOptions } from './answer-sink.ts'
import type { WholeExchange } from './dialects/cohere/openai.ts'
import type { ProviderDialect } from './dialects/dialect.ts'
import { GatewayError } from './errors.ts'
import { Gathered } from './gathered.ts'
import { providerRefusal } from './provider-refusal.ts'
import { JSON_HEADERS } from './response.ts'
import { failureCode } from './upstream/classify.ts'
import type { SendError } from './upstream/send.ts'

export interface WholeOptions extends SinkOptions {
  readonly decode: WholeExchange['answer']
  readonly dialect: ProviderDialect
}

/** Reads one provider's answer to what is no conversation, and writes it in the client's words; never a stream. */
export class WholeRelay implements AnswerSink {
  readonly #options: WholeOptions
  #status = 0
  #headers: IncomingHttpHeaders = {}
  readonly #gathered = new Gathered()

  constructor(options: WholeOptions) {
    this.#options = options
  }

  sent(): void {
    this.#options.onSent()
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
  }

  data(chunk: Buffer): boolean {
    gather(this.#gathered, chunk, this.#status === 200, this.#options.maxBytes)
    return true
  }

  complete(): void {
    const { decode, dialect, response, seal } = this.#options
    const received = this.#gathered.take()
    if (this.#status !== 200) {
      throw providerRefusal(dialect.classify(this.#status, this.#headers, received))
    }
    const { body, id, usage } = decode(received)
    response.send(200, JSON_HEADERS, body, (hash) =>
      seal({ end: 'complete', code: null, chatId: id, usage }, hash),
    )
  }

  fail(failure: SendError['failure']): void {
    const { response, seal } = this.#options
    if (failure !== 'aborted') throw new GatewayError(failureCode(failure))
    seal({ end: 'client_abort', code: null, chatId: null, usage: null }, response.emittedHash())
  }
}
