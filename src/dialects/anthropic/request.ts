import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { CanonicalRequest, JsonObject } from '../canonical.ts'
import type { EncodedRequest, Target } from '../dialect.ts'
import type { Block } from './blocks.ts'
import { traitsOf, type ModelTraits } from './models.ts'
import { membersOf } from './read.ts'
import { planThinking } from './reasoning.ts'
import { planTools } from './tools.ts'
import { conversationOf, hasLostThoughts } from './turns.ts'
import { isObject } from '../json.ts'

const VERSION = '2023-06-01'
const FILES_BETA = 'files-api-2025-04-14'

type Extra = CanonicalRequest['extra']
const NONE: Extra = {}

/** A client of this dialect says its own members better than the canonical form does. */
const extraOf = (request: CanonicalRequest): Extra =>
  request.dialect === 'anthropic-messages' ? request.extra : NONE

/** What cannot be asked and would be missed. A seed and penalties are hints, and are dropped. */
function refuseUnanswerable(request: CanonicalRequest): void {
  const { sampling, logprobs } = request
  const many = sampling.n !== null && sampling.n !== 1
  const blank = sampling.stop.some((text) => text.trim() === '')
  if (many || blank || logprobs !== null) throw new GatewayError('request_not_supported')
}

/** Newer models take fewer of them and refuse the rest; Anthropic's temperature ends at 1, OpenAI's at 2. */
function samplingOf(request: CanonicalRequest, traits: ModelTraits, thinks: boolean): JsonObject {
  const { temperature, topP, topK } = request.sampling
  if (request.dialect === 'anthropic-messages') {
    return {
      ...(temperature === null ? {} : { temperature }),
      ...(topP === null ? {} : { top_p: topP }),
      ...(topK === null ? {} : { top_k: topK }),
    }
  }
  if (traits.sampling === 'none' || thinks) return {}
  const both = traits.sampling === 'all' || temperature === null
  return {
    ...(temperature === null ? {} : { temperature: Math.min(1, Math.max(0, temperature)) }),
    ...(topP === null || !both ? {} : { top_p: topP }),
    ...(topK === null ? {} : { top_k: topK }),
  }
}

const systemOf = (blocks: readonly Block[]): { readonly system?: JsonValue } => {
  const [first] = blocks
  if (first === undefined) return {}
  const alone = blocks.length === 1 && first['cache_control'] === undefined
  return { system: alone ? (first['text'] ?? '') : blocks }
}

interface ThinkingMembers {
  readonly maxTokens: number
  readonly thinking: JsonValue
  readonly output: JsonObject
}

/** `thinking` and `output_config` are sent as a client of this dialect gave them: the canonical form only sums them up. */
function nativeThinking(request: CanonicalRequest, traits: ModelTraits): ThinkingMembers | null {
  const { thinking = null, output_config: config = null } = extraOf(request)
  if (!isObject(thinking) && !isObject(config)) return null
  // The form of the answer is planned with the tools.
  const output = Object.entries(membersOf(config)).filter(([name]) => name !== 'format')
  const maxTokens = request.sampling.maxTokens ?? traits.maxOutput
  return { maxTokens, thinking, output: Object.fromEntries(output) }
}

function plannedThinking(
  request: CanonicalRequest,
  traits: ModelTraits,
  mayThink: boolean,
): ThinkingMembers {
  const { maxTokens, thinking, effort } = planThinking(request, traits, mayThink)
  return { maxTokens, thinking, output: effort === null ? {} : { effort } }
}

function bodyOf(request: CanonicalRequest, target: Target): JsonObject {
  const traits = traitsOf(target.model)
  const tools = planTools(request, traits)
  const conversation = conversationOf(request)
  const lost = traits.thinking === 'manual' && hasLostThoughts(conversation)
  const { maxTokens, thinking, output } =
    nativeThinking(request, traits) ?? plannedThinking(request, traits, !tools.forced && !lost)
  const format = tools.format === null ? {} : { format: tools.format }
  const outputConfig = { ...output, ...format }
  return {
    ...extraOf(request),
    model: target.model,
    ...systemOf(conversation.system),
    messages: conversation.turns.map(({ role, content }) => ({ role, content })),
    ...(tools.tools.length === 0 ? {} : { tools: tools.tools }),
    ...(tools.choice === null ? {} : { tool_choice: tools.choice }),
    ...(thinking === null ? {} : { thinking }),
    ...(Object.keys(outputConfig).length === 0 ? {} : { output_config: outputConfig }),
    max_tokens: maxTokens,
    ...(request.sampling.stop.length === 0 ? {} : { stop_sequences: request.sampling.stop }),
    ...samplingOf(request, traits, thinking !== null && membersOf(thinking)['type'] !== 'disabled'),
    stream: request.stream,
  }
}

const namesFile = (request: CanonicalRequest): boolean =>
  request.messages.some(
    (message) =>
      message.role === 'user' &&
      message.parts.some((part) => part.type === 'file' && part.source.kind === 'id'),
  )

function headersOf(request: CanonicalRequest): EncodedRequest['headers'] {
  const version = { 'anthropic-version': VERSION }
  if (!namesFile(request)) return version
  // Another provider's id of a file means nothing here.
  if (request.dialect !== 'anthropic-messages') throw new GatewayError('request_not_supported')
  return { ...version, 'anthropic-beta': FILES_BETA }
}

/** `POST /messages`. Throws `request_not_supported`. */
export function encodeRequest(request: CanonicalRequest, target: Target): EncodedRequest {
  refuseUnanswerable(request)
  return {
    path: '/messages',
    headers: headersOf(request),
    body: Buffer.from(JSON.stringify(bodyOf(request, target))),
  }
}
