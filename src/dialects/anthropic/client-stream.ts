import type { JsonValue } from '@vouchgate/attestation'
import type { ErrorCode } from '../../errors.ts'
import type { CanonicalEvent, CanonicalUsage, JsonObject, ProviderFailure } from '../canonical.ts'
import type { StreamEncoder } from '../dialect.ts'
import { sseFrame } from '../sse.ts'
import { BlockWriter } from './client-blocks.ts'
import { errorJson } from './client-error.ts'
import { stopReasonOf, type Finish } from './stop.ts'
import { wireUsage } from './usage.ts'

const NOTHING = Buffer.alloc(0)

type StartEvent = Extract<CanonicalEvent, { type: 'start' }>

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
    if (this.#done || ('choice' in event && event.choice !== 0)) return NOTHING
    switch (event.type) {
      case 'start':
        this.#usage = event.usage
        return Buffer.from(messageStart(event))
      case 'usage':
        this.#usage = event.usage
        return NOTHING
      case 'finish':
        if (event.reason === 'error') return this.fail('upstream_error', null)
        this.#finish = event
        return NOTHING
      case 'failure':
        return this.fail('upstream_error', event.failure)
      case 'text':
      case 'refusal':
      case 'reasoning':
      case 'reasoning_proof':
      case 'tool_call':
      case 'tool_arguments':
        return Buffer.from(this.#blocks.push(event).map(frame).join(''))
    }
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
