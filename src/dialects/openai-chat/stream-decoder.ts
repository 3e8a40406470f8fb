import { GatewayError, type ErrorCode } from '../../errors.ts'
import type { CanonicalEvent, CanonicalUsage, JsonObject } from '../canonical.ts'
import type { StreamDecoder, Target } from '../dialect.ts'
import { SseParser, type SseEvent } from '../sse.ts'
import { ChoiceReader } from './choice-reader.ts'
import { failureOf } from './failure.ts'
import { listOf, parsed, wholeOf, wordOf } from './json.ts'
import { BROKEN_OFF, malformed, MAX_CHOICES, newId } from './provider-answer.ts'
import { readUsage } from './usage.ts'
import { isObject, member } from '../json.ts'

/**
 * Reads chunks of a chat completion. How an answer finished is told when the stream ends: providers repeat the reason,
 * send text after it, or an error.
 */
export class ChatStreamDecoder implements StreamDecoder {
  readonly #target: Target
  readonly #mustSayDone: boolean
  readonly #sse = new SseParser()
  readonly #choices = new Map<number, ChoiceReader>()
  #usage: CanonicalUsage | null = null
  #started = false
  #over = false

  constructor(target: Target, mustSayDone: boolean) {
    this.#target = target
    this.#mustSayDone = mustSayDone
  }

  push(chunk: Buffer): readonly CanonicalEvent[] {
    return this.#sse.push(chunk).flatMap((event) => this.#event(event))
  }

  end(): readonly CanonicalEvent[] {
    const events = lastEvents(this.#sse).flatMap((event) => this.#event(event, 'upstream_broken'))
    if (this.#over) return events
    if (this.#mustSayDone || !this.#isFinished()) throw new GatewayError('upstream_broken')
    return [...events, ...this.#close()]
  }

  #event({ data }: SseEvent, fault: ErrorCode = 'upstream_malformed'): CanonicalEvent[] {
    if (this.#over) return []
    if (data.trim() === '[DONE]') {
      if (!this.#isFinished()) throw new GatewayError('upstream_broken')
      return this.#close()
    }
    const chunk = parsed(data)
    if (!isObject(chunk)) throw new GatewayError(fault)
    const error = chunk['error']
    if (error === undefined || error === null) return this.#chunk(chunk)
    this.#over = true
    return [...this.#start(chunk), { type: 'failure', failure: failureOf(chunk) }]
  }

  #isFinished(): boolean {
    const choices = [...this.#choices.values()]
    return choices.length > 0 && choices.every((choice) => choice.finished)
  }

  #chunk(chunk: JsonObject): CanonicalEvent[] {
    const choices = listOf(chunk['choices'])
    this.#usage =
      readUsage(chunk['usage']) ?? readUsage(member(chunk['x_groq'], 'usage')) ?? this.#usage
    // Azure's first chunk judges the prompt and names nothing.
    if (choices.length === 0 && wordOf(chunk['id']) === null) return []
    const events = this.#start(chunk)
    for (const [at, choice] of choices.entries()) {
      events.push(...this.#choice(wholeOf(member(choice, 'index')) ?? at).read(choice))
    }
    return events
  }

  #start(chunk: JsonObject): CanonicalEvent[] {
    if (this.#started) return []
    this.#started = true
    return [
      {
        type: 'start',
        id: wordOf(chunk['id']) ?? newId('chatcmpl-', this.#target),
        model: wordOf(chunk['model']) ?? this.#target.model,
        created: wholeOf(chunk['created']) ?? this.#target.now(),
        usage: null,
      },
    ]
  }

  #choice(index: number): ChoiceReader {
    const known = this.#choices.get(index)
    if (known !== undefined) return known
    if (this.#choices.size >= MAX_CHOICES) throw malformed()
    const reader = new ChoiceReader(index, this.#target)
    this.#choices.set(index, reader)
    return reader
  }

  #close(): CanonicalEvent[] {
    this.#over = true
    const choices = [...this.#choices.values()].toSorted((a, b) => a.index - b.index)
    if (choices.some((choice) => choice.finish === 'error')) {
      return [{ type: 'failure', failure: BROKEN_OFF }]
    }
    const usage: CanonicalEvent[] =
      this.#usage === null ? [] : [{ type: 'usage', usage: this.#usage }]
    return [...choices.flatMap((choice) => choice.close()), ...usage]
  }
}

/** What the stream ended within. Cut off, it need not be text. */
export function lastEvents(sse: SseParser): SseEvent[] {
  try {
    return sse.end()
  } catch {
    throw new GatewayError('upstream_broken')
  }
}
