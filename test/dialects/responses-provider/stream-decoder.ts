import { GatewayError, type ErrorCode } from '../../../src/errors.ts'
import type { CanonicalEvent, JsonObject } from '../../../src/dialects/canonical.ts'
import type { StreamDecoder, Target } from '../../../src/dialects/dialect.ts'
import { failureOf } from '../../../src/dialects/openai-chat/failure.ts'
import {
  argumentsText,
  parsed,
  textOf,
  wholeOf,
  wordOf,
} from '../../../src/dialects/openai-chat/json.ts'
import { thoughtSignature } from '../../../src/dialects/openai-chat/messages.ts'
import {
  malformed,
  MAX_CALLS,
  newId,
  readLogprobs,
} from '../../../src/dialects/openai-chat/provider-answer.ts'
import { lastEvents } from '../../../src/dialects/openai-chat/stream-decoder.ts'
import { SseParser, type SseEvent } from '../../../src/dialects/sse.ts'
import { readProof } from '../../../src/dialects/openai-responses/items.ts'
import { readUsage } from '../../../src/dialects/openai-responses/usage.ts'
import { readFinish, readHead } from './answer.ts'
import { isObject, member } from '../../../src/dialects/json.ts'

interface Call {
  readonly call: number
  hasArguments: boolean
}

interface Block {
  readonly block: number
  hasText: boolean
  /** Of the part that the last text belonged to. */
  part: number
}

const MAX_BLOCKS = 10_000

/**
 * Reads the events of a response. Items are told apart by `output_index`: their ids change within one stream at some
 * providers. The last event is `response.completed`, `.incomplete` or `.failed`; what ends without one broke.
 */
export class ResponsesStreamDecoder implements StreamDecoder {
  readonly #target: Target
  readonly #sse = new SseParser()
  readonly #calls = new Map<number, Call>()
  readonly #blocks = new Map<number, Block>()
  #started = false
  #over = false

  constructor(target: Target) {
    this.#target = target
  }

  push(chunk: Buffer): readonly CanonicalEvent[] {
    return this.#sse.push(chunk).flatMap((event) => this.#frame(event, 'upstream_malformed'))
  }

