import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError, type ErrorCode } from '../../errors.ts'
import type { JsonObject } from '../canonical.ts'
import { isObject, type Json } from '../json.ts'

/** Deeper documents make recursive readers and writers run out of stack. */
const MAX_DEPTH = 100

const isNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value)

/** An object's members; a value of another type has none. */
export const membersOf = (value: Json): JsonObject => (isObject(value) ? value : {})
export const listOf = (value: Json): readonly JsonValue[] => (Array.isArray(value) ? value : [])
export const textOf = (value: Json): string => (typeof value === 'string' ? value : '')

/** A count of tokens; anything that is not one counts nothing. */
export const countOf = (value: Json): number =>
  isNumber(value) && Number.isSafeInteger(value) && value >= 0 ? value : 0

/** What must be of a type, refused with one code where it is not. A null member was not given. */
export class Must {
  readonly #code: ErrorCode

  constructor(code: ErrorCode) {
    this.#code = code
  }

  fail(): never {
    throw new GatewayError(this.#code)
  }

  object(value: Json): JsonObject {
    return isObject(value) ? value : this.fail()
  }

  list(value: Json): readonly JsonValue[] {
    return Array.isArray(value) ? value : this.fail()
  }

  text(value: Json): string {
    return typeof value === 'string' ? value : this.fail()
  }

  name(value: Json): string {
    return this.text(value) === '' ? this.fail() : this.text(value)
  }

  maybeText(value: Json): string | null {
    return value === undefined || value === null ? null : this.text(value)
  }

  maybeFlag(value: Json): boolean | null {
    if (value === undefined || value === null) return null
    return typeof value === 'boolean' ? value : this.fail()
  }

  maybeNumber(value: Json): number | null {
    if (value === undefined || value === null) return null
    return isNumber(value) ? value : this.fail()
  }

  maybeCount(value: Json, least: number): number | null {
    const count = this.maybeNumber(value)
    return count === null || (Number.isSafeInteger(count) && count >= least) ? count : this.fail()
  }

  maybeObject(value: Json): JsonObject | null {
    return value === undefined || value === null ? null : this.object(value)
  }

  maybeList(value: Json): readonly JsonValue[] {
    return value === undefined || value === null ? [] : this.list(value)
  }

  shallow(value: JsonValue, depth = 0): JsonValue {
    if (typeof value !== 'object' || value === null) return value
    if (depth > MAX_DEPTH) this.fail()
    for (const each of Object.values(value)) this.shallow(each, depth + 1)
    return value
  }
}

/** Parses and bounds the depth. The error of `JSON.parse` quotes its input, so it is dropped. */
export function parseShallow(text: string, must: Must): JsonValue {
  let value: JsonValue
  try {
    value = JSON.parse(text)
  } catch {
    return must.fail()
  }
  // Every level takes at least two characters.
  return text.length <= 2 * MAX_DEPTH ? value : must.shallow(value)
}
