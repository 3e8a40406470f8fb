import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { JsonObject } from '../canonical.ts'
import { isList, isObject, type Json } from '../json.ts'

const MAX_DEPTH = 100

/** Tolerant readers, for what providers send: anything of another type was not said. */
export const textOf = (value: Json): string | null => (typeof value === 'string' ? value : null)
export const listOf = (value: Json): readonly JsonValue[] => (isList(value) ? value : [])
export const wholeOf = (value: Json): number | null =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null

/** Text that is there and not empty. */
export const wordOf = (value: Json): string | null => textOf(value) || null

const invalid = (): GatewayError => new GatewayError('invalid_request')
const isAbsent = (value: Json): value is null | undefined => value === undefined || value === null

/** Strict readers, for what clients send. They throw `invalid_request`. */
export function mustText(value: Json): string {
  if (typeof value !== 'string') throw invalid()
  return value
}

export function mustWord(value: Json): string {
  if (typeof value !== 'string' || value === '') throw invalid()
  return value
}

export function mustObject(value: Json): JsonObject {
  if (!isObject(value)) throw invalid()
  return value
}

export function mustList(value: Json, limit: number): readonly JsonValue[] {
  if (!isList(value) || value.length > limit) throw invalid()
  return value
}

export const optionalText = (value: Json): string | null =>
  isAbsent(value) ? null : mustText(value)

export const optionalList = (value: Json, limit: number): readonly JsonValue[] =>
  isAbsent(value) ? [] : mustList(value, limit)

export function optionalNumber(value: Json): number | null {
  if (isAbsent(value)) return null
  if (typeof value !== 'number' || !Number.isFinite(value)) throw invalid()
  return value
}

export function optionalWhole(value: Json, least: number, most: number): number | null {
  const number = optionalNumber(value)
  if (number === null) return null
  if (!Number.isInteger(number) || number < least || number > most) throw invalid()
  return number
}

export function optionalBoolean(value: Json): boolean | null {
  if (isAbsent(value)) return null
  if (typeof value !== 'boolean') throw invalid()
  return value
}

/** One of a closed list. */
export function optionalOne<T extends string>(value: Json, allowed: readonly T[]): T | null {
  if (isAbsent(value)) return null
  const found = allowed.find((one) => one === value)
  if (found === undefined) throw invalid()
  return found
}

/** Passed on as it is: bounded, because `JSON.stringify` recurses and would overflow the stack. */
export function mustBeShallow<T extends JsonValue>(value: T): T {
  if (!isShallow(value)) throw invalid()
  return value
}

export function optionalSchema(value: Json): JsonObject | null {
  return isAbsent(value) ? null : mustBeShallow(mustObject(value))
}

function isShallow(value: JsonValue): boolean {
  let level: readonly JsonValue[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return false
    level = level.flatMap((one) => (isList(one) ? one : isObject(one) ? Object.values(one) : []))
  }
  return true
}

/** The members that are not in `known`, as data properties of their own, whatever their names are. */
export function otherMembers(body: JsonObject, known: ReadonlySet<string>): JsonObject {
  return mustBeShallow(
    Object.fromEntries(Object.entries(body).filter(([name]) => !known.has(name))),
  )
}

/** A provider's JSON; null where it is none. V8's error quotes the input, so it is dropped. */
export function parsed(bytes: Buffer | string): JsonValue | null {
  try {
    const text =
      typeof bytes === 'string' ? bytes : new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    const value: JsonValue = JSON.parse(text)
    return value
  } catch {
    return null
  }
}

/** Arguments of a tool call: text as the model wrote it; some providers parse it. */
export function argumentsText(value: Json): string {
  if (typeof value === 'string') return value
  if (!isObject(value)) return ''
  if (!isShallow(value)) throw new GatewayError('upstream_malformed')
  return JSON.stringify(value)
}
