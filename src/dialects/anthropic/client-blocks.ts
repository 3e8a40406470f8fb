import type { CanonicalEvent, JsonObject } from '../canonical.ts'
import { ArgumentsEnd } from './arguments-end.ts'
import { callBlock, proofBlock } from './client-answer.ts'

export type WireEvent = JsonObject & { readonly type: string }

export type BlockEvent = Exclude<
  CanonicalEvent,
  { readonly type: 'start' | 'usage' | 'finish' | 'failure' }
>

type ProofEvent = Extract<BlockEvent, { type: 'reasoning_proof' }>

type Open =
  | { readonly kind: 'text' }
  | { readonly kind: 'thinking'; readonly block: number }
  | { readonly kind: 'call'; readonly call: number; readonly arguments: ArgumentsEnd }

/**
 * The blocks of a stream, one open at a time, as Anthropic sends them. Where a provider writes the arguments of two calls
 * in turns, what is not the open call's waits until that has come to its end.
 */
export class BlockWriter {
  #open: Open | null = null
  #index = -1
  #waiting: BlockEvent[] = []

  push(event: BlockEvent): WireEvent[] {
    if (this.#mustWait(event)) {
      this.#waiting.push(event)
      return []
    }
    const events = this.#write(event)
    return this.#waiting.length > 0 && this.#isComplete() ? [...events, ...this.#drain()] : events
  }

  end(): WireEvent[] {
    const events: WireEvent[] = []
    while (this.#waiting.length > 0) events.push(...this.#close(), ...this.#drain())
    return [...events, ...this.#close()]
  }

  #isComplete(): boolean {
    return this.#open?.kind !== 'call' || this.#open.arguments.complete
  }

  #mustWait(event: BlockEvent): boolean {
    if (this.#open?.kind !== 'call') return false
    const own = event.type === 'tool_arguments' && event.call === this.#open.call
    return !own && (this.#waiting.length > 0 || !this.#open.arguments.complete)
  }

  /** Each call that waits gets all that came for it before the next is begun. */
  #drain(): WireEvent[] {
    const waiting = this.#waiting
    this.#waiting = []
    const fragments = Map.groupBy(
      waiting.filter((event) => event.type === 'tool_arguments'),
      (event) => event.call,
    )
    const ordered = waiting.flatMap((event): BlockEvent[] => {
      if (event.type === 'tool_call') return [event, ...(fragments.get(event.call) ?? [])]
      return event.type === 'tool_arguments' ? [] : [event]
    })
    return ordered.flatMap((event) => this.push(event))
  }

  #write(event: BlockEvent): WireEvent[] {
    switch (event.type) {
      case 'text':
      case 'refusal':
        return event.text === ''
          ? []
          : [...this.#text(), this.#delta({ type: 'text_delta', text: event.text })]
      case 'reasoning':
        return event.text === ''
          ? []
          : [
              ...this.#thinking(event.block),
              this.#delta({ type: 'thinking_delta', thinking: event.text }),
            ]
      case 'reasoning_proof':
        return this.#proof(event)
      case 'tool_call':
        return this.#begin(callBlock(event, {}), {
          kind: 'call',
          call: event.call,
          arguments: new ArgumentsEnd(),
        })
      case 'tool_arguments':
        return this.#arguments(event.call, event.text)
    }
  }

  #text(): WireEvent[] {
    if (this.#open?.kind === 'text') return []
    return this.#begin({ type: 'text', text: '' }, { kind: 'text' })
  }

  #thinking(block: number): WireEvent[] {
    if (this.#open?.kind === 'thinking' && this.#open.block === block) return []
    const empty = { type: 'thinking', thinking: '', signature: '' }
    return this.#begin(empty, { kind: 'thinking', block })
  }

  #proof({ block, signature, encrypted, id }: ProofEvent): WireEvent[] {
    const proof = proofBlock({ text: '', signature, encrypted, id })
    if (proof['type'] === 'redacted_thinking') {
      return [...this.#begin(proof, { kind: 'thinking', block }), ...this.#close()]
    }
    const signed = { type: 'signature_delta', signature: proof['signature'] ?? '' }
    return [...this.#thinking(block), this.#delta(signed), ...this.#close()]
  }

  #arguments(call: number, text: string): WireEvent[] {
    // A call that was closed cannot get more; its arguments had come to their end.
    if (this.#open?.kind !== 'call' || this.#open.call !== call) return []
    this.#open.arguments.push(text)
    return [this.#delta({ type: 'input_json_delta', partial_json: text })]
  }

  #begin(block: JsonObject, open: Open): WireEvent[] {
    const closed = this.#close()
    this.#open = open
    this.#index++
    return [...closed, { type: 'content_block_start', index: this.#index, content_block: block }]
  }

  #delta(delta: JsonObject): WireEvent {
    return { type: 'content_block_delta', index: this.#index, delta }
  }

  #close(): WireEvent[] {
    if (this.#open === null) return []
    this.#open = null
    return [{ type: 'content_block_stop', index: this.#index }]
  }
}
