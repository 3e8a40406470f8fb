import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { CanonicalEvent } from '../canonical.ts'
import type { StreamDecoder, Target } from '../dialect.ts'
import { makeId } from '../ids.ts'
import { countAt, readJson, textAt } from '../loose.ts'
import { lastFrame } from '../last-frame.ts'
import { SseParser } from '../sse.ts'
import { finishOf, usageOf } from './answer.ts'
import { isList, isObject, member } from '../json.ts'

interface Call {
  readonly call: number
  empty: boolean
}

const MAX_CALLS = 1024
const PLAN = 'plan'

/** Server-sent events with a `type` of their own; `message-end` is the last. */
export class CohereStream implements StreamDecoder {
  readonly #sse = new SseParser()
  readonly #target: Target
  readonly #calls = new Map<number, Call>()
  #open: number | null = null
  #count = 0
  #blocks = 0
  /** What the last thought belongs to: the plan, or the content of that number. */
  #thinking: number | typeof PLAN | null = null
  #started = false
  #ended = false

  constructor(target: Target) {
    this.#target = target
  }

  push(chunk: Buffer): CanonicalEvent[] {
    return this.#read(this.#sse.push(chunk))
  }

  end(): CanonicalEvent[] {
    const events = this.#read(lastFrame(this.#sse))
    if (!this.#ended) throw new GatewayError('upstream_broken')
    return events
  }

  #read(frames: readonly { readonly data: string }[]): CanonicalEvent[] {
    const events: CanonicalEvent[] = []
    for (const { data } of frames) {
      if (this.#ended) break
      const value = readJson(data)
      if (!isObject(value)) throw new GatewayError('upstream_malformed')
      this.#start(value, events)
      this.#event(value, events)
    }
    return events
  }

  #start(value: JsonValue, events: CanonicalEvent[]): void {
    if (this.#started) return
    this.#started = true
    const id = textAt(value, 'id') ?? makeId('chat-', this.#target)
    const { model } = this.#target
    events.push({ type: 'start', id, model, created: this.#target.now(), usage: null })
  }

  #event(value: JsonValue, events: CanonicalEvent[]): void {
    const index = countAt(value, 'index') ?? 0
    const message = member(member(value, 'delta'), 'message')
    switch (textAt(value, 'type') ?? '') {
      case 'content-start':
      case 'content-delta':
        return this.#content(index, member(message, 'content'), events)
      case 'tool-plan-delta':
        return this.#thought(PLAN, textAt(message, 'tool_plan') ?? '', events)
      case 'tool-call-start':
        return this.#begin(index, this.#toolCall(message), events)
      case 'tool-call-delta':
        return this.#goOn(index, this.#toolCall(message), events)
      case 'tool-call-end':
        return this.#close(events)
      case 'message-end':
        return this.#end(member(value, 'delta'), events)
    }
  }

  #toolCall(message: JsonValue | undefined): JsonValue | undefined {
    const calls = member(message, 'tool_calls')
    return isList(calls) ? calls[0] : calls
  }

  #content(index: number, content: JsonValue | undefined, events: CanonicalEvent[]): void {
    const text = textAt(content, 'text') ?? ''
    this.#thought(index, textAt(content, 'thinking') ?? '', events)
    if (text === '') return
    this.#thinking = null
    events.push({ type: 'text', choice: 0, text, logprobs: null })
  }

  #thought(source: number | typeof PLAN, text: string, events: CanonicalEvent[]): void {
    if (text === '') return
    if (this.#thinking !== source) this.#blocks++
    this.#thinking = source
    events.push({ type: 'reasoning', choice: 0, block: this.#blocks - 1, text })
  }

  #begin(index: number, call: JsonValue | undefined, events: CanonicalEvent[]): void {
    this.#close(events)
    const name = textAt(member(call, 'function'), 'name')
    if (name === null || this.#count >= MAX_CALLS) throw new GatewayError('upstream_malformed')
    const id = textAt(call, 'id') ?? makeId('call_', this.#target)
    const number = this.#count++
    this.#calls.set(index, { call: number, empty: true })
    this.#open = index
    this.#thinking = null
    events.push({ type: 'tool_call', choice: 0, call: number, id, name, signature: null })
    this.#goOn(index, call, events)
  }

  #goOn(index: number, piece: JsonValue | undefined, events: CanonicalEvent[]): void {
    const known = this.#calls.get(index)
    if (known === undefined) throw new GatewayError('upstream_malformed')
    const text = textAt(member(piece, 'function'), 'arguments') ?? ''
    // `null` is how Cohere writes that there are none.
    if (text === '' || (known.empty && text === 'null')) return
    known.empty = false
    events.push({ type: 'tool_arguments', choice: 0, call: known.call, text })
  }

  #close(events: CanonicalEvent[]): void {
    const known = this.#open === null ? undefined : this.#calls.get(this.#open)
    this.#open = null
    if (known?.empty === true)
      events.push({ type: 'tool_arguments', choice: 0, call: known.call, text: '{}' })
  }

  #end(delta: JsonValue | undefined, events: CanonicalEvent[]): void {
    this.#close(events)
    this.#ended = true
    const reason = finishOf(textAt(delta, 'finish_reason') ?? '')
    events.push({ type: 'finish', choice: 0, reason, stopSequence: null })
    const usage = usageOf(member(delta, 'usage'))
    if (usage !== null) events.push({ type: 'usage', usage })
  }
}
