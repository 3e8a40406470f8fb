import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { AssistantPart, CanonicalAnswer, CanonicalUsage, FinishReason } from '../canonical.ts'
import type { Target } from '../dialect.ts'
import { makeId } from '../ids.ts'
import { countAt, listAt, readAnswer, textAt } from '../loose.ts'
import { isList, isObject, member } from '../json.ts'

const FINISH: Readonly<Record<string, FinishReason>> = {
  COMPLETE: 'stop',
  STOP_SEQUENCE: 'stop',
  MAX_TOKENS: 'length',
  TOOL_CALL: 'tool_calls',
  ERROR: 'error',
  ERROR_TOXIC: 'content_filter',
  TIMEOUT: 'error',
}

export const finishOf = (reason: string): FinishReason =>
  (Object.hasOwn(FINISH, reason) ? FINISH[reason] : undefined) ?? 'stop'

function billedOf(units: JsonValue | undefined): CanonicalUsage['billed'] {
  const input = countAt(units, 'input_tokens')
  const output = countAt(units, 'output_tokens')
  return input === null && output === null ? undefined : { input: input ?? 0, output: output ?? 0 }
}

/** `tokens` are what the model read and wrote, with what was cached among the first; billed are fewer. */
export function usageOf(value: JsonValue | undefined): CanonicalUsage | null {
  const billed = billedOf(member(value, 'billed_units'))
  const tokens = member(value, 'tokens')
  const input = countAt(tokens, 'input_tokens') ?? billed?.input
  const output = countAt(tokens, 'output_tokens') ?? billed?.output
  if (input === undefined && output === undefined) return null
  const cacheRead = Math.min(countAt(value, 'cached_tokens') ?? 0, input ?? 0)
  return {
    uncachedInput: (input ?? 0) - cacheRead,
    cacheRead,
    cacheWrite: 0,
    output: output ?? 0,
    reasoning: 0,
    ...(billed === undefined ? {} : { billed }),
  }
}

const reasoning = (text: string): AssistantPart => ({
  type: 'reasoning',
  text,
  signature: null,
  encrypted: null,
  id: null,
})

function contentPart(part: JsonValue): AssistantPart | null {
  const thinking = textAt(part, 'thinking')
  if (thinking !== null && thinking !== '') return reasoning(thinking)
  const text = textAt(part, 'text') ?? ''
  return text === '' ? null : { type: 'text', text }
}

/** A call without arguments has the text `null` or none at all. */
const argumentsOf = (text: string | null): string =>
  text === null || text === '' || text === 'null' ? '{}' : text

function toolCall(call: JsonValue, target: Target): AssistantPart {
  const fn = member(call, 'function')
  const name = textAt(fn, 'name')
  if (name === null) throw new GatewayError('upstream_malformed')
  return {
    type: 'tool_call',
    id: textAt(call, 'id') ?? makeId('call_', target),
    name,
    arguments: argumentsOf(textAt(fn, 'arguments')),
    signature: null,
  }
}

/** A whole answer. Citations are dropped: no client dialect has a place that means the same. */
export function decodeCohere(body: Buffer, target: Target): CanonicalAnswer {
  const value = readAnswer(body)
  const message = member(value, 'message')
  const reason = textAt(value, 'finish_reason')
  if (!isObject(message) || reason === null) throw new GatewayError('upstream_malformed')
  const plan = textAt(message, 'tool_plan') ?? ''
  const content = member(message, 'content')
  const texts = isList(content) ? content : typeof content === 'string' ? [{ text: content }] : []
  return {
    id: textAt(value, 'id') ?? makeId('chat-', target),
    model: target.model,
    created: target.now(),
    choices: [
      {
        index: 0,
        parts: [
          ...(plan === '' ? [] : [reasoning(plan)]),
          ...texts.map(contentPart).filter((part) => part !== null),
          ...listAt(message, 'tool_calls').map((call) => toolCall(call, target)),
        ],
        finish: finishOf(reason),
        stopSequence: null,
        logprobs: null,
      },
    ],
    usage: usageOf(member(value, 'usage')),
  }
}
