import type { JsonValue } from '@vouchgate/attestation'
import type {
  AssistantPart,
  CanonicalAnswer,
  CanonicalUsage,
  FinishReason,
  JsonObject,
  LogprobToken,
} from '../../../src/dialects/canonical.ts'
import { ProviderError, type Target } from '../../../src/dialects/dialect.ts'
import { failureOf } from '../../../src/dialects/openai-chat/failure.ts'
import {
  argumentsText,
  listOf,
  parsed,
  textOf,
  wholeOf,
  wordOf,
} from '../../../src/dialects/openai-chat/json.ts'
import { thoughtSignature } from '../../../src/dialects/openai-chat/messages.ts'
import {
  malformed,
  newId,
  readLogprobs,
} from '../../../src/dialects/openai-chat/provider-answer.ts'
import { readReasoningItem } from '../../../src/dialects/openai-responses/items.ts'
import { readUsage } from '../../../src/dialects/openai-responses/usage.ts'
import { isObject, member, type Json } from '../../../src/dialects/json.ts'

const MAX_ITEMS = 20_000

/** Reads a whole response. Throws `upstream_malformed`, or `ProviderError` where it failed. */
export function readAnswer(body: Buffer, target: Target): CanonicalAnswer {
  const answer = parsed(body)
  if (!isObject(answer)) throw malformed()
  const { error, status, output } = answer
  if (isObject(error)) throw new ProviderError(failureOf(error))
  if (status === 'failed') throw new ProviderError(failureOf(answer))
  const items = listOf(output)
  if (!Array.isArray(output) || UNFINISHED.has(status) || items.length > MAX_ITEMS)
    throw malformed()
  const parts = items.flatMap((item) => readItem(item, target))
  return {
    ...readHead(answer, target),
    choices: [
      {
        index: 0,
        parts,
        finish: readFinish(
          answer,
          parts.some(({ type }) => type === 'tool_call'),
        ),
        stopSequence: null,
        logprobs: readTokens(items),
      },
    ],
    usage: readUsage(answer['usage']),
  }
}

/** Any other is an answer, whatever it is called: clones write `complete`, or nothing. */
const UNFINISHED: ReadonlySet<Json> = new Set(['in_progress', 'queued', 'cancelled'])

export const readHead = (
  response: JsonObject,
  target: Target,
): Pick<CanonicalAnswer, 'id' | 'model' | 'created'> => ({
  id: wordOf(response['id']) ?? newId('resp_', target),
  model: wordOf(response['model']) ?? target.model,
  created: wholeOf(response['created_at']) ?? target.now(),
})

export function readFinish(response: JsonObject, hasCalls: boolean): FinishReason {
  const reason = member(response['incomplete_details'], 'reason')
  if (reason === 'content_filter') return 'content_filter'
  if (response['status'] === 'incomplete') return 'length'
  return hasCalls ? 'tool_calls' : 'stop'
}

/** Calls of the provider's own tools are over when the answer is, and are passed over. */
function readItem(item: JsonValue, target: Target): AssistantPart[] {
  if (!isObject(item)) throw malformed()
  switch (textOf(item['type']) ?? '') {
    case 'message':
      return listOf(item['content']).flatMap(readContent)
    case 'reasoning': {
      const part = readReasoningItem(item)
      return part.text === '' && part.encrypted === null ? [] : [part]
    }
    case 'function_call': {
      const name = wordOf(item['name'])
      if (name === null) throw malformed()
      return [
        {
          type: 'tool_call',
          id: wordOf(item['call_id']) ?? newId('call_', target),
          name,
          arguments: argumentsText(item['arguments']) || '{}',
          signature: thoughtSignature(item),
        },
      ]
    }
    default:
      return []
  }
}

function readContent(part: JsonValue): AssistantPart[] {
  const text = wordOf(member(part, 'text'))
  const refusal = wordOf(member(part, 'refusal'))
  if (refusal !== null) return [{ type: 'refusal', text: refusal }]
  return text === null ? [] : [{ type: 'text', text }]
}

function readTokens(items: readonly JsonValue[]): LogprobToken[] | null {
  const tokens = items
    .flatMap((item) => listOf(member(item, 'content')))
    .flatMap((part) => listOf(member(part, 'logprobs')))
  return tokens.length === 0 ? null : readLogprobs({ content: tokens })
}
