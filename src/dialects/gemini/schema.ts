import type { JsonValue } from '@vouchgate/attestation'
import type { JsonObject } from '../canonical.ts'
import { compact, listAt, textAt, writeJson } from '../loose.ts'
import { isList, isObject, member } from '../json.ts'

/** A schema can name itself, or double at every level: either is given up, not followed. */
const MAX_DEPTH = 32
const MAX_NODES = 5000

/** Members that OpenAPI's subset has as JSON Schema has them. */
const KEPT = [
  'title',
  'maxItems',
  'minItems',
  'minProperties',
  'maxProperties',
  'minLength',
  'maxLength',
  'pattern',
  'minimum',
  'maximum',
  'propertyOrdering',
] as const
const FORMATS: ReadonlySet<string> = new Set([
  'enum',
  'date-time',
  'float',
  'double',
  'int32',
  'int64',
])
const TYPES: ReadonlySet<string> = new Set([
  'string',
  'number',
  'integer',
  'boolean',
  'array',
  'object',
])

class TooMuch extends Error {
  override readonly name = 'TooMuch'
}

/** Turns one JSON Schema into the subset of OpenAPI 3.0 that Gemini reads. */
class Converter {
  readonly #root: JsonObject
  readonly #open = new Set<string>()
  #nodes = 0

  constructor(root: JsonObject) {
    this.#root = root
  }

  convert(value: JsonValue | undefined, depth: number): JsonObject {
    if (depth > MAX_DEPTH || ++this.#nodes > MAX_NODES) throw new TooMuch()
    // `true` admits everything, and so does the empty schema. Nothing says `false`.
    if (!isObject(value)) return {}
    const ref = textAt(value, '$ref')
    if (ref !== null) return this.#inline(ref, value, depth)
    const merged = mergeAll(value)
    const union = [...listAt(merged, 'anyOf'), ...listAt(merged, 'oneOf')]
    return union.length > 0 ? this.#union(merged, union, depth) : this.#single(merged, depth)
  }

  /** Members beside the reference count as well and win. */
  #inline(ref: string, value: JsonObject, depth: number): JsonObject {
    if (this.#open.has(ref)) throw new TooMuch()
    const found = resolve(this.#root, ref)
    if (!isObject(found)) throw new TooMuch()
    const { $ref: _, ...beside } = value
    this.#open.add(ref)
    const converted = this.convert({ ...found, ...beside }, depth + 1)
    this.#open.delete(ref)
    return converted
  }

  #union(value: JsonObject, union: readonly JsonValue[], depth: number): JsonObject {
    const some = union.filter((one) => textAt(one, 'type') !== 'null')
    const nullable = some.length < union.length ? true : undefined
    const options = some.map((one) => this.convert(one, depth + 1))
    const [only] = options
    const description = textAt(value, 'description') ?? undefined
    return options.length === 1
      ? compact({ ...only, description: description ?? only?.['description'], nullable })
      : compact({ description, anyOf: options, nullable })
  }

  #single(value: JsonObject, depth: number): JsonObject {
    const listed = member(value, 'type')
    const names = (isList(listed) ? listed : [listed]).filter((type) => typeof type === 'string')
    const types = names.filter((type) => TYPES.has(type.toLowerCase()))
    const nullable = names.includes('null') || member(value, 'nullable') === true ? true : undefined
    if (types.length > 1) {
      const { description, type: _, ...rest } = value
      const anyOf = types.map((type) => this.convert({ ...rest, type }, depth + 1))
      return compact({ description, anyOf, nullable })
    }
    return compact({ ...this.#typed(value, types[0], depth), nullable })
  }

  #typed(value: JsonObject, type: string | undefined, depth: number): JsonObject {
    const { values, note } = choices(value)
    const format = textAt(value, 'format')
    const known = format !== null && FORMATS.has(format)
    const notes = [
      textAt(value, 'description'),
      note,
      format === null || known ? null : `Format: ${format}.`,
    ]
    const implied = values === undefined ? implicitType(value) : 'string'
    const description = notes.filter((text) => text !== null && text !== '').join(' ')
    return compact({
      type: (type ?? implied)?.toUpperCase(),
      description: description === '' ? undefined : description,
      format: known ? format : undefined,
      enum: values,
      ...this.#members(value, depth),
      ...Object.fromEntries(KEPT.map((name) => [name, member(value, name)])),
    })
  }

  #members(value: JsonObject, depth: number): Record<string, JsonValue | undefined> {
    const properties = member(value, 'properties')
    const items = member(value, 'items')
    const tuple = isList(items) ? items : listAt(value, 'prefixItems')
    const converted = isObject(properties)
      ? Object.fromEntries(
          Object.entries(properties).map(([name, one]) => [name, this.convert(one, depth + 1)]),
        )
      : undefined
    const names = converted ?? {}
    const required = listAt(value, 'required').filter(
      (name) => typeof name === 'string' && Object.hasOwn(names, name),
    )
    return {
      properties: converted,
      required: required.length === 0 ? undefined : required,
      items:
        tuple.length > 0
          ? { anyOf: tuple.map((one) => this.convert(one, depth + 1)) }
          : items === undefined
            ? undefined
            : this.convert(items, depth + 1),
    }
  }
}

