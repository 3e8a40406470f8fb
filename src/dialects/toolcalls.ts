import { GatewayError } from '../errors.ts'
import type { JsonObject, Message } from './canonical.ts'
import { readJson } from './loose.ts'
import { isObject } from './json.ts'

/**
 * Arguments as an object, for a provider that wants one. The empty text is an empty object; what is not an object cannot
 * be sent and is not guessed: `request_not_supported`.
 */
export function argumentsObject(text: string): JsonObject {
  if (text.trim() === '') return {}
  const value = readJson(text)
  if (!isObject(value)) throw new GatewayError('request_not_supported')
  return value
}

export type SystemMessage = Extract<Message, { role: 'system' | 'developer' }>

export const isSystem = (message: Message): message is SystemMessage =>
  message.role === 'system' || message.role === 'developer'

/** The tool that each call so far was for: providers that answer by name need it. */
export function toolNames(messages: readonly Message[]): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  for (const message of messages) {
    if (message.role !== 'assistant') continue
    for (const part of message.parts) if (part.type === 'tool_call') names.set(part.id, part.name)
  }
  return names
}
