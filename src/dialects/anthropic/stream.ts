import { GatewayError } from '../../errors.ts'
import type { CanonicalEvent, JsonObject } from '../canonical.ts'
import type { StreamDecoder, Target } from '../dialect.ts'
import { SseParser, type SseEvent } from '../sse.ts'
import { newId, refusalOf } from './answer.ts'
import { StreamBlocks } from './stream-blocks.ts'
import { failureWithin } from './failure.ts'
import { membersOf, Must, parseShallow, textOf } from './read.ts'
import { finishOf } from './stop.ts'
import { UsageCounts } from './usage.ts'

const must = new Must('upstream_malformed')

/** Reads Anthropic's stream: `message_start`, blocks one after the other, `message_delta`, `message_stop`. */
export class AnthropicStream implements StreamDecoder {
  readonly #target: Target
  readonly #parser = new SseParser()
  readonly #usage = new UsageCounts()
  readonly #blocks: StreamBlocks
  #state: 'before' | 'within' | 'after' = 'before'
  #stopReason = ''
  #stopSequence: string | null = null
  #refusal = ''

  constructor(target: Target) {
    this.#target = target
    this.#blocks = new StreamBlocks(target)
  }

  push(chunk: Buffer): readonly CanonicalEvent[] {
    return this.#read(this.#parser.push(chunk))
  }

  end(): readonly CanonicalEvent[] {
    const events = this.#last()
    if (this.#state !== 'after') throw new GatewayError('upstream_broken')
    return events
  }

  /** A frame that the connection ended within may be cut: unreadable, it does not end the stream either. */
  #last(): CanonicalEvent[] {
    try {
      return this.#read(this.#parser.end())
    } catch {
      return []
    }
  }

  #read(frames: readonly SseEvent[]): CanonicalEvent[] {
    return frames.flatMap((frame) => {
      // Nothing counts after the end; some servers add OpenAI's `[DONE]`.
      if (this.#state === 'after' || frame.data === '[DONE]') return []
      const event = must.object(parseShallow(frame.data, must))
      return this.#event(textOf(event['type']) || frame.event, event)
    })
  }

  #event(type: string, event: JsonObject): readonly CanonicalEvent[] {
    switch (type) {
      case 'message_start':
        return this.#start(must.object(event['message']))
      case 'content_block_start':
        return this.#within().start(event)
      case 'content_block_delta':
        return this.#within().delta(event)
      case 'content_block_stop':
        return this.#within().stop(event)
      case 'message_delta':
        return this.#delta(event)
      case 'message_stop':
        return this.#stop()
      case 'error':
        this.#state = 'after'
        return [{ type: 'failure', failure: failureWithin(event['error']) }]
      default:
        return []
    }
  }

  #within(): StreamBlocks {
    return this.#state === 'within' ? this.#blocks : must.fail()
  }

  #start(message: JsonObject): readonly CanonicalEvent[] {
    const again = this.#state === 'within'
    if (again && this.#blocks.seen) return this.#restarted()
    this.#state = 'within'
    this.#usage.read(message['usage'])
    if (again) return []
    return [
      {
        type: 'start',
        id: textOf(message['id']) || newId('msg_', this.#target),
        model: textOf(message['model']) || this.#target.model,
        created: this.#target.now(),
        usage: this.#usage.canonical,
      },
    ]
  }

  /** A proxy before the provider has begun anew in the midst of the answer. What was sent cannot be taken back. */
  #restarted(): readonly CanonicalEvent[] {
    this.#state = 'after'
    const failure = {
      class: 'server',
      status: 502,
      retryAfterSeconds: null,
      message: null,
    } as const
    return [{ type: 'failure', failure }]
  }

  #delta(event: JsonObject): readonly CanonicalEvent[] {
    this.#within()
    const delta = membersOf(event['delta'])
    this.#stopReason = textOf(delta['stop_reason']) || this.#stopReason
    this.#stopSequence = textOf(delta['stop_sequence']) || this.#stopSequence
    this.#refusal = refusalOf(delta['stop_details']) || this.#refusal
    this.#usage.read(event['usage'])
    return []
  }

  #stop(): readonly CanonicalEvent[] {
    const events = this.#within().close()
    this.#state = 'after'
    const finish = finishOf(this.#stopReason, this.#stopSequence, this.#blocks.calls > 0)
    const usage = this.#usage.canonical
    return [
      ...events,
      ...(this.#refusal === ''
        ? []
        : [{ type: 'refusal', choice: 0, text: this.#refusal } as const]),
      { type: 'finish', choice: 0, ...finish },
      ...(usage === null ? [] : [{ type: 'usage', usage } as const]),
    ]
  }
}
