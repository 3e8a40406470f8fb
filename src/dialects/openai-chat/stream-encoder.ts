import type { ErrorCode } from '../../errors.ts'
import type {
  CanonicalEvent,
  CanonicalRequest,
  CanonicalUsage,
  JsonObject,
  ProviderFailure,
} from '../canonical.ts'
import type { StreamEncoder } from '../dialect.ts'
import { sseFrame } from '../sse.ts'
import { writeFinish, writeLogprobs, writeSignature } from './answer.ts'
import { writeError } from './error.ts'
import { obfuscation, wantedPad, type Pad } from './pad.ts'
import { writeDetails } from './reasoning.ts'
import { writeUsage } from './usage.ts'

type Event<T extends CanonicalEvent['type']> = Extract<CanonicalEvent, { type: T }>

const NOTHING = Buffer.alloc(0)

/** Writes chunks of a chat completion. After an error nothing is written any more, least of all `[DONE]`. */
export class ChatStreamEncoder implements StreamEncoder {
  readonly #withUsage: boolean
  readonly #pad: Pad | null
  /** What every chunk says alike. */
  #head: JsonObject
  #usage: CanonicalUsage | null = null
  readonly #begun = new Set<number>()
  /** Calls that no argument has come for, by choice and number. */
  readonly #bare = new Map<number, Set<number>>()
  #failed = false

  constructor(request: CanonicalRequest, pad: Pad | null) {
    this.#withUsage = request.streamUsage
    this.#pad = wantedPad(pad, request)
    this.#head = head('', 0, request.model)
  }

  push(event: CanonicalEvent): Buffer {
    if (this.#failed) return NOTHING
    if (event.type === 'start') return this.#start(event)
    if (event.type === 'usage') {
      this.#usage = event.usage
      return NOTHING
    }
    if (event.type === 'failure') return this.fail('upstream_error', event.failure)
    if (event.type === 'finish' && event.reason === 'error') {
      return this.fail('upstream_error', null)
    }
    const frames = [...this.#role(event.choice), ...this.#frames(event)]
    return Buffer.from(frames.join(''))
  }

  end(): Buffer {
    if (this.#failed) return NOTHING
    const usage = this.#withUsage && this.#usage !== null ? [this.#usageFrame(this.#usage)] : []
    return Buffer.from([...usage, sseFrame('[DONE]')].join(''))
  }

  fail(code: ErrorCode, failure: ProviderFailure | null): Buffer {
    if (this.#failed) return NOTHING
    this.#failed = true
    return Buffer.from(sseFrame(JSON.stringify({ error: writeError(code, failure) })))
  }

  #start(event: Event<'start'>): Buffer {
    this.#head = head(event.id, event.created, event.model)
    this.#usage = event.usage
    return Buffer.from(this.#role(0).join(''))
  }

  /** The first chunk of a choice says who speaks. */
  #role(choice: number): string[] {
    if (this.#begun.has(choice)) return []
    this.#begun.add(choice)
    return [this.#frame(choice, { role: 'assistant', content: '', refusal: null }, [])]
  }

  #frames(event: Exclude<CanonicalEvent, Event<'start' | 'usage' | 'failure'>>): string[] {
    const { choice } = event
    switch (event.type) {
      case 'text':
        return [this.#text(event)]
      case 'refusal':
        return [this.#frame(choice, { refusal: event.text }, [event.text])]
      case 'reasoning':
        return [this.#reasoning(event)]
      case 'reasoning_proof':
        return this.#proof(event)
      case 'tool_call':
        return [this.#call(event)]
      case 'tool_arguments':
        if (event.text !== '') this.#bare.get(choice)?.delete(event.call)
        return [this.#arguments(choice, event.call, event.text)]
      case 'finish':
        return this.#finish(event)
    }
  }

  #text({ choice, text, logprobs }: Event<'text'>): string {
    const said = writeLogprobs(logprobs)
    const texts = said === null ? [text] : [text, JSON.stringify(said)]
    return this.#frame(choice, { content: text }, texts, { logprobs: said })
  }

  #reasoning({ choice, block, text }: Event<'reasoning'>): string {
    const details = writeDetails({ text, signature: null, encrypted: null, id: null }, block)
    return this.#frame(choice, { reasoning_content: text, reasoning_details: details }, [
      text,
      text,
    ])
  }

  #proof({ choice, block, signature, encrypted, id }: Event<'reasoning_proof'>): string[] {
    const details = writeDetails({ text: '', signature, encrypted, id }, block)
    if (details.length === 0) return []
    const texts = [signature ?? '', encrypted ?? '']
    return [this.#frame(choice, { reasoning_details: details }, texts)]
  }

  #call({ choice, call, id, name, signature }: Event<'tool_call'>): string {
    const bare = this.#bare.get(choice) ?? new Set()
    this.#bare.set(choice, bare.add(call))
    const named = { id, type: 'function', function: { name, arguments: '' } }
    const delta = { tool_calls: [{ index: call, ...named, ...writeSignature(signature) }] }
    return this.#frame(choice, delta, [id, name, signature ?? ''])
  }

  #arguments(choice: number, call: number, text: string): string {
    const delta = { tool_calls: [{ index: call, function: { arguments: text } }] }
    return this.#frame(choice, delta, [text])
  }

  /** Clients parse the arguments once the calls are complete, and the empty text is no JSON. */
  #finish({ choice, reason }: Event<'finish'>): string[] {
    const bare = [...(this.#bare.get(choice) ?? [])]
    this.#bare.delete(choice)
    return [
      ...bare.map((call) => this.#arguments(choice, call, '{}')),
      this.#frame(choice, {}, [], { finish_reason: writeFinish(reason) }),
    ]
  }

  #frame(
    index: number,
    delta: JsonObject,
    texts: readonly string[],
    more: { logprobs?: JsonObject | null; finish_reason?: string } = {},
  ): string {
    const choice = { index, delta, logprobs: null, finish_reason: null, ...more }
    const usage = this.#withUsage ? { usage: null } : {}
    const padding = obfuscation(this.#pad, texts)
    return sseFrame(JSON.stringify({ ...this.#head, choices: [choice], ...usage, ...padding }))
  }

  #usageFrame(usage: CanonicalUsage): string {
    return sseFrame(JSON.stringify({ ...this.#head, choices: [], usage: writeUsage(usage) }))
  }
}

const head = (id: string, created: number, model: string): JsonObject => ({
  id,
  object: 'chat.completion.chunk',
  created,
  model,
})
