import type { IncomingHttpHeaders } from 'node:http'
import {
  gather,
  MAX_HELD_BYTES,
  type Answer,
  type AnswerSink,
  type SinkOptions,
} from './answer-sink.ts'
import type {
  CanonicalEvent,
  CanonicalRequest,
  CanonicalUsage,
  ProviderFailure,
} from './dialects/canonical.ts'
import {
  ProviderError,
  type ClientDialect,
  type ProviderDialect,
  type StreamDecoder,
  type StreamEncoder,
  type Target,
} from './dialects/dialect.ts'
import { GatewayError, type ErrorCode } from './errors.ts'
import { Gathered } from './gathered.ts'
import { providerRefusal } from './provider-refusal.ts'
import { JSON_HEADERS, STREAM_HEADERS } from './response.ts'
import { failureCode } from './upstream/classify.ts'
import { SendError } from './upstream/send.ts'

export interface ConvertingOptions extends SinkOptions {
  readonly request: CanonicalRequest
  readonly client: ClientDialect
  readonly provider: ProviderDialect
  readonly target: Target
}

const EMPTY = Buffer.alloc(0)

/** Events after which a client has something of the answer, so that no other provider may begin anew. */
const CONTENT: ReadonlySet<CanonicalEvent['type']> = new Set([
  'text',
  'refusal',
  'reasoning',
  'reasoning_proof',
  'tool_call',
  'finish',
])

/** Reads one provider's answer in its dialect and writes it in the client's. */
export class ConvertingRelay implements AnswerSink {
  readonly #options: ConvertingOptions
  readonly #decoder: StreamDecoder
  readonly #encoder: StreamEncoder
  #status = 0
  #headers: IncomingHttpHeaders = {}
  readonly #gathered = new Gathered()
  #held: Buffer[] = []
  #heldBytes = 0
  #ended = false
  #refusal: GatewayError | null = null
  #chatId: string | null = null
  #usage: CanonicalUsage | null = null

  constructor(options: ConvertingOptions) {
    const { provider, client, request, target } = options
    this.#options = options
    this.#decoder = provider.stream(target)
    this.#encoder = client.stream(request)
  }

  sent(): void {
    this.#options.onSent()
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
  }

  data(chunk: Buffer, resume: () => void): boolean {
    if (this.#ended) return true
    if (this.#streaming) return this.#read(chunk, resume)
    gather(this.#gathered, chunk, this.#ok, this.#options.maxBytes)
    return true
  }

  complete(): void {
    if (this.#ended) return
    if (this.#streaming) this.#endStream()
    else this.#sendWhole(this.#gathered.take())
  }

  fail(failure: SendError['failure']): void {
    if (this.#ended) return
    const { response, seal } = this.#options
    if (failure === 'aborted') {
      this.#ended = true
      seal(this.#answer('client_abort', null), response.emittedHash())
      return
    }
    if (this.#refusal !== null && !response.begun) throw this.#refusal
    this.#broken(this.#refusal?.code ?? failureCode(failure), null)
  }

  /** What is wrong with the answer ends the exchange, and is told by `fail`. */
  #read(chunk: Buffer, resume: () => void): boolean {
    try {
      return this.#pass(this.#decoder.push(chunk), resume)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      this.#refusal = error
      throw new SendError('broken')
    }
  }

  get #ok(): boolean {
    return this.#status >= 200 && this.#status < 300
  }

  get #streaming(): boolean {
    return this.#ok && this.#options.request.stream
  }

  #pass(events: readonly CanonicalEvent[], resume: () => void): boolean {
    const { response } = this.#options
    for (const event of events) {
      if (event.type === 'failure') {
        this.#broken(providerRefusal(event.failure).code, event.failure)
        return true
      }
      this.#note(event)
      this.#hold(this.#encoder.push(event))
      if (!response.begun && CONTENT.has(event.type)) response.begin(200, STREAM_HEADERS)
    }
    if (!response.begun) {
      if (this.#heldBytes > MAX_HELD_BYTES) throw new SendError('too_large')
      return true
    }
    const bytes = this.#release()
    if (bytes.length === 0) return true
    const ready = response.write(bytes)
    if (!ready) response.onDrain(resume)
    return ready
  }

  #note(event: CanonicalEvent): void {
    if (event.type === 'start') this.#chatId = event.id
    // Where a stream breaks, the counts of its start are the last ones.
    if (event.type === 'start' || event.type === 'usage') this.#usage = event.usage ?? this.#usage
  }

  #hold(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  #release(): Buffer {
    const [only = EMPTY, ...more] = this.#held
    const bytes = more.length === 0 ? only : Buffer.concat(this.#held)
    this.#held = []
    this.#heldBytes = 0
    return bytes
  }

  #endStream(): void {
    const { response, seal } = this.#options
    let last: readonly CanonicalEvent[]
    try {
      last = this.#decoder.end()
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      this.#broken(error.code, null)
      return
    }
    this.#pass(last, () => undefined)
    if (this.#ended) return
    this.#hold(this.#encoder.end())
    if (!response.begun) response.begin(200, STREAM_HEADERS)
    this.#ended = true
    response.end(this.#release(), (hash) => seal(this.#answer('complete', null), hash))
  }

  #sendWhole(body: Buffer): void {
    const { provider, client, request, target, response, seal } = this.#options
    if (!this.#ok) throw providerRefusal(provider.classify(this.#status, this.#headers, body))
    const answer = decoded(() => provider.decode(body, target))
    this.#chatId = answer.id
    this.#usage = answer.usage
    this.#ended = true
    response.send(200, JSON_HEADERS, client.encode(answer, request), (hash) =>
      seal(this.#answer('complete', null), hash),
    )
  }

  /** An error the client's SDK raises, and no end; before the first content another provider can be asked instead. */
  #broken(code: ErrorCode, failure: ProviderFailure | null): void {
    const { response, seal } = this.#options
    if (!response.begun) {
      throw failure === null ? new GatewayError(code) : providerRefusal(failure)
    }
    this.#ended = true
    const tail = Buffer.concat([this.#release(), this.#encoder.fail(code, failure)])
    response.end(tail, (hash) => seal(this.#answer('upstream_error', code), hash))
  }

  #answer(end: Answer['end'], code: ErrorCode | null): Answer {
    return { end, code, chatId: this.#chatId, usage: this.#usage }
  }
}

function decoded<T>(decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    throw error instanceof ProviderError ? providerRefusal(error.failure) : error
  }
}
