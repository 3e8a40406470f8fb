import type { JsonValue } from '@vouchgate/attestation'
import type { CanonicalEvent, JsonObject } from '../canonical.ts'
import type { Target } from '../dialect.ts'
import { argumentsText, listOf, wholeOf, wordOf } from './json.ts'
import { thoughtSignature } from './messages.ts'
import { malformed, MAX_CALLS, newId } from './provider-answer.ts'
import { isObject, member } from '../json.ts'

interface Call {
  /** As the provider counts it; null where it does not. */
  readonly index: number | null
  readonly id: string | null
  readonly call: number
  hasArguments: boolean
}

/**
 * The tool calls of one answer. A delta belongs to the call of its `index`; where that call has another id, or there is no
 * `index`, its id and name decide. Calls are numbered in the order in which they come.
 */
export class CallReader {
  readonly #choice: number
  readonly #target: Target
  readonly #calls: Call[] = []

  constructor(choice: number, target: Target) {
    this.#choice = choice
    this.#target = target
  }

  get any(): boolean {
    return this.#calls.length > 0
  }

  read(delta: JsonObject): CanonicalEvent[] {
    const old = delta['function_call']
    const deltas = isObject(old) ? [{ index: 0, function: old }] : listOf(delta['tool_calls'])
    return deltas.flatMap((one) => this.#delta(one))
  }

  /** The empty text is no JSON; no arguments are an empty object. */
  close(): CanonicalEvent[] {
    return this.#calls
      .filter((call) => !call.hasArguments)
      .map(({ call }) => ({ type: 'tool_arguments', choice: this.#choice, call, text: '{}' }))
  }

  #delta(delta: JsonValue): CanonicalEvent[] {
    const known = this.#known(delta)
    const events: CanonicalEvent[] = []
    const call = known ?? this.#begin(delta, events)
    const text = argumentsText(member(member(delta, 'function'), 'arguments'))
    if (text === '') return events
    call.hasArguments = true
    return [...events, { type: 'tool_arguments', choice: this.#choice, call: call.call, text }]
  }

  #known(delta: JsonValue): Call | undefined {
    const index = wholeOf(member(delta, 'index'))
    const id = wordOf(member(delta, 'id'))
    const isNamed = wordOf(member(member(delta, 'function'), 'name')) !== null
    if (index === null) {
      const same = this.#calls.find((call) => id !== null && call.id === id)
      return same ?? (isNamed ? undefined : this.#calls.at(-1))
    }
    const same = this.#calls.findLast((call) => call.index === index)
    // Some servers give every call the index 0.
    const isAnother = isNamed && id !== null && same?.id !== id
    return isAnother ? undefined : same
  }

  #begin(delta: JsonValue, events: CanonicalEvent[]): Call {
    const name = wordOf(member(member(delta, 'function'), 'name'))
    if (name === null || this.#calls.length >= MAX_CALLS) throw malformed()
    const id = wordOf(member(delta, 'id'))
    const call: Call = {
      index: wholeOf(member(delta, 'index')),
      id,
      call: this.#calls.length,
      hasArguments: false,
    }
    this.#calls.push(call)
    events.push({
      type: 'tool_call',
      choice: this.#choice,
      call: call.call,
      id: id ?? newId('call_', this.#target),
      name,
      signature: thoughtSignature(delta),
    })
    return call
  }
}
