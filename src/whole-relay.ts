import type { IncomingHttpHeaders } from 'node:http'
import type { ProviderDialect } from './dialects/dialect.ts'
import { GatewayError } from './errors.ts'
import { Gathered } from './gathered.ts'
import { providerRefusal } from './provider-refusal.ts'
import type { Answer, AnswerSink } from './relay.ts'
import type { ClientResponse } from './response.ts'
import { failureCode } from './upstream/classify.ts'
import { SendError } from './upstream/send.ts'
import type { AnswerFacts } from './wire.ts'

/** A provider's answer in the words of the client. */
interface WholeAnswer extends AnswerFacts {
  readonly body: Buffer
}

export interface WholeOptions {
  readonly response: ClientResponse
  readonly maxBytes: number
  /** Throws `upstream_malformed`. */
  readonly decode: (body: Buffer) => WholeAnswer
  readonly dialect: ProviderDialect
  readonly onSent: () => void
  readonly seal: (answer: Answer, bodyHash: string) => void
}

const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8' } as const
const MAX_ERROR_BYTES = 1 << 16

/** Reads one provider's answer to what is no conversation, and writes it in the client's words; never a stream. */
export class WholeRelay implements AnswerSink {
  readonly #options: WholeOptions
  #status = 0
  #headers: IncomingHttpHeaders = {}
  readonly #gathered = new Gathered()
  #length = 0

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
    this.#length += chunk.length
    const limit = this.#status === 200 ? this.#options.maxBytes : MAX_ERROR_BYTES
    if (this.#length > limit) throw new SendError('too_large')
    this.#gathered.push(chunk)
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
