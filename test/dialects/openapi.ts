import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import { hasVectors, vectorJson } from '../support/vectors.ts'

/**
 * OpenAI's published description of its API as a judge. It is OpenAPI 3.0 in places: `nullable` becomes a type, and the
 * recursive anchors of an older draft of JSON Schema go. Without vectors there is no description, and tests skip.
 */
const ID = 'openai'

function converted(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(converted)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema)
    .filter(
      ([name]) => name !== '$recursiveAnchor' && name !== 'nullable' && name !== 'discriminator',
    )
    .map(([name, value]): [string, unknown] =>
      name === '$recursiveRef' ? ['$comment', 'recursive'] : [name, converted(value)],
    )
  const plain: Record<string, unknown> = Object.fromEntries(entries)
  if (Reflect.get(schema, 'nullable') !== true) return plain
  return { anyOf: [plain, { type: 'null' }] }
}

const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false })
if (hasVectors) {
  const description = vectorJson('traffic', 'openapi', 'openai.json')
  const components = converted(Reflect.get(Object(description), 'components'))
  ajv.addSchema({ $id: ID, components })
}

const validators = new Map<string, ValidateFunction>()

function validator(schema: string): ValidateFunction {
  const known = validators.get(schema)
  if (known !== undefined) return known
  const made = ajv.compile({ $ref: `${ID}#/components/schemas/${schema}` })
  validators.set(schema, made)
  return made
}

/**
 * What is wrong with a value, as `path keyword detail`, positions in lists left out; empty where nothing is. Where none of
 * several forms fits, only that is told, not what each of them lacks.
 */
export function violations(schema: string, value: unknown): string[] {
  const validate = validator(schema)
  if (validate(value)) return []
  const errors = validate.errors ?? []
  const choices = errors.filter(({ keyword }) => keyword === 'oneOf' || keyword === 'anyOf')
  const isWithin = (error: ErrorObject): boolean =>
    choices.some(
      (choice) =>
        choice !== error &&
        error.instancePath.startsWith(choice.instancePath) &&
        error.schemaPath !== choice.schemaPath,
    )
  const own = errors.filter((error) => !isWithin(error))
  return [...new Set((own.length > 0 ? own : errors).map(described))].toSorted()
}

const described = ({ instancePath, keyword, params }: ErrorObject): string => {
  const detail = params['missingProperty'] ?? params['type'] ?? params['allowedValue'] ?? ''
  return `${instancePath.replaceAll(/\/\d+/g, '/*') || '/'} ${keyword} ${String(detail)}`.trim()
}

/** OpenAI's schema for each event of a response, by its type. */
export const schemaOfEvent = (type: string): string => {
  const names: Record<string, string> = {
    'response.output_text.delta': 'ResponseTextDeltaEvent',
    'response.output_text.done': 'ResponseTextDoneEvent',
    error: 'ResponseErrorEvent',
  }
  const parts = type.split(/[._]/).map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
  return names[type] ?? `${parts.join('')}Event`
}