  end(): readonly CanonicalEvent[] {
    const events = lastEvents(this.#sse).flatMap((event) => this.#frame(event, 'upstream_broken'))
    if (!this.#over) throw new GatewayError('upstream_broken')
    return events
  }

  #frame({ data }: SseEvent, fault: ErrorCode): CanonicalEvent[] {
    // Clones of OpenAI end with `[DONE]` as well.
    if (this.#over || data.trim() === '[DONE]') return []
    const event = parsed(data)
    if (!isObject(event)) throw new GatewayError(fault)
    return this.#event(event)
  }

  #event(event: JsonObject): CanonicalEvent[] {
    const type = textOf(event['type']) ?? ''
    switch (type) {
      case 'response.output_text.delta':
        return this.#text(event)
      case 'response.refusal.delta': {
        const text = wordOf(event['delta'])
        return text === null ? [] : [{ type: 'refusal', choice: 0, text }]
      }
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        return this.#reasoning(event)
      case 'response.output_item.added':
        return this.#added(event)
      case 'response.function_call_arguments.delta':
        return this.#arguments(event, textOf(event['delta']) ?? '')
      case 'response.output_item.done':
        return this.#done(event)
      default:
        return this.#response(type, event)
    }
  }

  #response(type: string, event: JsonObject): CanonicalEvent[] {
    const response = isObject(event['response']) ? event['response'] : {}
    switch (type) {
      case 'response.created':
      case 'response.in_progress':
        return this.#start(response)
      case 'response.completed':
      case 'response.incomplete':
        return [...this.#start(response), ...this.#close(response)]
      case 'response.failed':
      case 'error':
        this.#over = true
        return [{ type: 'failure', failure: failureOf(type === 'error' ? event : response) }]
      default:
        return []
    }
  }

  #start(response: JsonObject): CanonicalEvent[] {
    if (this.#started) return []
    this.#started = true
    return [{ type: 'start', ...readHead(response, this.#target), usage: null }]
  }

  #close(response: JsonObject): CanonicalEvent[] {
    this.#over = true
    const reason = readFinish(response, this.#calls.size > 0)
    const usage = readUsage(response['usage'])
    return [
      ...this.#bare(),
      { type: 'finish', choice: 0, reason, stopSequence: null },
      ...(usage === null ? [] : [{ type: 'usage', usage } as const]),
    ]
  }

  /** No arguments are an empty object. */
  #bare(): CanonicalEvent[] {
    return [...this.#calls.values()]
      .filter((call) => !call.hasArguments)
      .map(({ call }) => ({ type: 'tool_arguments', choice: 0, call, text: '{}' }))
  }

  #text(event: JsonObject): CanonicalEvent[] {
    const text = wordOf(event['delta'])
    if (text === null) return []
    const tokens = readLogprobs({ content: event['logprobs'] ?? null })
    const logprobs = tokens === null || tokens.length === 0 ? null : tokens
    return [{ type: 'text', choice: 0, text, logprobs }]
  }

  #reasoning(event: JsonObject): CanonicalEvent[] {
    const text = wordOf(event['delta'])
    if (text === null) return []
    const block = this.#block(event)
    const part = wholeOf(event['summary_index']) ?? wholeOf(event['content_index']) ?? 0
    const gap = block.hasText && part !== block.part ? '\n\n' : ''
    block.hasText = true
    block.part = part
    return [{ type: 'reasoning', choice: 0, block: block.block, text: gap + text }]
  }

  #block(event: JsonObject): Block {
    const at = wholeOf(event['output_index']) ?? 0
    const known = this.#blocks.get(at)
    if (known !== undefined) return known
    if (this.#blocks.size >= MAX_BLOCKS) throw malformed()
    const block = { block: this.#blocks.size, hasText: false, part: 0 }
    this.#blocks.set(at, block)
    return block
  }

  #added(event: JsonObject): CanonicalEvent[] {
    const { item } = event
    if (member(item, 'type') !== 'function_call') return []
    const at = wholeOf(event['output_index']) ?? 0
    const name = wordOf(member(item, 'name'))
    if (name === null || this.#calls.has(at) || this.#calls.size >= MAX_CALLS) throw malformed()
    const call = this.#calls.size
    this.#calls.set(at, { call, hasArguments: false })
    return [
      {
        type: 'tool_call',
        choice: 0,
        call,
        id: wordOf(member(item, 'call_id')) ?? newId('call_', this.#target),
        name,
        signature: thoughtSignature(item),
      },
    ]
  }

  #arguments(event: JsonObject, text: string): CanonicalEvent[] {
    const call = this.#calls.get(wholeOf(event['output_index']) ?? 0)
    if (call === undefined) throw malformed()
    if (text === '') return []
    call.hasArguments = true
    return [{ type: 'tool_arguments', choice: 0, call: call.call, text }]
  }

  /** What a provider gives only when an item is complete: proofs, and arguments that it does not stream. */
  #done(event: JsonObject): CanonicalEvent[] {
    const { item } = event
    if (!isObject(item)) return []
    if (item['type'] === 'function_call') return this.#doneCall(event, item)
    const proof = readProof(item['encrypted_content'])
    if (item['type'] !== 'reasoning' || (proof.encrypted ?? proof.signature) === null) return []
    const { block } = this.#block(event)
    const id = wordOf(item['id'])
    return [{ type: 'reasoning_proof', choice: 0, block, ...proof, id }]
  }

  #doneCall(event: JsonObject, item: JsonObject): CanonicalEvent[] {
    const call = this.#calls.get(wholeOf(event['output_index']) ?? 0)
    const begun = call === undefined ? this.#added(event) : []
    if (call?.hasArguments === true) return begun
    return [...begun, ...this.#arguments(event, argumentsText(item['arguments']))]
  }
}
