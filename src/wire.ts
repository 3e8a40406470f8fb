import { anthropicMessages } from './dialects/anthropic/client.ts'
import type { ErrorCode } from './errors.ts'
import { errorBody } from './errors.ts'
import { failureStatus, hasAnthropicContent, hasOpenAiContent } from './first-content.ts'
import { jsonMembers } from './json-members.ts'

/** Token counts as the provider states them. */
export interface Usage {
  readonly prompt: number
  readonly completion: number
}

/** What is known of an answer without its content. */
export interface AnswerFacts {
  readonly id: string | null
  readonly usage: Usage | null
}

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
  /** Null where it is no JSON object. */
  readonly facts: (json: Buffer) => AnswerFacts | null
  /** An error that the client's SDK raises, as the last frame of a stream. */
  readonly failure: (code: ErrorCode) => string
}

const DONE = Buffer.from('[DONE]')
const OPENAI_ERROR = Buffer.from('{"error"')
const USAGE = Buffer.from('"usage"')

const startsWith = (bytes: Buffer, prefix: Buffer): boolean =>
  bytes.length >= prefix.length && bytes.compare(prefix, 0, prefix.length, 0, prefix.length) === 0

export const OPENAI_WIRE: Wire = {
  isDone: (data) => data.length === DONE.length && startsWith(data, DONE),
  isFailure: (data) => startsWith(data, OPENAI_ERROR),
  failureStatus,
  hasContent: hasOpenAiContent,
  usageMark: USAGE,
  facts: (json) => factsOf(json, 'prompt_tokens', 'completion_tokens'),
  failure: (code) => `data: ${errorBody(code)}\n\n`,
}

const TRANSCRIBED = /^\{\s*"type"\s*:\s*"transcript\.text\.done"/

/** OpenAI ends the stream of a transcription with an event, compatible servers end it with `[DONE]`. */
export const TRANSCRIPTION_WIRE: Wire = {
  ...OPENAI_WIRE,
  isDone: (data) => OPENAI_WIRE.isDone(data) || TRANSCRIBED.test(head(data)),
  facts: (json) => factsOf(json, 'input_tokens', 'output_tokens'),
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
  facts: anthropicFacts,
  failure: (code) =>
    `event: error\ndata: ${anthropicMessages.error(code, null, '').toString()}\n\n`,
}

/** The first frame of a stream has both within the message that it starts. */
function anthropicFacts(json: Buffer): AnswerFacts | null {
  const facts = factsOf(json, 'input_tokens', 'output_tokens')
  if (facts === null || facts.id !== null || !json.includes(MESSAGE)) return facts
  const started = jsonMembers(json).find(({ name }) => name === 'message')
  if (started === undefined) return facts
  return factsOf(json.subarray(started.valueStart, started.end), 'input_tokens', 'output_tokens')
}

/** The members `id` and `usage`; nothing else is decoded. */
function factsOf(json: Buffer, prompt: string, completion: string): AnswerFacts | null {
  let id: string | null = null
  let usage: Usage | null = null
  try {
    for (const { name, valueStart, end } of jsonMembers(json)) {
      if (name !== 'id' && name !== 'usage') continue
      const value: unknown = JSON.parse(json.toString('utf8', valueStart, end))
      if (name === 'id') id = typeof value === 'string' ? value : null
      else usage = usageOf(value, prompt, completion)
    }
  } catch {
    return null
  }
  return { id, usage }
}

function usageOf(value: unknown, prompt: string, completion: string): Usage | null {
  if (typeof value !== 'object' || value === null) return null
  return {
    prompt: count(Reflect.get(value, prompt)),
    completion: count(Reflect.get(value, completion)),
  }
}

const count = (value: unknown): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0
