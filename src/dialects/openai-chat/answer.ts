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
import { writeReasoning } from './reasoning.ts'
import { writeUsage } from './usage.ts'

/** A whole chat completion. Throws `upstream_error` where an answer ended in an error, which OpenAI has no reason for. */
export function writeAnswer(answer: CanonicalAnswer): JsonObject {
  return {
    id: answer.id,
    object: 'chat.completion',
    created: answer.created,
    model: answer.model,
    choices: answer.choices.map(writeChoice),
    ...(answer.usage === null ? {} : { usage: writeUsage(answer.usage) }),
  }
}

function writeChoice(choice: CanonicalChoice): JsonObject {
  return {
    index: choice.index,
    message: writeMessage(choice.parts),
    logprobs: writeLogprobs(choice.logprobs),
    finish_reason: writeFinish(choice.finish),
  }
}

export function writeFinish(finish: FinishReason): string {
  if (finish === 'error') throw new GatewayError('upstream_error')
  return finish
}

const ofType = <T extends AssistantPart['type']>(
  parts: readonly AssistantPart[],
  type: T,
): Extract<AssistantPart, { type: T }>[] =>
  parts.filter((part): part is Extract<AssistantPart, { type: T }> => part.type === type)

function writeMessage(parts: readonly AssistantPart[]): JsonObject {
  const calls = ofType(parts, 'tool_call')
  const refusal = joined(ofType(parts, 'refusal'))
  const content = joined(ofType(parts, 'text'))
  // Clients test for null to see that there is nothing but calls or a refusal.
  const blank = calls.length > 0 || refusal !== null ? null : ''
  return {
    role: 'assistant',
    content: content ?? blank,
    refusal,
    ...writeReasoning(ofType(parts, 'reasoning')),
    ...(calls.length === 0 ? {} : { tool_calls: calls.map(writeCall) }),
  }
}

const joined = (parts: readonly { readonly text: string }[]): string | null =>
  parts.length === 0 ? null : parts.map(({ text }) => text).join('')

export const writeCall = (call: ToolCallPart): JsonObject => ({
  id: call.id,
  type: 'function',
  function: { name: call.name, arguments: call.arguments === '' ? '{}' : call.arguments },
  ...writeSignature(call.signature),
})

/** Google's own place for it. */
export const writeSignature = (signature: string | null): JsonObject =>
  signature === null ? {} : { extra_content: { google: { thought_signature: signature } } }

export const writeLogprobs = (logprobs: readonly LogprobToken[] | null): JsonObject | null =>
  logprobs === null ? null : { content: logprobs.map(writeToken), refusal: null }

const writeToken = (token: LogprobToken): JsonObject => ({
  ...writeTop(token),
  top_logprobs: token.top.map(writeTop),
})

const writeTop = ({ token, logprob, bytes }: Omit<LogprobToken, 'top'>): JsonObject => ({
  token,
  logprob,
  bytes,
})
