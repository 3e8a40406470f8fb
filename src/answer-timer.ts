import type { Clock } from '@vouchgate/attestation'
import type { IncomingHttpHeaders } from 'node:http'
import type { Route } from './config/index.ts'
import type { RouteTimes } from './route-times.ts'
import { withWait } from './upstream/classify.ts'
import type { ResponseSink } from './upstream/send.ts'

/** Of shorter answers a rate says nothing. */
const MIN_MS = 20

/** Notes when an answer begins, how much there is of it and when to come again, on its way to `sink`. */
export class AnswerTimer implements ResponseSink {
  readonly #sink: ResponseSink
  readonly #times: RouteTimes
  readonly #clock: Clock
  #sentAt: number | null = null
  #begunAt: number | null = null
  #bytes = 0
  #ok = false

  constructor(sink: ResponseSink, times: RouteTimes, clock: Clock) {
    this.#sink = sink
    this.#times = times
    this.#clock = clock
  }

  sent(): void {
    this.#sentAt = this.#times.now()
    this.#sink.sent()
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    this.#ok = status < 300
    this.#sink.head(status, withWait(headers, this.#clock.now()))
  }

  data(chunk: Buffer, resume: () => void): boolean {
    this.#begunAt ??= this.#times.now()
    this.#bytes += chunk.length
    return this.#sink.data(chunk, resume)
  }

  /** The answer is whole. */
  note(route: Route): void {
    if (!this.#ok || this.#sentAt === null || this.#begunAt === null) return
    const ms = this.#times.now() - this.#begunAt
    const rate = ms < MIN_MS ? null : (1000 * this.#bytes) / ms
    this.#times.answered(route, this.#begunAt - this.#sentAt, rate)
  }
}
