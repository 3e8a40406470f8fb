/*
 * What streams begin with before they say anything: as long as a client has been told nothing of an answer, another
 * provider can be asked. Whatever is not known to be empty is content.
 */

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function parsed(data: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(data.toString())
    return value
  } catch {
    // Its message would quote the answer.
    return null
  }
}

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  (Array.isArray(value) && value.length === 0)

/** A chunk without choices, or with deltas that have a role alone. */
export function hasOpenAiContent(data: Buffer): boolean {
  const chunk = parsed(data)
  if (!isRecord(chunk) || !Array.isArray(chunk['choices'])) return true
  return !chunk['choices'].every(isEmptyChoice)
}

function isEmptyChoice(choice: unknown): boolean {
  if (!isRecord(choice)) return false
  const { delta, text, finish_reason: finish } = choice
  if (!isEmpty(finish) || !isEmpty(text)) return false
  if (isEmpty(delta)) return true
  return (
    isRecord(delta) &&
    Object.entries(delta).every(([name, value]) => name === 'role' || isEmpty(value))
  )
}

/** The start of a message, a ping, the start of a block of text or thoughts that has none yet. */
export function hasAnthropicContent(data: Buffer): boolean {
  const event = parsed(data)
  if (!isRecord(event)) return true
  if (event['type'] === 'message_start' || event['type'] === 'ping') return false
  const block = event['content_block']
  if (event['type'] !== 'content_block_start' || !isRecord(block)) return true
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
  const event = parsed(data)
  const error = isRecord(event) ? event['error'] : null
  if (!isRecord(error)) return 500
  const { code, type } = error
  if (typeof code === 'number' && code >= 400 && code < 600) return code
  return typeof type === 'string' && Object.hasOwn(STATUSES, type) ? (STATUSES[type] ?? 500) : 500
}
