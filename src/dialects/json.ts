import type { JsonValue } from '@vouchgate/attestation'
import type { JsonObject } from './canonical.ts'

/** ECMAScript's JSON.parse with source text, which the library's types do not have yet. */
declare global {
  interface JSON {
    parse(
      text: string,
      reviver: (name: string, value: JsonValue, context: { readonly source?: string }) => JsonValue,
    ): JsonValue
    rawJSON(text: string): JsonValue
    isRawJSON(value: unknown): boolean
  }
}

/** What `JSON.parse` of hostile text may give: own members only, so that `__proto__` and `constructor` are mere names. */
export type Json = JsonValue | undefined

/** A number whose digits are kept is an object to the engine, and none here. */
export const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value)

export const isList = (value: Json): value is readonly JsonValue[] => Array.isArray(value)

export const member = (value: Json, name: string): Json =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
