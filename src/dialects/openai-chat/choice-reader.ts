import type { JsonValue } from '@vouchgate/attestation'
import type { CanonicalEvent, FinishReason, JsonObject } from '../canonical.ts'
import type { Target } from '../dialect.ts'
import { wordOf } from './json.ts'
import { CallReader } from './call-reader.ts'
import { malformed, readContent, readFinish, readLogprobs } from './provider-answer.ts'
import { readDetails, type ReasoningDetail } from './reasoning.ts'
import { isObject, member, type Json } from '../json.ts'

const MAX_BLOCKS = 10_000

/** One answer of a stream, delta by delta. */
export class ChoiceReader {
  readonly index: number
  readonly #calls: CallReader
  #finish: FinishReason | null = null
  #stopSequence: string | null = null
  #blocks = 0
  /** Numbers of `reasoning_details`, and the block that each became. */
  readonly #details = new Map<number, number>()
  /** The block that reasoning without a number goes on in; null once something else was said. */
  #open: number | null = null

  constructor(index: number, target: Target) {
    this.index = index
    this.#calls = new CallReader(index, target)
  }

  get finished(): boolean {
    return this.#finish !== null
  }

  get finish(): FinishReason {
    const finish = this.#finish ?? 'stop'
    return finish === 'stop' && this.#calls.any ? 'tool_calls' : finish
  }

  read(choice: JsonValue): CanonicalEvent[] {
    const reason = wordOf(member(choice, 'finish_reason'))
    if (reason !== null) {
      this.#finish = readFinish(reason)
      this.#stopSequence = wordOf(member(choice, 'stop_reason'))
    }
    // A provider that does not stream sends the message as one chunk.
    const delta = member(choice, 'delta') ?? member(choice, 'message')
    if (!isObject(delta)) return []
    return [
      ...this.#reasoning(delta),
      ...this.#content(delta, member(choice, 'logprobs')),
      ...this.#refusal(delta),
      ...this.#toolCalls(delta),
    ]
  }

  close(): CanonicalEvent[] {
    return [
      ...this.#calls.close(),
      {
        type: 'finish',
        choice: this.index,
        reason: this.finish,
        stopSequence: this.#stopSequence,
      },
    ]
  }

  #reasoning(delta: JsonObject): CanonicalEvent[] {
    const details = readDetails(delta['reasoning_details'])
    const events = details.flatMap((detail) => this.#detail(detail))
    const text = wordOf(delta['reasoning_content']) ?? wordOf(delta['reasoning'])
    // The details say what the text says.
    if (text === null || details.some((detail) => detail.text !== '')) return events
    return [this.#thought(text), ...events]
  }

  #detail({ index, text, signature, encrypted, id }: ReasoningDetail): CanonicalEvent[] {
    if (text === '' && signature === null && encrypted === null) return []
    const block = this.#blockOf(index)
    const at = { choice: this.index, block }
    return [
      ...(text === '' ? [] : [{ type: 'reasoning', ...at, text } as const]),
      ...(signature === null && encrypted === null
        ? []
        : [{ type: 'reasoning_proof', ...at, signature, encrypted, id } as const]),
    ]
  }

  #blockOf(index: number | null): number {
    const known = index === null ? this.#open : this.#details.get(index)
    const block = known ?? this.#newBlock()
    if (index !== null) this.#details.set(index, block)
    this.#open = block
    return block
  }

  #newBlock(): number {
    if (this.#blocks >= MAX_BLOCKS) throw malformed()
    return this.#blocks++
  }

  #thought(text: string): CanonicalEvent {
    this.#open ??= this.#newBlock()
    return { type: 'reasoning', choice: this.index, block: this.#open, text }
  }

  #content(delta: JsonObject, logprobs: Json): CanonicalEvent[] {
    const tokens = readLogprobs(logprobs)
    return readContent(delta['content']).map((part): CanonicalEvent => {
      if (part.type === 'reasoning') return this.#thought(part.text)
      this.#open = null
      return {
        type: 'text',
        choice: this.index,
        text: part.type === 'text' ? part.text : '',
        logprobs: tokens,
      }
    })
  }

  #refusal(delta: JsonObject): CanonicalEvent[] {
    const text = wordOf(delta['refusal'])
    if (text === null) return []
    this.#open = null
    return [{ type: 'refusal', choice: this.index, text }]
  }

  #toolCalls(delta: JsonObject): CanonicalEvent[] {
    const events = this.#calls.read(delta)
    if (events.length > 0) this.#open = null
    return events
  }
}
