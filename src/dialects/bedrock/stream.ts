import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { CanonicalEvent } from '../canonical.ts'
import type { StreamDecoder, Target } from '../dialect.ts'
import { makeId } from '../ids.ts'
import { countAt, readBody, textAt } from '../loose.ts'
import { finishOf, isServerTool, stopSequenceOf, usageOf } from './answer.ts'
import { EventStreamParser, type EventStreamMessage } from './eventstream.ts'
import { bedrockFailure } from './failure.ts'
import { isObject, member } from '../json.ts'

/** A content block that is open. Bedrock counts blocks of every kind together; calls and thoughts are counted apart. */
type Block =
  | { readonly kind: 'call'; readonly call: number; empty: boolean }
  | { readonly kind: 'server_tool' }
  | { readonly kind: 'reasoning'; readonly block: number; signature: string; encrypted: string }

const MAX_OPEN = 1024
const MAX_PROOF = 8 << 20

/** ConverseStream. The end is `messageStop`; `metadata` with the usage comes before or after it. */
export class BedrockStream implements StreamDecoder {
  readonly #parser = new EventStreamParser()
  readonly #target: Target
  readonly #blocks = new Map<number, Block>()
  #events: CanonicalEvent[] = []
  #started = false
  #stopped = false
  #failed = false
  #calls = 0
  #thoughts = 0

  constructor(target: Target) {
    this.#target = target
  }

  push(chunk: Buffer): CanonicalEvent[] {
    for (const message of this.#parser.push(chunk)) if (!this.#failed) this.#message(message)
    const events = this.#events
    this.#events = []
    return events
  }

  end(): CanonicalEvent[] {
    if (this.#failed) return []
    if (!this.#stopped || !this.#parser.whole) throw new GatewayError('upstream_broken')
    return []
  }

  #message({ headers, payload }: EventStreamMessage): void {
    const type = headers.get(':message-type')
    if (type === 'exception' || type === 'error') return this.#fail(headers, payload)
    const value = readBody(payload)
    if (!isObject(value)) throw new GatewayError('upstream_malformed')
    this.#event(headers.get(':event-type') ?? '', value)
  }

  #fail(headers: ReadonlyMap<string, string>, payload: Buffer): void {
    this.#failed = true
    const name = headers.get(':exception-type') ?? headers.get(':error-code') ?? ''
    const told = headers.get(':error-message')
    const value = told === undefined ? readBody(payload) : { message: told }
    this.#events.push({ type: 'failure', failure: bedrockFailure(name, value, null) })
  }

  #event(type: string, value: JsonValue): void {
    this.#start()
    const index = countAt(value, 'contentBlockIndex') ?? 0
    if (type === 'contentBlockStart') this.#open(index, member(value, 'start'))
    else if (type === 'contentBlockDelta') this.#delta(index, member(value, 'delta'))
    else if (type === 'contentBlockStop') this.#close(index)
    else if (type === 'messageStop') this.#stop(value)
    else if (type === 'metadata') {
      const usage = usageOf(member(value, 'usage'))
      if (usage !== null) this.#events.push({ type: 'usage', usage })
    }
  }

  #start(): void {
    if (this.#started) return
    this.#started = true
    this.#events.push({
      type: 'start',
      id: makeId('converse-', this.#target),
      model: this.#target.model,
      created: this.#target.now(),
      usage: null,
    })
  }

  #open(index: number, start: JsonValue | undefined): void {
    this.#close(index)
    if (member(start, 'toolResult') !== undefined)
      return this.#remember(index, { kind: 'server_tool' })
    const toolUse = member(start, 'toolUse')
    if (!isObject(toolUse)) return
    if (isServerTool(toolUse)) return this.#remember(index, { kind: 'server_tool' })
    const name = textAt(toolUse, 'name')
    if (name === null) throw new GatewayError('upstream_malformed')
    const call = this.#calls++
    this.#remember(index, { kind: 'call', call, empty: true })
    const id = textAt(toolUse, 'toolUseId') ?? makeId('tooluse_', this.#target)
    this.#events.push({ type: 'tool_call', choice: 0, call, id, name, signature: null })
  }

  #delta(index: number, delta: JsonValue | undefined): void {
    const text = textAt(delta, 'text')
    if (text !== null && text !== '')
      this.#events.push({ type: 'text', choice: 0, text, logprobs: null })
    const toolUse = member(delta, 'toolUse')
    if (isObject(toolUse)) this.#input(index, textAt(toolUse, 'input') ?? '')
    const reasoning = member(delta, 'reasoningContent')
    if (isObject(reasoning)) this.#reasoning(index, reasoning)
  }

  #input(index: number, text: string): void {
    const block = this.#blocks.get(index)
    if (block === undefined) throw new GatewayError('upstream_malformed')
    if (block.kind !== 'call' || text === '') return
    block.empty = false
    this.#events.push({ type: 'tool_arguments', choice: 0, call: block.call, text })
  }

  #reasoning(index: number, delta: JsonValue): void {
    const known = this.#blocks.get(index)
    const block =
      known?.kind === 'reasoning'
        ? known
        : { kind: 'reasoning' as const, block: this.#thoughts++, signature: '', encrypted: '' }
    if (block !== known) this.#remember(index, block)
    block.signature += textAt(delta, 'signature') ?? ''
    block.encrypted += textAt(delta, 'redactedContent') ?? ''
    if (block.signature.length + block.encrypted.length > MAX_PROOF)
      throw new GatewayError('upstream_malformed')
    const text = textAt(delta, 'text') ?? ''
    if (text !== '') this.#events.push({ type: 'reasoning', choice: 0, block: block.block, text })
  }

  /** What of a block is known only when it is complete. */
  #close(index: number): void {
    const block = this.#blocks.get(index)
    this.#blocks.delete(index)
    if (block?.kind === 'call' && block.empty)
      this.#events.push({ type: 'tool_arguments', choice: 0, call: block.call, text: '{}' })
    if (block?.kind !== 'reasoning' || block.signature + block.encrypted === '') return
    this.#events.push({
      type: 'reasoning_proof',
      choice: 0,
      block: block.block,
      signature: block.signature === '' ? null : block.signature,
      encrypted: block.encrypted === '' ? null : block.encrypted,
      id: null,
    })
  }

  #stop(value: JsonValue): void {
    for (const index of this.#blocks.keys()) this.#close(index)
    if (this.#stopped) return
    this.#stopped = true
    const reason = finishOf(textAt(value, 'stopReason') ?? '', this.#calls > 0)
    const stopSequence = stopSequenceOf(value)
    this.#events.push({ type: 'finish', choice: 0, reason, stopSequence })
  }

  #remember(index: number, block: Block): void {
    if (this.#blocks.size >= MAX_OPEN) throw new GatewayError('upstream_malformed')
    this.#blocks.set(index, block)
  }
}
