import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { CanonicalEvent, FinishReason, LogprobToken } from '../canonical.ts'
import type { Target } from '../dialect.ts'
import { makeId } from '../ids.ts'
import { listAt, numberAt, textAt, writeJson } from '../loose.ts'
import { PartialArguments } from './arguments.ts'
import { TEXT_PROOF, THOUGHT_PROOF } from './content.ts'
import { isObject, member } from '../json.ts'

const FINISH: Readonly<Record<string, FinishReason>> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  SAFETY: 'content_filter',
  RECITATION: 'content_filter',
  BLOCKLIST: 'content_filter',
  PROHIBITED_CONTENT: 'content_filter',
  SPII: 'content_filter',
  MODEL_ARMOR: 'content_filter',
  IMAGE_SAFETY: 'content_filter',
  IMAGE_PROHIBITED_CONTENT: 'content_filter',
  IMAGE_RECITATION: 'content_filter',
  MALFORMED_FUNCTION_CALL: 'error',
  MALFORMED_RESPONSE: 'error',
  UNEXPECTED_TOOL_CALL: 'error',
  TOO_MANY_TOOL_CALLS: 'error',
  MISSING_THOUGHT_SIGNATURE: 'error',
}

const tokens = (list: readonly JsonValue[]): Omit<LogprobToken, 'top'>[] =>
  list.map((one) => ({
    token: textAt(one, 'token') ?? '',
    logprob: numberAt(one, 'logProbability') ?? 0,
    bytes: null,
  }))

function logprobs(candidate: JsonValue): LogprobToken[] | null {
  const result = member(candidate, 'logprobsResult')
  if (result === undefined) return null
  const top = listAt(result, 'topCandidates')
  return tokens(listAt(result, 'chosenCandidates')).map((token, index) => ({
    ...token,
    top: tokens(listAt(top[index], 'candidates')),
  }))
}

/** One candidate over the whole stream. Events are pushed to `events`. */
export class Candidate {
  readonly #choice: number
  readonly #target: Target
  #finish: string | null = null
  #blocks = 0
  /** Whether the block before the next number is still being written. */
  #thinking = false
  #calls = 0
  #open: PartialArguments | null = null

  constructor(choice: number, target: Target) {
    this.#choice = choice
    this.#target = target
  }

  get finished(): boolean {
    return this.#finish !== null
  }

  read(candidate: JsonValue, events: CanonicalEvent[]): void {
    let probable = logprobs(candidate)
    for (const part of listAt(member(candidate, 'content'), 'parts')) {
      const call = member(part, 'functionCall')
      if (isObject(call)) this.#call(call, part, events)
      else if (this.#text(part, probable, events)) probable = null
    }
    this.#finish = textAt(candidate, 'finishReason') ?? this.#finish
  }

  /** After the last chunk: only then is it known whether a tool was called. */
  end(events: CanonicalEvent[]): void {
    this.#close(events)
    const named = this.#finish ?? ''
    const known = Object.hasOwn(FINISH, named) ? FINISH[named] : undefined
    const reason = known ?? 'stop'
    events.push({
      type: 'finish',
      choice: this.#choice,
      reason: reason === 'stop' && this.#calls > 0 ? 'tool_calls' : reason,
      stopSequence: null,
    })
  }

  block(): void {
    this.#finish = 'PROHIBITED_CONTENT'
  }

  /** Gives whether the log probabilities were used. */
  #text(part: JsonValue, probable: LogprobToken[] | null, events: CanonicalEvent[]): boolean {
    const text = textAt(part, 'text')
    const signature = textAt(part, 'thoughtSignature')
    const choice = this.#choice
    if (text === null) return false
    if (member(part, 'thought') === true) {
      const block = this.#thinking ? this.#blocks - 1 : this.#blocks++
      this.#thinking = signature === null
      events.push({ type: 'reasoning', choice, block, text })
      if (signature !== null) {
        const proof = { signature, encrypted: null, id: THOUGHT_PROOF }
        events.push({ type: 'reasoning_proof', choice, block, ...proof })
      }
      return false
    }
    if (text !== '' || probable !== null)
      events.push({ type: 'text', choice, text, logprobs: probable })
    if (text !== '') this.#thinking = false
    if (signature !== null) {
      this.#thinking = false
      const proof = { signature: null, encrypted: signature, id: TEXT_PROOF }
      events.push({ type: 'reasoning_proof', choice, block: this.#blocks++, ...proof })
    }
    return true
  }

  #call(call: JsonValue, part: JsonValue, events: CanonicalEvent[]): void {
    const name = textAt(call, 'name')
    const goesOn = member(call, 'willContinue') === true
    this.#thinking = false
    if (name !== null && name !== '') {
      this.#close(events)
      events.push({
        type: 'tool_call',
        choice: this.#choice,
        call: this.#calls++,
        id: textAt(call, 'id') ?? makeId('call_', this.#target),
        name,
        signature: textAt(part, 'thoughtSignature'),
      })
      const args = member(call, 'args')
      if (isObject(args)) return this.#arguments(writeJson(args, 'upstream_malformed'), events)
      this.#open = new PartialArguments()
    }
    if (this.#open === null) {
      // A piece of a call that nothing began.
      if (listAt(call, 'partialArgs').length > 0) throw new GatewayError('upstream_malformed')
      return
    }
    this.#open.add(call)
    if (!goesOn) this.#close(events)
  }

  #close(events: CanonicalEvent[]): void {
    if (this.#open === null) return
    const text = this.#open.text()
    this.#open = null
    this.#arguments(text, events)
  }

  #arguments(text: string, events: CanonicalEvent[]): void {
    events.push({ type: 'tool_arguments', choice: this.#choice, call: this.#calls - 1, text })
  }
}
