import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CanonicalAnswer,
  CanonicalChoice,
  FinishReason,
  JsonObject,
  LogprobToken,
  ToolCallPart,
} from '../canonical.ts'
import { ProviderError, type Target } from '../dialect.ts'
import { failureOf } from './failure.ts'
import { argumentsText, listOf, parsed, textOf, wholeOf, wordOf } from './json.ts'
import { thinkingText, thoughtSignature } from './messages.ts'
import { readReasoning } from './reasoning.ts'
import { readUsage } from './usage.ts'
import { isList, isObject, member, type Json } from '../json.ts'

export const MAX_CHOICES = 128
export const MAX_CALLS = 1024

export const malformed = (): GatewayError => new GatewayError('upstream_malformed')

/** Reads a whole chat completion. Throws `upstream_malformed`, or `ProviderError` where it holds an error. */
export function readAnswer(body: Buffer, target: Target): CanonicalAnswer {
  const answer = parsed(body)
  if (!isObject(answer)) throw malformed()
  const error = member(answer, 'error')
  if (error !== undefined && error !== null) throw new ProviderError(failureOf(answer))
  const choices = listOf(answer['choices'])
  if (choices.length === 0 || choices.length > MAX_CHOICES) throw malformed()
  return {
    id: wordOf(answer['id']) ?? newId('chatcmpl-', target),
    model: wordOf(answer['model']) ?? target.model,
    created: wholeOf(answer['created']) ?? target.now(),
    choices: choices.map((choice, at) => readChoice(choice, at, target)),
    usage: readUsage(answer['usage']) ?? readUsage(member(answer['x_groq'], 'usage')),
  }
}

export const newId = (prefix: string, target: Target): string =>
  prefix + Buffer.from(target.random(12)).toString('hex')

function readChoice(choice: JsonValue, at: number, target: Target): CanonicalChoice {
  const message = member(choice, 'message')
  if (!isObject(message)) throw malformed()
  const error = member(choice, 'error')
  if (isObject(error)) throw new ProviderError(failureOf(error))
  const parts = readParts(message, target)
  const finish = readFinish(member(choice, 'finish_reason'))
  if (finish === 'error') throw new ProviderError(BROKEN_OFF)
  const hasCalls = parts.some((part) => part.type === 'tool_call')
  return {
    index: wholeOf(member(choice, 'index')) ?? at,
    parts,
    finish: hasCalls && finish === 'stop' ? 'tool_calls' : finish,
    stopSequence: wordOf(member(choice, 'stop_reason')),
    logprobs: readLogprobs(member(choice, 'logprobs')),
  }
}

/** A model that stopped for a fault of its provider. */
export const BROKEN_OFF = {
  class: 'server',
  status: 500,
  retryAfterSeconds: null,
  message: null,
} as const

const FINISHES: ReadonlyMap<string, FinishReason> = new Map([
  ['length', 'length'],
  ['max_tokens', 'length'],
  ['model_length', 'length'],
  ['tool_calls', 'tool_calls'],
  ['function_call', 'tool_calls'],
  ['content_filter', 'content_filter'],
  ['sensitive', 'content_filter'],
  ['error', 'error'],
  ['network_error', 'error'],
  ['insufficient_system_resource', 'error'],
])

/** `stop`, `eos_token`, `stop_sequence` and whatever else says no more than that it is over. */
export const readFinish = (reason: Json): FinishReason =>
  FINISHES.get(textOf(reason) ?? '') ?? 'stop'

function readParts(message: JsonObject, target: Target): AssistantPart[] {
  const refusal = wordOf(message['refusal'])
  return [
    ...readReasoning(message),
    ...readContent(message['content']),
    ...(refusal === null ? [] : [{ type: 'refusal', text: refusal } as const]),
    ...readCalls(message, target),
  ]
}

/** A text, or Mistral's list of thinking and text. */
export function readContent(content: Json): AssistantPart[] {
  if (!isList(content)) {
    const text = wordOf(content)
    return text === null ? [] : [{ type: 'text', text }]
  }
  return content.flatMap((part): AssistantPart[] => {
    if (typeof part === 'string') return part === '' ? [] : [{ type: 'text', text: part }]
    if (member(part, 'type') === 'thinking') {
      const text = thinkingText(member(part, 'thinking'))
      const proofless = { signature: null, encrypted: null, id: null }
      return text === '' ? [] : [{ type: 'reasoning', text, ...proofless }]
    }
    const text = wordOf(member(part, 'text'))
    return text === null ? [] : [{ type: 'text', text }]
  })
}

function readCalls(message: JsonObject, target: Target): ToolCallPart[] {
  const old = message['function_call']
  const list = isObject(old) ? [{ function: old }] : listOf(message['tool_calls'])
  if (list.length > MAX_CALLS) throw malformed()
  // Google signs the message where the call itself is not signed; the signature belongs to its first call.
  const spare = thoughtSignature(message)
  return list.map((call, at) => {
    const called = member(call, 'function')
    const name = wordOf(member(called, 'name'))
    if (name === null) throw malformed()
    return {
      type: 'tool_call',
      id: wordOf(member(call, 'id')) ?? newId('call_', target),
      name,
      arguments: argumentsText(member(called, 'arguments')) || '{}',
      signature: thoughtSignature(call) ?? (at === 0 ? spare : null),
    }
  })
}

export function readLogprobs(logprobs: Json): LogprobToken[] | null {
  const content = member(logprobs, 'content')
  if (!isList(content)) return null
  return content.map((token) => ({
    ...readToken(token),
    top: listOf(member(token, 'top_logprobs')).map(readToken),
  }))
}

function readToken(token: JsonValue): Omit<LogprobToken, 'top'> {
  const logprob = member(token, 'logprob')
  const bytes = member(token, 'bytes')
  return {
    token: textOf(member(token, 'token')) ?? '',
    logprob: typeof logprob === 'number' && Number.isFinite(logprob) ? logprob : -9999,
    bytes: isList(bytes) ? bytes.flatMap((byte) => wholeOf(byte) ?? []) : null,
  }
}
