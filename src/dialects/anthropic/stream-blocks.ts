import type { CanonicalEvent, JsonObject } from '../canonical.ts'
import type { Target } from '../dialect.ts'
import { newId } from './answer.ts'
import { JSON_TOOL, unescapeName } from './names.ts'
import { membersOf, Must, textOf } from './read.ts'
import { isObject, type Json } from '../json.ts'

const must = new Must('upstream_malformed')
const MAX_BLOCKS = 4096

type Open =
  | { readonly kind: 'text' | 'unread' }
  | { readonly kind: 'thinking'; readonly block: number; signature: string }
  /** `input` is what the start of the block gave; it counts where no fragment comes. */
  | { readonly kind: 'call'; readonly call: number; readonly input: string; written: boolean }
  | { readonly kind: 'json'; readonly input: string; written: boolean }

const textEvents = (text: string): readonly CanonicalEvent[] =>
  text === '' ? [] : [{ type: 'text', choice: 0, text, logprobs: null }]

const thinkingEvents = (block: number, text: string): readonly CanonicalEvent[] =>
  text === '' ? [] : [{ type: 'reasoning', choice: 0, block, text }]

const inputText = (input: Json): string => (isObject(input) ? JSON.stringify(input) : '{}')

/** The blocks of one message in a stream, by Anthropic's index. */
export class StreamBlocks {
  readonly #target: Target
  readonly #open = new Map<number, Open>()
  #started = 0
  #thoughts = 0
  #calls = 0

  constructor(target: Target) {
    this.#target = target
  }

  get seen(): boolean {
    return this.#started > 0
  }

  get calls(): number {
    return this.#calls
  }

  start(event: JsonObject): readonly CanonicalEvent[] {
    const index = this.#index(event)
    if (this.#open.has(index) || ++this.#started > MAX_BLOCKS) must.fail()
    const block = must.object(event['content_block'])
    switch (textOf(block['type'])) {
      case 'text':
        this.#open.set(index, { kind: 'text' })
        return textEvents(textOf(block['text']))
      case 'thinking':
        return this.#thinking(index, block)
      case 'redacted_thinking':
        return this.#redacted(index, must.text(block['data']))
      case 'tool_use':
        return this.#tool(index, block)
      default:
        // Of tools that Anthropic runs itself, and of types to come.
        this.#open.set(index, { kind: 'unread' })
        return []
    }
  }

  delta(event: JsonObject): readonly CanonicalEvent[] {
    const open = this.#open.get(this.#index(event)) ?? must.fail()
    const delta = membersOf(event['delta'])
    switch (textOf(delta['type'])) {
      case 'text_delta':
        return open.kind === 'text' ? textEvents(must.text(delta['text'])) : refuse(open)
      case 'thinking_delta':
        return open.kind === 'thinking'
          ? thinkingEvents(open.block, must.text(delta['thinking']))
          : refuse(open)
      case 'signature_delta':
        if (open.kind !== 'thinking') return refuse(open)
        open.signature = must.text(delta['signature'])
        return []
      case 'input_json_delta':
        return fragment(open, must.text(delta['partial_json']))
      default:
        return []
    }
  }

  stop(event: JsonObject): readonly CanonicalEvent[] {
    const index = this.#index(event)
    const open = this.#open.get(index) ?? must.fail()
    this.#open.delete(index)
    return closing(open)
  }

  /** All that is still open, at the end of the message. */
  close(): readonly CanonicalEvent[] {
    const events = Array.from(this.#open.values(), closing).flat()
    this.#open.clear()
    return events
  }

  #index(event: JsonObject): number {
    return must.maybeCount(event['index'], 0) ?? must.fail()
  }

  #thinking(index: number, block: JsonObject): readonly CanonicalEvent[] {
    const number = this.#thoughts++
    this.#open.set(index, {
      kind: 'thinking',
      block: number,
      signature: textOf(block['signature']),
    })
    return thinkingEvents(number, textOf(block['thinking']))
  }

  #redacted(index: number, encrypted: string): readonly CanonicalEvent[] {
    this.#open.set(index, { kind: 'unread' })
    const block = this.#thoughts++
    return [{ type: 'reasoning_proof', choice: 0, block, signature: null, encrypted, id: null }]
  }

  #tool(index: number, block: JsonObject): readonly CanonicalEvent[] {
    const name = must.text(block['name'])
    const input = inputText(block['input'])
    if (name === JSON_TOOL) {
      this.#open.set(index, { kind: 'json', input, written: false })
      return []
    }
    const call = this.#calls++
    this.#open.set(index, { kind: 'call', call, input, written: false })
    const id = textOf(block['id']) || newId('toolu_', this.#target)
    return [{ type: 'tool_call', choice: 0, call, id, name: unescapeName(name), signature: null }]
  }
}

/** A delta of another type than its block. Blocks that are not read may get any. */
const refuse = (open: Open): readonly CanonicalEvent[] =>
  open.kind === 'unread' ? [] : must.fail()

function fragment(open: Open, text: string): readonly CanonicalEvent[] {
  if (open.kind !== 'call' && open.kind !== 'json') return refuse(open)
  if (text === '') return []
  open.written = true
  return open.kind === 'json'
    ? textEvents(text)
    : [{ type: 'tool_arguments', choice: 0, call: open.call, text }]
}

function closing(open: Open): readonly CanonicalEvent[] {
  switch (open.kind) {
    case 'text':
    case 'unread':
      return []
    case 'thinking': {
      const { block, signature } = open
      return signature === ''
        ? []
        : [{ type: 'reasoning_proof', choice: 0, block, signature, encrypted: null, id: null }]
    }
    case 'call':
    case 'json':
      // A tool without arguments sends one empty fragment, or none.
      return open.written ? [] : fragment(open, open.input)
  }
}
