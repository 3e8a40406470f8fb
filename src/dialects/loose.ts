import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError, type ErrorCode } from '../errors.ts'
import type { JsonObject } from './canonical.ts'
import { isList, isObject, member } from './json.ts'

/**
 * Reads JSON whose members are whatever a provider sent: what is not of the expected type is taken as absent. Only own
 * members count, so `__proto__` and `constructor` are names like any other.
 */
const MAX_BODY = 64 << 20

export function listAt(value: JsonValue | undefined, name: string): readonly JsonValue[] {
  const list = member(value, name)
  return isList(list) ? list : []
}

export function textAt(value: JsonValue | undefined, name: string): string | null {
  const text = member(value, name)
  return typeof text === 'string' ? text : null
}

export function numberAt(value: JsonValue | undefined, name: string): number | null {
  const number = member(value, name)
  return typeof number === 'number' ? number : null
}

/** A count of tokens or an index: a safe integer that is not negative, null otherwise. */
export function countAt(value: JsonValue | undefined, name: string): number | null {
  const count = member(value, name)
  return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : null
}

const LONG_NUMBER = /\d{16}/

/** A number that would come out with other digits stays as it was written: it is an id more often than a quantity. */
const exact = (_: string, value: JsonValue, { source }: { readonly source?: string }): JsonValue =>
  typeof value === 'number' && source !== undefined && source.length > 15 && `${value}` !== source
    ? JSON.rawJSON(source)
    : value

/** Undefined where the text is not JSON. V8's own error quotes the input, so it is dropped. */
export function readJson(text: string): JsonValue | undefined {
  try {
    const value: JsonValue = LONG_NUMBER.test(text) ? JSON.parse(text, exact) : JSON.parse(text)
    return value
  } catch {
    return undefined
  }
}

/** Undefined where the bytes are not UTF-8 or not JSON, or are more than 64 MiB. */
export function readBody(bytes: Buffer): JsonValue | undefined {
  if (bytes.length > MAX_BODY) return undefined
  try {
    return readJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
}

/** A whole answer. Throws `upstream_malformed`. */
export function readAnswer(bytes: Buffer): JsonObject {
  const value = readBody(bytes)
  if (!isObject(value)) throw new GatewayError('upstream_malformed')
  return value
}

/** What the engine cannot write, for its depth or its length, is a RangeError of its own; it becomes `code`. */
export function writeJson(value: JsonValue, code: ErrorCode): string {
  try {
    return JSON.stringify(value)
  } catch {
    throw new GatewayError(code)
  }
}

/** An object without what was not given (null, undefined). A member called `__proto__` stays a member. */
export const compact = (members: Readonly<Record<string, JsonValue | undefined>>): JsonObject =>
  Object.fromEntries(
    Object.entries(members).filter(
      (entry): entry is [string, JsonValue] => entry[1] !== undefined && entry[1] !== null,
    ),
  )
