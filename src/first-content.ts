import { isList, isObject, member, type Json } from './dialects/json.ts'
import { parsed } from './dialects/openai-chat/json.ts'

/*
 * What streams begin with before they say anything: as long as a client has been told nothing of an answer, another
 * provider can be asked. Whatever is not known to be empty is content.
 */

const isEmpty = (value: Json): boolean =>
  value === undefined || value === null || value === '' || (isList(value) && value.length === 0)

/** A chunk without choices, or with deltas that have a role alone. */
export function hasOpenAiContent(data: Buffer): boolean {
  const chunk = parsed(data.toString())
  if (!isObject(chunk) || !isList(chunk['choices'])) return true
  return !chunk['choices'].every(isEmptyChoice)
}

function isEmptyChoice(choice: Json): boolean {
  if (!isObject(choice)) return false
  const { delta, text, finish_reason: finish } = choice
  if (!isEmpty(finish) || !isEmpty(text)) return false
  if (isEmpty(delta)) return true
  return (
    isObject(delta) &&
    Object.entries(delta).every(([name, value]) => name === 'role' || isEmpty(value))
  )
}

/** The start of a message, a ping, the start of a block of text or thoughts that has none yet. */
export function hasAnthropicContent(data: Buffer): boolean {
  const event = parsed(data.toString())
  if (!isObject(event)) return true
  if (event['type'] === 'message_start' || event['type'] === 'ping') return false
  const block = event['content_block']
  if (event['type'] !== 'content_block_start' || !isObject(block)) return true
  const { type, text, thinking } = block
  return !((type === 'text' && isEmpty(text)) || (type === 'thinking' && isEmpty(thinking)))
}

const STATUSES: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  BadRequestError: 400,
  rate_limit_error: 429,
  overloaded_error: 529,
}

/** Of an error event: providers name a status in `code`, or a type of error. */
export function failureStatus(data: Buffer): number {
  const event = parsed(data.toString())
  const error = member(event, 'error')
  if (!isObject(error)) return 500
  const { code, type } = error
  if (typeof code === 'number' && code >= 400 && code < 600) return code
  return typeof type === 'string' && Object.hasOwn(STATUSES, type) ? (STATUSES[type] ?? 500) : 500
}
