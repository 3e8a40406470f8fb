import type { JsonObject } from '../canonical.ts'
import { listOf, membersOf, Must, parseShallow } from './read.ts'
import { isObject, type Json } from '../json.ts'

const must = new Must('internal')

/**
 * Like `JSON.parse`, but every number is written again as it stood: an id of 64 bits in the arguments of a tool
 * must not be rounded. Numbers that JavaScript would write differently are opaque objects. Undefined where it is not JSON.
 */
function parseExact(text: string): Json {
  try {
    parseShallow(text, must)
    return JSON.parse(text, (_name, value, { source }) =>
      typeof value === 'number' && source !== undefined && String(value) !== source
        ? JSON.rawJSON(source)
        : value,
    )
  } catch {
    return undefined
  }
}

/** The arguments of a tool call as Anthropic takes them: an object. What is not one becomes an empty one. */
export function argumentsObject(text: string): JsonObject {
  const value = parseExact(text)
  return text.trimStart().startsWith('{') && isObject(value) ? value : {}
}

/** The inputs of a message's blocks as JSON text, in their order, from the text of the message. */
export const exactInputs = (message: string): readonly string[] =>
  listOf(membersOf(parseExact(message))['content']).map((block) =>
    JSON.stringify(membersOf(block)['input'] ?? {}),
  )
