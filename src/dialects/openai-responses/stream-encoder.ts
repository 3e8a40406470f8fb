import type { ErrorCode } from '../../errors.ts'
import type {
  CanonicalEvent,
  CanonicalRequest,
  CanonicalUsage,
  FinishReason,
  JsonObject,
  ProviderFailure,
} from '../canonical.ts'
import type { StreamEncoder } from '../dialect.ts'
import { writeError } from '../openai-chat/error.ts'
import { obfuscation, wantedPad, type Pad } from '../openai-chat/pad.ts'
import { sseFrame } from '../sse.ts'
import { baseId, itemId, writeResponse, writeStatus, type Head } from './answer.ts'
import { writeUsage } from './usage.ts'
import { OpenCall, OpenMessage, OpenReasoning, type Emitted, type OpenItem } from './open-items.ts'

type Event<T extends CanonicalEvent['type']> = Extract<CanonicalEvent, { type: T }>

const NOTHING = Buffer.alloc(0)

/**
 * Writes the events of a response. A message or a thought is complete where something else begins, calls where the answer
 * is: providers may go on with any of them. The last event tells how it ended; after an error nothing is written any more.
 */
export class ResponsesStreamEncoder implements StreamEncoder {
  readonly #request: CanonicalRequest
  readonly #pad: Pad | null
  #head: Head
  #sequence = 0
  #usage: CanonicalUsage | null = null
  #finish: FinishReason = 'stop'
  #failed = false
  /** Complete items by their place, which follows from where they began. */
  readonly #output: JsonObject[] = []
  #items = 0
  #open: OpenMessage | OpenReasoning | null = null
  readonly #calls = new Map<number, OpenCall>()

  constructor(request: CanonicalRequest, pad: Pad | null) {
    this.#request = request
    this.#pad = wantedPad(pad, request)
    this.#head = { id: '', created: 0, model: request.model }
  }

  push(event: CanonicalEvent): Buffer {
    if (this.#failed) return NOTHING
    if (event.type === 'failure') return this.fail('upstream_error', event.failure)
    if (event.type === 'finish' && event.reason === 'error') {
      return this.fail('upstream_error', null)
    }
    // A response is one answer.
    if ('choice' in event && event.choice !== 0) return NOTHING
    return Buffer.from(
      this.#events(event)
        .map((one) => this.#frame(one))
        .join(''),
    )
  }

  end(): Buffer {
    if (this.#failed) return NOTHING
    const events = this.#close()
    const usage = this.#usage === null ? {} : { usage: writeUsage(this.#usage) }
    const status = writeStatus(this.#finish)
    const response = { ...this.#response(), ...status, ...usage }
    events.push({ type: `response.${status.status}`, response })
    return Buffer.from(events.map((event) => this.#frame(event)).join(''))
  }

  fail(code: ErrorCode, failure: ProviderFailure | null): Buffer {
    if (this.#failed) return NOTHING
    this.#failed = true
    const error = writeError(code, failure)
    const told = { code: failedCode(failure), message: error.message }
    const response = { ...this.#response(), status: 'failed', error: told }
    const { message, param } = error
    // Clients raise on `error`; its members stand on their own as well, where the schema has them.
    const first = this.#frame({ type: 'error', code: error.code, message, param, error })
    return Buffer.from(first + this.#frame({ type: 'response.failed', response }))
  }

  #events(event: Exclude<CanonicalEvent, Event<'failure'>>): Emitted[] {
    switch (event.type) {
      case 'start':
        return this.#start(event)
      case 'text':
        return this.#message((open) => open.text(event.text, event.logprobs ?? []))
      case 'refusal':
        return this.#message((open) => open.refusal(event.text))
      case 'reasoning':
        return this.#reasoning(event.block, (open) => open.text(event.text))
      case 'reasoning_proof':
        return this.#reasoning(event.block, (open) => open.prove(event))
      case 'tool_call':
        return this.#call(event)
      case 'tool_arguments':
        return this.#calls.get(event.call)?.arguments(event.text) ?? []
      case 'finish':
        this.#finish = event.reason
        return this.#close()
      case 'usage':
        this.#usage = event.usage
        return []
    }
  }

  #start(event: Event<'start'>): Emitted[] {
    this.#head = event
    this.#usage = event.usage
    const response = this.#response()
    return [
      { type: 'response.created', response },
      { type: 'response.in_progress', response },
    ]
  }

  #response(): JsonObject {
    const output = this.#output.filter((item) => item !== undefined)
    return writeResponse(this.#head, this.#request, output)
  }

  #message(say: (open: OpenMessage) => Emitted[]): Emitted[] {
    if (this.#open instanceof OpenMessage) return say(this.#open)
    const before = this.#closeOpen()
    const open = new OpenMessage(this.#place())
    this.#open = open
    return [...before, ...open.begin(), ...say(open)]
  }

  #reasoning(block: number, think: (open: OpenReasoning) => Emitted[]): Emitted[] {
    if (this.#open instanceof OpenReasoning && this.#open.block === block) return think(this.#open)
    const before = this.#closeOpen()
    const open = new OpenReasoning(this.#place(), block)
    this.#open = open
    return [...before, ...think(open)]
  }

  #call(event: Event<'tool_call'>): Emitted[] {
    const before = this.#closeOpen()
    const call = new OpenCall(this.#place(), event)
    this.#calls.set(event.call, call)
    return [...before, ...call.begin()]
  }

  #place(): OpenItem['place'] {
    const at = this.#items++
    return { at, id: itemId(baseId(this.#head.id), at) }
  }

  #closeOpen(): Emitted[] {
    const open = this.#open
    this.#open = null
    return open === null ? [] : this.#complete(open)
  }

  #close(): Emitted[] {
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    return [...this.#closeOpen(), ...calls.flatMap((call) => this.#complete(call))]
  }

  #complete(item: OpenItem): Emitted[] {
    const { events, done } = item.complete()
    this.#output[item.place.at] = done
    return [
      ...events,
      { type: 'response.output_item.done', output_index: item.place.at, item: done },
    ]
  }

  #frame({ secret, ...event }: Emitted): string {
    const padding = secret === undefined ? {} : obfuscation(this.#pad, secret)
    const numbered = { ...event, sequence_number: this.#sequence++, ...padding }
    return sseFrame(JSON.stringify(numbered), event.type)
  }
}

/** The nearest of OpenAI's closed list. */
function failedCode(failure: ProviderFailure | null): string {
  if (failure?.class === 'rate_limit') return 'rate_limit_exceeded'
  const isCallers = failure?.class === 'content_filter' || failure?.class === 'context_length'
  return isCallers ? 'invalid_prompt' : 'server_error'
}
