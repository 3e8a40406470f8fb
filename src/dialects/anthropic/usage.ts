import type { CanonicalUsage, JsonObject } from '../canonical.ts'
import { countOf, membersOf } from './read.ts'
import { isObject, type Json } from '../json.ts'

/** Anthropic's counts of one message. They are cumulative: what comes later replaces what came before, member by member. */
export class UsageCounts {
  #input = 0
  #cacheRead = 0
  #cacheWrite = 0
  #cacheWriteHour = 0
  #output = 0
  #thinking = 0
  #given = false

  read(value: Json): this {
    if (!isObject(value)) return this
    const later = (given: Json, before: number): number =>
      given === undefined || given === null ? before : countOf(given)
    const details = membersOf(value['output_tokens_details'])
    const written = membersOf(value['cache_creation'])
    this.#input = later(value['input_tokens'], this.#input)
    this.#cacheRead = later(value['cache_read_input_tokens'], this.#cacheRead)
    this.#cacheWrite = later(value['cache_creation_input_tokens'], this.#cacheWrite)
    this.#cacheWriteHour = later(written['ephemeral_1h_input_tokens'], this.#cacheWriteHour)
    this.#output = later(value['output_tokens'], this.#output)
    this.#thinking = later(details['thinking_tokens'], this.#thinking)
    this.#given = true
    return this
  }

  /** Null before anything was counted. `output_tokens` includes thinking; the canonical counts are disjoint. */
  get canonical(): CanonicalUsage | null {
    if (!this.#given) return null
    const reasoning = Math.min(this.#thinking, this.#output)
    const cacheWriteHour = Math.min(this.#cacheWriteHour, this.#cacheWrite)
    return {
      uncachedInput: this.#input,
      cacheRead: this.#cacheRead,
      cacheWrite: this.#cacheWrite,
      ...(cacheWriteHour === 0 ? {} : { cacheWriteHour }),
      output: this.#output - reasoning,
      reasoning,
    }
  }
}

/** The counts as Anthropic writes them. */
export function wireUsage(usage: CanonicalUsage | null): JsonObject {
  const {
    uncachedInput = 0,
    cacheRead = 0,
    cacheWrite = 0,
    output = 0,
    reasoning = 0,
  } = usage ?? {}
  return {
    input_tokens: uncachedInput,
    cache_creation_input_tokens: cacheWrite,
    cache_read_input_tokens: cacheRead,
    output_tokens: output + reasoning,
    ...(reasoning === 0 ? {} : { output_tokens_details: { thinking_tokens: reasoning } }),
  }
}
