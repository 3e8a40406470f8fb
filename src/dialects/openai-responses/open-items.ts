import type { JsonValue } from '@vouchgate/attestation'
import type { CanonicalEvent, JsonObject, LogprobToken, ReasoningPart } from '../canonical.ts'
import {
  callItem,
  messageItem,
  reasoningItem,
  refusalContent,
  summaryContent,
  textContent,
  writeToken,
  type itemId,
} from './answer.ts'

/** An event before it is numbered. `secret`: the texts whose length its frame may not give away. */
export interface Emitted {
  readonly type: string
  readonly secret?: readonly string[]
  readonly [member: string]: JsonValue | undefined
}

/** Where an item stands in `output`, and its id by kind. */
interface Place {
  readonly at: number
  readonly id: ReturnType<typeof itemId>
}

/** An item of `output` that is being written. */
export interface OpenItem {
  readonly place: Place
  complete(): { readonly events: Emitted[]; readonly done: JsonObject }
}

const added = (at: number, item: JsonObject): Emitted => ({
  type: 'response.output_item.added',
  output_index: at,
  item,
})

/** A content part of a message, as far as it has come. */
interface Part {
  readonly type: 'text' | 'refusal'
  text: string
  readonly logprobs: LogprobToken[]
}

const written = ({ type, text, logprobs }: Part): JsonObject =>
  type === 'text' ? textContent(text, logprobs) : refusalContent(text)

export class OpenMessage implements OpenItem {
  readonly place: Place
  readonly #id: string
  readonly #parts: Part[] = []

  constructor(place: Place) {
    this.place = place
    this.#id = place.id('msg')
  }

  begin(): Emitted[] {
    return [added(this.place.at, messageItem([], this.#id, 'in_progress'))]
  }

  text(delta: string, logprobs: readonly LogprobToken[]): Emitted[] {
    const { part, events } = this.#part('text')
    part.text += delta
    part.logprobs.push(...logprobs)
    const told = logprobs.map(writeToken)
    const secret = told.length === 0 ? [delta] : [delta, JSON.stringify(told)]
    const said = { ...this.#where(), delta, logprobs: told, secret }
    return [...events, { type: 'response.output_text.delta', ...said }]
  }

  refusal(delta: string): Emitted[] {
    const { part, events } = this.#part('refusal')
    part.text += delta
    const said = { ...this.#where(), delta, secret: [delta] }
    return [...events, { type: 'response.refusal.delta', ...said }]
  }

  complete(): ReturnType<OpenItem['complete']> {
    return {
      events: this.#closePart(),
      done: messageItem(this.#parts.map(written), this.#id, 'completed'),
    }
  }

  #where(): { item_id: string; output_index: number; content_index: number } {
    return {
      item_id: this.#id,
      output_index: this.place.at,
      content_index: this.#parts.length - 1,
    }
  }

  #part(type: Part['type']): { part: Part; events: Emitted[] } {
    const last = this.#parts.at(-1)
    if (last?.type === type) return { part: last, events: [] }
    const events = this.#closePart()
    const part: Part = { type, text: '', logprobs: [] }
    this.#parts.push(part)
    events.push({ type: 'response.content_part.added', ...this.#where(), part: written(part) })
    return { part, events }
  }

  #closePart(): Emitted[] {
    const part = this.#parts.at(-1)
    if (part === undefined) return []
    const where = this.#where()
    const logprobs = part.logprobs.map(writeToken)
    const done: Emitted =
      part.type === 'text'
        ? { type: 'response.output_text.done', ...where, text: part.text, logprobs }
        : { type: 'response.refusal.done', ...where, refusal: part.text }
    return [done, { type: 'response.content_part.done', ...where, part: written(part) }]
  }
}

export class OpenReasoning implements OpenItem {
  readonly place: Place
  readonly block: number
  #text = ''
  #begun = false
  #proof: Pick<ReasoningPart, 'signature' | 'encrypted' | 'id'> = {
    signature: null,
    encrypted: null,
    id: null,
  }

  constructor(place: Place, block: number) {
    this.place = place
    this.block = block
  }

  text(delta: string): Emitted[] {
    if (delta === '') return []
    const events = this.#begin()
    if (this.#text === '') {
      const part = summaryContent('')
      events.push({ type: 'response.reasoning_summary_part.added', ...this.#where(), part })
    }
    this.#text += delta
    const said = { ...this.#where(), delta, secret: [delta] }
    return [...events, { type: 'response.reasoning_summary_text.delta', ...said }]
  }

  prove(proof: Extract<CanonicalEvent, { type: 'reasoning_proof' }>): Emitted[] {
    const { signature, encrypted, id } = this.#proof
    // The id of an item that has begun was told.
    const named = this.#begun ? id : (proof.id ?? id)
    this.#proof = {
      signature: proof.signature ?? signature,
      encrypted: proof.encrypted ?? encrypted,
      id: named,
    }
    return this.#begin()
  }

  complete(): ReturnType<OpenItem['complete']> {
    const where = this.#where()
    const part = summaryContent(this.#text)
    const events: Emitted[] =
      this.#text === ''
        ? []
        : [
            { type: 'response.reasoning_summary_text.done', ...where, text: this.#text },
            { type: 'response.reasoning_summary_part.done', ...where, part },
          ]
    return { events, done: this.#item({ text: this.#text, ...this.#proof }) }
  }

  #begin(): Emitted[] {
    if (this.#begun) return []
    this.#begun = true
    const { id } = this.#proof
    return [added(this.place.at, this.#item({ text: '', signature: null, encrypted: null, id }))]
  }

  #item(part: Omit<ReasoningPart, 'type'>): JsonObject {
    return reasoningItem({ type: 'reasoning', ...part }, this.place.id('rs'))
  }

  #where(): { item_id: string; output_index: number; summary_index: number } {
    const id = this.#proof.id ?? this.place.id('rs')
    return { item_id: id, output_index: this.place.at, summary_index: 0 }
  }
}

export class OpenCall implements OpenItem {
  readonly place: Place
  readonly #id: string
  readonly #call: Extract<CanonicalEvent, { type: 'tool_call' }>
  #text = ''

  constructor(place: Place, call: Extract<CanonicalEvent, { type: 'tool_call' }>) {
    this.place = place
    this.#id = place.id('fc')
    this.#call = call
  }

  begin(): Emitted[] {
    return [added(this.place.at, this.#item('in_progress', ''))]
  }

  arguments(delta: string): Emitted[] {
    this.#text += delta
    const where = { item_id: this.#id, output_index: this.place.at }
    return [{ type: 'response.function_call_arguments.delta', ...where, delta, secret: [delta] }]
  }

  /** No arguments are an empty object. */
  complete(): ReturnType<OpenItem['complete']> {
    const events = this.#text === '' ? this.arguments('{}') : []
    const { name } = this.#call
    const where = { item_id: this.#id, output_index: this.place.at, name }
    return {
      events: [
        ...events,
        { type: 'response.function_call_arguments.done', ...where, arguments: this.#text },
      ],
      done: this.#item('completed', this.#text),
    }
  }

  #item(status: 'in_progress' | 'completed', text: string): JsonObject {
    const { id, name, signature } = this.#call
    return callItem({ type: 'tool_call', id, name, arguments: text, signature }, this.#id, status)
  }
}
