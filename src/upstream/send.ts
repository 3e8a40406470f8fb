import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { ChannelError } from '../../client/errors.ts'
import type { Prompt } from '../prompt.ts'
import { expose, type Sensitive } from '../sensitive.ts'

export type SendFailure =
  /** No connection, or it ended before a response began. */
  | 'unreachable'
  /** The peer does not hold the attested key; it has seen no byte. */
  | 'key_mismatch'
  /** What was verified has been refused or has expired while the request waited; the peer has seen no byte. */
  | 'withdrawn'
  | 'timeout'
  /** The response ended before it was complete. */
  | 'broken'
  | 'too_large'
  /** What came is no HTTP, or in an encoding that was not asked for. */
  | 'malformed'
  /** A reply in clear where it must be encrypted: somebody on the way took the encryption off. */
  | 'not_encrypted'
  /** An encrypted reply that the key of this exchange does not open, or that is not whole. */
  | 'undecryptable'
  /** The client went away. */
  | 'aborted'

export class SendError extends Error {
  override readonly name = 'SendError'
  readonly failure: SendFailure

  constructor(failure: SendFailure) {
    super(failure)
    this.failure = failure
  }
}

/** A prompt for a provider. */
export interface Message {
  /** The operation below the API's root: `/chat/completions`. */
  readonly operation: string
  readonly body: Prompt
  readonly stream: boolean
  readonly signal: AbortSignal
  /** Of the provider's dialect. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A message with where it goes and as whom. */
export interface Outbound {
  readonly message: Message
  readonly path: string
  /** The account's key, for a protocol that asks for more than one exchange with it; null where there is none. */
  readonly apiKey: Sensitive<string> | null
  /** The headers that carry the credential. */
  readonly authorize: () => Readonly<Record<string, string>>
  /** Beside those of every request, or instead of one of them. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Where a response goes, as it arrives. A method that throws a `SendError` aborts the exchange. */
export interface ResponseSink {
  /** The request is about to be written to a connection. */
  sent(): void
  head(status: number, headers: IncomingHttpHeaders): void
  /** False: take no more until `resume` is called. */
  data(chunk: Buffer, resume: () => void): boolean
}

/** Sends and feeds `sink` until the response has ended. Throws `SendError`. */
export function send(
  dispatcher: Dispatcher,
  outbound: Outbound,
  sink: ResponseSink,
): Promise<void> {
  const { body, stream, signal } = outbound.message
  return new Promise((resolve, reject) => {
    dispatcher.dispatch(
      {
        method: 'POST',
        path: outbound.path,
        body: expose(body),
        // Of the client's headers nothing is passed on but betas that are known: they can name the client.
        headers: {
          'content-type': 'application/json',
          accept: stream ? 'text/event-stream' : 'application/json',
          'accept-encoding': 'identity',
          ...outbound.message.headers,
          ...outbound.headers,
          ...outbound.authorize(),
        },
      },
      new Exchange(signal, sink, { resolve, reject }),
    )
  })
}

/** Early hints and the like come once or twice; each of them puts the time limit off. */
const MAX_INFORMATIONAL = 16

/** undici's codes of what it refuses before a response has begun. */
const NO_RESPONSE: ReadonlyMap<string, SendFailure> = new Map([
  ['UND_ERR_HEADERS_OVERFLOW', 'too_large'],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'malformed'],
])

interface Settle {
  readonly resolve: () => void
  readonly reject: (error: SendError) => void
}

/** undici's lowest interface: no stream stands between the socket and the sink. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal
  readonly #sink: ResponseSink
  readonly #settle: Settle
  #controller: Dispatcher.DispatchController | null = null
  #informational = 0
  #began = false

  constructor(signal: AbortSignal, sink: ResponseSink, settle: Settle) {
    this.#signal = signal
    this.#sink = sink
    this.#settle = settle
    signal.addEventListener('abort', this.#abort, { once: true })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#signal.aborted) this.#abort()
    else this.#sink.sent()
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (status < 200) {
      if (++this.#informational > MAX_INFORMATIONAL) throw new SendError('malformed')
      return
    }
    const { 'content-encoding': encoding = 'identity' } = headers
    if (encoding.toLowerCase() !== 'identity') throw new SendError('malformed')
    this.#began = true
    this.#sink.head(status, headers)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    try {
      if (!this.#sink.data(chunk, () => controller.resume())) controller.pause()
    } catch (error) {
      controller.abort(error instanceof SendError ? error : new SendError('broken'))
    }
  }

  onResponseEnd(): void {
    this.#signal.removeEventListener('abort', this.#abort)
    this.#settle.resolve()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#signal.removeEventListener('abort', this.#abort)
    this.#settle.reject(error instanceof SendError ? error : new SendError(this.#failure(error)))
  }

  readonly #abort = (): void => {
    this.#controller?.abort(new SendError('aborted'))
  }

  #failure(error: Error): SendFailure {
    if (error instanceof ChannelError) {
      if (error.kind === 'rejected') return 'key_mismatch'
      return error.code === 'channel_timeout' ? 'timeout' : 'unreachable'
    }
    const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
    if (code.endsWith('_TIMEOUT')) return 'timeout'
    if (this.#began) return 'broken'
    return NO_RESPONSE.get(code) ?? (error.name === 'HTTPParserError' ? 'malformed' : 'unreachable')
  }
}
