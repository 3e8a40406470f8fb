import { GatewayError } from '../errors.ts'
import type {
  AssistantPart,
  CanonicalAnswer,
  CanonicalChoice,
  CanonicalEvent,
  CanonicalUsage,
  LogprobToken,
  ReasoningPart,
  ToolCallPart,
} from './canonical.ts'
import { ProviderError } from './dialect.ts'

type Writable<T> = { -readonly [K in keyof T]: T[K] }
type Event<T extends CanonicalEvent['type']> = Extract<CanonicalEvent, { type: T }>

/** One choice as it grows. */
class Choice {
  readonly #parts: Writable<AssistantPart>[] = []
  readonly #reasoning = new Map<number, Writable<ReasoningPart>>()
  readonly #calls = new Map<number, Writable<ToolCallPart>>()
  readonly #logprobs: LogprobToken[] = []
  #finish: Event<'finish'> | null = null

  take(event: Exclude<CanonicalEvent, Event<'start' | 'usage' | 'failure'>>): void {
    switch (event.type) {
      case 'text':
      case 'refusal':
        return this.#text(event)
      case 'reasoning':
      case 'reasoning_proof':
        return this.#think(event)
      case 'tool_call':
      case 'tool_arguments':
        return this.#call(event)
      case 'finish':
        this.#finish = event
    }
  }

  #text(event: Event<'text'> | Event<'refusal'>): void {
    if (event.type === 'text') for (const token of event.logprobs ?? []) this.#logprobs.push(token)
    const last = this.#parts.at(-1)
    if (last?.type === event.type) last.text += event.text
    else if (event.text !== '') this.#parts.push({ type: event.type, text: event.text })
  }

  #think(event: Event<'reasoning'> | Event<'reasoning_proof'>): void {
    const part = this.#block(event.block)
    if (event.type === 'reasoning') part.text += event.text
    else {
      part.signature = event.signature ?? part.signature
      part.encrypted = event.encrypted ?? part.encrypted
      part.id = event.id ?? part.id
    }
  }

  #call(event: Event<'tool_call'> | Event<'tool_arguments'>): void {
    if (event.type === 'tool_arguments') {
      const call = this.#calls.get(event.call)
      if (call !== undefined) call.arguments += event.text
      return
    }
    const { id, name, signature } = event
    const call = { type: 'tool_call' as const, id, name, arguments: '', signature }
    this.#calls.set(event.call, call)
    this.#parts.push(call)
  }

  done(index: number): CanonicalChoice {
    if (this.#finish === null) throw new GatewayError('upstream_malformed')
    return {
      index,
      parts: this.#parts,
      finish: this.#finish.reason,
      stopSequence: this.#finish.stopSequence,
      logprobs: this.#logprobs.length === 0 ? null : this.#logprobs,
    }
  }

  #block(number: number): Writable<ReasoningPart> {
    const found = this.#reasoning.get(number)
    if (found !== undefined) return found
    const made = {
      type: 'reasoning' as const,
      text: '',
      signature: null,
      encrypted: null,
      id: null,
    }
    this.#reasoning.set(number, made)
    this.#parts.push(made)
    return made
  }
}

/**
 * The whole answer that a stream's events amount to. Throws `ProviderError` where one of them is a failure, `upstream_malformed`
 * where they do not start or do not finish.
 */
export function collect(events: readonly CanonicalEvent[]): CanonicalAnswer {
  const choices = new Map<number, Choice>()
  const choice = (index: number): Choice => {
    const known = choices.get(index) ?? new Choice()
    choices.set(index, known)
    return known
  }
  let start: Event<'start'> | null = null
  let usage: CanonicalUsage | null = null
  for (const event of events) {
    if (event.type === 'failure') throw new ProviderError(event.failure)
    if (event.type === 'start') start = event
    if (event.type === 'usage' || event.type === 'start') usage = event.usage ?? usage
    else choice(event.choice).take(event)
  }
  if (start === null || choices.size === 0) throw new GatewayError('upstream_malformed')
  const { id, model, created } = start
  const ordered = [...choices].toSorted(([a], [b]) => a - b)
  return { id, model, created, choices: ordered.map(([index, one]) => one.done(index)), usage }
}
