import type { JsonValue } from '@vouchgate/attestation'
import type { ErrorCode } from '../../errors.ts'
import type {
  CanonicalEvent,
  CanonicalUsage,
  FailureClass,
  JsonObject,
  ProviderFailure,
} from '../canonical.ts'
import type { StreamEncoder } from '../dialect.ts'
import { sseFrame } from '../sse.ts'
import { BlockWriter, type BlockEvent } from './client-blocks.ts'
import { errorJson } from './client-error.ts'
import { stopReasonOf, type Finish } from './stop.ts'
import { wireUsage } from './usage.ts'

const NOTHING = Buffer.alloc(0)

type StartEvent = Extract<CanonicalEvent, { type: 'start' }>
type FinishEvent = Extract<CanonicalEvent, { type: 'finish' }>

/** What a failure in the midst of a stream is for the client. */
const CODES: Readonly<Record<FailureClass, ErrorCode>> = {
  auth: 'upstream_credentials',
  quota: 'upstream_credentials',
  rate_limit: 'upstream_rate_limited',
  context_length: 'request_rejected',
  content_filter: 'request_rejected',
  overloaded: 'upstream_overloaded',
  bad_request: 'request_rejected',
  not_found: 'upstream_error',
  server: 'upstream_error',
}

const frame = (event: JsonObject & { readonly type: string }): string =>
  sseFrame(JSON.stringify(event), event.type)

const messageStart = ({ id, model, usage }: StartEvent): string =>
  frame({
    type: 'message_start',
    message: {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      // Where the provider counts only at its end, `message_delta` corrects it.
      usage: wireUsage(usage),
    },
  }) + frame({ type: 'ping' })

/** Writes one answer as Anthropic's stream. Of several choices this dialect has the first. */
export class MessagesEncoder implements StreamEncoder {
  readonly #blocks = new BlockWriter()
  #usage: CanonicalUsage | null = null
  #finish: Finish = { reason: 'stop', stopSequence: null }
  #done = false

  push(event: CanonicalEvent): Buffer {
    if (this.#done) return NOTHING
    if ('choice' in event) return event.choice === 0 ? this.#choice(event) : NOTHING
    if (event.type === 'failure') return this.fail(CODES[event.failure.class], event.failure)
    this.#usage = event.usage
    return event.type === 'start' ? Buffer.from(messageStart(event)) : NOTHING
  }

  #choice(event: BlockEvent | FinishEvent): Buffer {
    if (event.type !== 'finish') return Buffer.from(this.#blocks.push(event).map(frame).join(''))
    if (event.reason === 'error') return this.fail('upstream_error', null)
    this.#finish = event
    return NOTHING
  }

  end(): Buffer {
    if (this.#done) return NOTHING
    this.#done = true
    const stopSequence: JsonValue = this.#finish.stopSequence
    const last = [
      ...this.#blocks.end(),
      {
        type: 'message_delta',
        delta: { stop_reason: stopReasonOf(this.#finish), stop_sequence: stopSequence },
        usage: wireUsage(this.#usage),
      },
      { type: 'message_stop' },
    ]
    return Buffer.from(last.map(frame).join(''))
  }

  fail(code: ErrorCode, failure: ProviderFailure | null): Buffer {
    if (this.#done) return NOTHING
    this.#done = true
    return Buffer.from(sseFrame(errorJson(code, failure, null), 'error'))
  }
}