const implicitType = (value: JsonObject): string | undefined =>
  isObject(member(value, 'properties'))
    ? 'object'
    : member(value, 'items') === undefined
      ? undefined
      : 'array'

/** Gemini's `enum` holds strings only; others are told in words. */
function choices(value: JsonObject): { values?: string[]; note: string | null } {
  const constant = member(value, 'const')
  const listed = constant === undefined ? listAt(value, 'enum') : [constant]
  const some = listed.filter((one) => one !== null)
  const texts = some.filter((one) => typeof one === 'string')
  if (some.length === 0) return { note: null }
  if (texts.length === some.length) return { values: texts, note: null }
  return { note: `One of: ${some.map((one) => writeJson(one, 'invalid_request')).join(', ')}.` }
}

/** `allOf` as one schema: later parts win, properties and required names add up. */
function mergeAll(value: JsonObject): JsonObject {
  const parts = listAt(value, 'allOf')
  if (parts.length === 0) return value
  const { allOf: _, ...beside } = value
  const all = [...parts, beside].filter((part) => isObject(part))
  // A part that is a reference cannot be merged unread.
  if (all.some((part) => member(part, '$ref') !== undefined) && all.length > 1) {
    if (parts.length === 1) return { ...all[0], ...beside }
    throw new TooMuch()
  }
  const properties: [string, JsonValue][] = all.flatMap((part) => {
    const own = member(part, 'properties')
    return isObject(own) ? Object.entries(own) : []
  })
  const required = all.flatMap((part) => listAt(part, 'required'))
  return Object.fromEntries([
    ...all.flatMap((part) => Object.entries(part)),
    ...(properties.length > 0 ? [['properties', Object.fromEntries(properties)] as const] : []),
    ...(required.length > 0 ? [['required', required] as const] : []),
  ])
}

/** A pointer within the same document (RFC 6901 in a fragment). */
function resolve(root: JsonObject, ref: string): JsonValue | undefined {
  if (ref === '#') return root
  if (!ref.startsWith('#/')) return undefined
  let value: JsonValue | undefined = root
  for (const step of ref.slice(2).split('/')) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
    value = isList(value) ? value[Number(name)] : member(value, name)
  }
  return value
}

/**
 * What Gemini calls a schema, or null where this one cannot be written without references: it names itself, refers outside
 * or is very large.
 */
export function geminiSchema(schema: JsonObject): JsonObject | null {
  try {
    return new Converter(schema).convert(schema, 0)
  } catch (error) {
    if (error instanceof TooMuch) return null
    throw error
  }
}
