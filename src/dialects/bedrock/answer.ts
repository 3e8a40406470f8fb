import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { AssistantPart, CanonicalAnswer, CanonicalUsage, FinishReason } from '../canonical.ts'
import type { Target } from '../dialect.ts'
import { makeId } from '../ids.ts'
import { countAt, listAt, readAnswer, textAt, writeJson } from '../loose.ts'
import { isList, isObject, member } from '../json.ts'

const FINISH: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  tool_use: 'tool_calls',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  guardrail_intervened: 'content_filter',
  content_filtered: 'content_filter',
  malformed_model_output: 'error',
  malformed_tool_use: 'error',
}

/** Some models end a turn with a tool call and do not say so. */
export function finishOf(reason: string, called: boolean): FinishReason {
  const finish = (Object.hasOwn(FINISH, reason) ? FINISH[reason] : undefined) ?? 'stop'
  return finish === 'stop' && called ? 'tool_calls' : finish
}

/** Only Claude says it, beside Converse's own members. */
export function stopSequenceOf(value: JsonValue | undefined): string | null {
  const fields = member(value, 'additionalModelResponseFields')
  return textAt(fields, 'stop_sequence') ?? textAt(member(fields, 'delta'), 'stop_sequence')
}

/** `inputTokens` excludes what was read from or written to a cache. */
export function usageOf(value: JsonValue | undefined): CanonicalUsage | null {
  const input = countAt(value, 'inputTokens')
  const output = countAt(value, 'outputTokens')
  if (input === null && output === null) return null
  return {
    uncachedInput: input ?? 0,
    cacheRead: countAt(value, 'cacheReadInputTokens') ?? 0,
    cacheWrite: countAt(value, 'cacheWriteInputTokens') ?? 0,
    output: output ?? 0,
    reasoning: 0,
  }
}

/** Bedrock ran this tool itself; the client must not. */
export const isServerTool = (toolUse: JsonValue | undefined): boolean =>
  textAt(toolUse, 'type') === 'server_tool_use'

function reasoningPart(content: JsonValue): AssistantPart {
  const said = member(content, 'reasoningText')
  return {
    type: 'reasoning',
    text: textAt(said, 'text') ?? '',
    signature: textAt(said, 'signature'),
    encrypted: textAt(content, 'redactedContent'),
    id: null,
  }
}

function toolCall(toolUse: JsonValue, target: Target): AssistantPart {
  const name = textAt(toolUse, 'name')
  if (name === null) throw new GatewayError('upstream_malformed')
  return {
    type: 'tool_call',
    id: textAt(toolUse, 'toolUseId') ?? makeId('tooluse_', target),
    name,
    arguments: writeJson(member(toolUse, 'input') ?? {}, 'upstream_malformed'),
    signature: null,
  }
}

function partOf(block: JsonValue, target: Target): AssistantPart | null {
  const toolUse = member(block, 'toolUse')
  if (isObject(toolUse)) return isServerTool(toolUse) ? null : toolCall(toolUse, target)
  const reasoning = member(block, 'reasoningContent')
  if (isObject(reasoning)) return reasoningPart(reasoning)
  const cited = listAt(member(block, 'citationsContent'), 'content')
  const text = textAt(block, 'text') ?? cited.map((one) => textAt(one, 'text') ?? '').join('')
  return text === '' ? null : { type: 'text', text }
}

/** A whole answer of Converse. */
export function decodeBedrock(body: Buffer, target: Target): CanonicalAnswer {
  const value = readAnswer(body)
  const content = member(member(member(value, 'output'), 'message'), 'content')
  const reason = textAt(value, 'stopReason')
  if (!isList(content) || reason === null) throw new GatewayError('upstream_malformed')
  const parts = content.map((block) => partOf(block, target)).filter((part) => part !== null)
  const called = parts.some((part) => part.type === 'tool_call')
  return {
    id: makeId('converse-', target),
    model: target.model,
    created: target.now(),
    choices: [
      {
        index: 0,
        parts,
        finish: finishOf(reason, called),
        stopSequence: stopSequenceOf(value),
        logprobs: null,
      },
    ],
    usage: usageOf(member(value, 'usage')),
  }
}
