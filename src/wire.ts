import type { JsonValue } from '@vouchgate/attestation'
import { anthropicMessages } from './dialects/anthropic/client.ts'
import { UsageCounts } from './dialects/anthropic/usage.ts'
import type { CanonicalUsage } from './dialects/canonical.ts'
import { readUsage } from './dialects/openai-chat/usage.ts'
import { readUsage as readResponseUsage } from './dialects/openai-responses/usage.ts'
import { sseFrame } from './dialects/sse.ts'
import type { ErrorCode } from './errors.ts'
import { errorBody } from './errors.ts'
import { failureStatus, hasAnthropicContent, hasOpenAiContent } from './first-content.ts'
import { jsonMembers } from './json-members.ts'

/** What is known of an answer without its content. */
export interface AnswerFacts {
  readonly id: string | null
  readonly usage: CanonicalUsage | null
}

/** Null where it is no JSON object. */
type ReadFacts = (json: Buffer) => AnswerFacts | null

/** What is looked for in an answer that passes unread: where it ends, whether it failed, its id and counts. */
export interface Wire {
  /** Whether this data ends the stream as it should. */
  readonly isDone: (data: Buffer) => boolean
  /** Whether the provider says here that it failed. */
  readonly isFailure: (data: Buffer) => boolean
  /** The HTTP status that such a failure would have had. */
  readonly failureStatus: (data: Buffer) => number
  /** Whether a client has something of the answer after this, so that no other provider may begin anew. */
  readonly hasContent: (data: Buffer) => boolean
  /** Text without which data holds no counts; it spares reading most frames. */
  readonly usageMark: Buffer
  /** For one answer: of a stream, counts may come in parts. */
  readonly facts: () => ReadFacts
  /** An error that the client's SDK raises, as the last frame of a stream. */
  readonly failure: (code: ErrorCode) => string
}

const DONE = Buffer.from('[DONE]')
const OPENAI_ERROR = Buffer.from('{"error"')
const USAGE = Buffer.from('"usage"')

export const startsWith = (bytes: Buffer, prefix: Buffer): boolean =>
  bytes.length >= prefix.length && bytes.compare(prefix, 0, prefix.length, 0, prefix.length) === 0

export const OPENAI_WIRE: Wire = {
  isDone: (data) => data.length === DONE.length && startsWith(data, DONE),
  isFailure: (data) => startsWith(data, OPENAI_ERROR),
  failureStatus,
  hasContent: hasOpenAiContent,
  usageMark: USAGE,
  facts: () => (json) => factsOf(json, readUsage),
  failure: (code) => sseFrame(errorBody(code)),
}

const TRANSCRIBED = /^\{\s*"type"\s*:\s*"transcript\.text\.done"/

/** OpenAI ends the stream of a transcription with an event, compatible servers end it with `[DONE]`. */
export const TRANSCRIPTION_WIRE: Wire = {
  ...OPENAI_WIRE,
  isDone: (data) => OPENAI_WIRE.isDone(data) || TRANSCRIBED.test(head(data)),
  facts: () => (json) => factsOf(json, readResponseUsage),
}

const MESSAGE = Buffer.from('"message"')
const STOP = /^\{\s*"type"\s*:\s*"message_stop"/
const ERROR = /^\{\s*"type"\s*:\s*"error"/
const head = (data: Buffer): string => data.toString('latin1', 0, 64)

export const ANTHROPIC_WIRE: Wire = {
  isDone: (data) => STOP.test(head(data)),
  isFailure: (data) => ERROR.test(head(data)),
  failureStatus,
  hasContent: hasAnthropicContent,
  usageMark: USAGE,
  facts: () => {
    const counts = new UsageCounts()
    return (json) => anthropicFacts(json, (value) => counts.read(value).canonical)
  },
  failure: (code) => sseFrame(anthropicMessages.error(code, null, '').toString(), 'error'),
}

type ReadUsage = (value: JsonValue) => CanonicalUsage | null

/** The first frame of a stream has both within the message that it starts. */
function anthropicFacts(json: Buffer, read: ReadUsage): AnswerFacts | null {
  const facts = factsOf(json, read)
  if (facts === null || facts.id !== null || !json.includes(MESSAGE)) return facts
  const started = jsonMembers(json).find(({ name }) => name === 'message')
  if (started === undefined) return facts
  return factsOf(json.subarray(started.valueStart, started.end), read)
}

/** The members `id` and `usage`; nothing else is decoded. */
function factsOf(json: Buffer, read: ReadUsage): AnswerFacts | null {
  let id: string | null = null
  let usage: CanonicalUsage | null = null
  try {
    for (const { name, valueStart, end } of jsonMembers(json)) {
      if (name !== 'id' && name !== 'usage') continue
      const value: JsonValue = JSON.parse(json.toString('utf8', valueStart, end))
      if (name === 'id') id = typeof value === 'string' ? value : null
      else usage = read(value)
    }
  } catch {
    return null
  }
  return { id, usage }
}
