import { isEmpty, isRecord, rules, type Rule, type Through } from './json-rules.ts'
import { SendError } from './send.ts'

/*
 * What NEAR AI's nodes encrypt of a chat completion. A string that is in clear where it must be encrypted shows that
 * somebody on the way took the encryption off, or that the node never put it on: the exchange ends there.
 */

const notEncrypted = (): SendError => new SendError('not_encrypted')
const { clear, either, list, record, text } = rules(notEncrypted)

/** Ids, roles and reasons travel in clear, and so do numbers. */
const scalar = clear((value) => typeof value !== 'object')

/** Of a member that is not known, at least nothing can be read. */
const wordless = clear(
  (value) => typeof value === 'number' || typeof value === 'boolean' || isEmpty(value),
)

const hasText = (value: unknown): boolean => {
  if (typeof value === 'object' && value !== null) return Object.values(value).some(hasText)
  return typeof value === 'string' && value !== ''
}

/** A list that was encrypted as its JSON text. */
const json: Rule = (value, through) => {
  if (isEmpty(value)) return value
  const opened = text(value, through)
  try {
    const restored: unknown = JSON.parse(String(opened))
    return restored
  } catch {
    throw new SendError('undecryptable')
  }
}

const call = record({ name: text, arguments: text }, wordless)

const message = record(
  {
    role: scalar,
    content: either(text, list(record({ type: scalar, text }, wordless))),
    refusal: text,
    reasoning: text,
    reasoning_content: text,
    audio: record({ id: scalar, data: text }, wordless),
    tool_calls: list(record({ index: scalar, id: scalar, type: scalar, function: call }, wordless)),
    function_call: call,
  },
  wordless,
)

const oneToken = { token: text, bytes: json }
const tokens = list(
  record({ ...oneToken, top_logprobs: list(record(oneToken, wordless)) }, wordless),
)

const reply = record(
  {
    id: scalar,
    object: scalar,
    created: scalar,
    model: scalar,
    system_fingerprint: scalar,
    service_tier: scalar,
    choices: list(
      record(
        {
          index: scalar,
          finish_reason: scalar,
          message,
          delta: message,
          logprobs: record({ content: tokens, refusal: tokens }, wordless),
        },
        wordless,
      ),
    ),
    usage: clear((value) => !hasText(value)),
  },
  wordless,
)

/** Decrypts a chat completion. Throws `SendError` `not_encrypted` or `undecryptable`. */
export function openCompletion(value: unknown, through: Through): unknown {
  // Without choices nothing in it was ever encrypted.
  if (!isRecord(value) || !Array.isArray(value['choices'])) throw notEncrypted()
  return reply(value, through)
}

/** Decrypts one event of a stream. An error is a diagnosis in clear, as the body of any other failure is. */
export function openEvent(value: unknown, through: Through): unknown {
  if (isRecord(value) && isRecord(value['error']) && !('choices' in value)) return value
  return reply(value, through)
}
