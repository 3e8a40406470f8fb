import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  CanonicalRequest,
  Effort,
  JsonObject,
  Message,
  ReasoningWish,
  ResponseFormat,
  Sampling,
  Tool,
  ToolChoice,
} from '../canonical.ts'
import { assistantPart, blocksOf, cacheOf, textPart, toolResult, userPart } from './client-parts.ts'
import { membersOf, Must, textOf } from './read.ts'
import type { Json } from '../json.ts'

const must = new Must('invalid_request')

/** Members with a place in the canonical form; the others are `extra`. */
const KNOWN: ReadonlySet<string> = new Set([
  'model',
  'max_tokens',
  'messages',
  'system',
  'tools',
  'tool_choice',
  'stop_sequences',
  'temperature',
  'top_p',
  'top_k',
  'stream',
])

/** A user's turn may hold results and words; runs of each become messages, in their order. */
function userMessages(blocks: readonly JsonObject[]): Message[] {
  const messages: Message[] = []
  for (const block of blocks) {
    const last = messages.at(-1)
    if (block['type'] === 'tool_result') {
      const results = last?.role === 'tool' ? last.results : []
      if (last?.role === 'tool') messages.pop()
      messages.push({ role: 'tool', results: [...results, toolResult(block)] })
    } else {
      const parts = last?.role === 'user' ? last.parts : []
      if (last?.role === 'user') messages.pop()
      messages.push({ role: 'user', parts: [...parts, userPart(block)], name: null })
    }
  }
  return messages
}

function messagesOf(message: JsonObject): readonly Message[] {
  const blocks = blocksOf(message['content'])
  switch (textOf(message['role'])) {
    case 'user':
      return userMessages(blocks)
    case 'assistant':
      return [{ role: 'assistant', parts: blocks.map(assistantPart) }]
    case 'system':
      return [{ role: 'system', parts: blocks.map(textPart) }]
    default:
      return must.fail()
  }
}

function systemMessages(system: Json): readonly Message[] {
  if (system === undefined || system === null) return []
  const parts = blocksOf(system).map(textPart)
  return parts.length === 0 ? [] : [{ role: 'system', parts }]
}

function toolOf(value: JsonValue): Tool {
  const tool = must.object(value)
  const type = must.maybeText(tool['type'])
  // Tools that Anthropic runs itself, or whose arguments it knows by heart.
  if (type !== null && type !== 'custom') throw new GatewayError('request_not_supported')
  return {
    name: must.name(tool['name']),
    description: must.maybeText(tool['description']),
    parameters: must.object(tool['input_schema']),
    strict: must.maybeFlag(tool['strict']),
    ...cacheOf(tool),
  }
}

function choiceOf(choice: JsonObject): ToolChoice {
  const type = textOf(choice['type'])
  switch (type) {
    case 'auto':
    case 'none':
      return { type }
    case 'any':
      return { type: 'required' }
    case 'tool':
      return { type: 'tool', name: must.name(choice['name']) }
    default:
      return must.fail()
  }
}

function toolMembers(body: JsonObject) {
  const choice = must.maybeObject(body['tool_choice'])
  const single = must.maybeFlag(choice?.['disable_parallel_tool_use'])
  return {
    tools: must.maybeList(body['tools']).map(toolOf),
    toolChoice: choice === null ? null : choiceOf(choice),
    parallelToolCalls: single === null ? null : !single,
  }
}

const EFFORTS: ReadonlyMap<string, Effort> = new Map(
  (['low', 'medium', 'high', 'xhigh', 'max'] as const).map((effort) => [effort, effort]),
)

function reasoningOf(thinking: JsonObject | null, output: JsonObject): ReasoningWish | null {
  const named = must.maybeText(output['effort'])
  const effort = named === null ? null : (EFFORTS.get(named) ?? must.fail())
  switch (thinking === null ? '' : must.name(thinking['type'])) {
    case '':
      return effort === null ? null : { effort, budgetTokens: null }
    case 'disabled':
      return { effort: 'none', budgetTokens: null }
    case 'enabled':
      return {
        effort,
        budgetTokens: must.maybeCount(thinking?.['budget_tokens'], 1) ?? must.fail(),
      }
    default:
      // Adaptive, and what may come: the model decides.
      return { effort, budgetTokens: null }
  }
}

function formatOf(output: JsonObject): ResponseFormat | null {
  const format = must.maybeObject(output['format'])
  if (format === null) return null
  if (format['type'] !== 'json_schema') return must.fail()
  const schema = must.object(format['schema'])
  return { type: 'json_schema', name: 'answer', description: null, schema, strict: true }
}

const samplingOf = (body: JsonObject, maxTokens: number): Sampling => ({
  maxTokens,
  temperature: must.maybeNumber(body['temperature']),
  topP: must.maybeNumber(body['top_p']),
  topK: must.maybeCount(body['top_k'], 0),
  seed: null,
  frequencyPenalty: null,
  presencePenalty: null,
  stop: must.maybeList(body['stop_sequences']).map((text: JsonValue) => must.text(text)),
  n: null,
})

/** The body of `POST /v1/messages`. Throws `invalid_request`, and `request_not_supported` for what only Anthropic runs. */
export function decodeRequest(value: JsonValue): CanonicalRequest {
  const body = must.object(must.shallow(value))
  const maxTokens = must.maybeCount(body['max_tokens'], 1) ?? must.fail()
  const output = membersOf(must.maybeObject(body['output_config']) ?? undefined)
  const extra = Object.entries(body).filter(([name]) => !KNOWN.has(name))
  return {
    model: must.name(body['model']),
    stream: must.maybeFlag(body['stream']) ?? false,
    messages: [
      ...systemMessages(body['system']),
      ...must.list(body['messages']).flatMap((message) => messagesOf(must.object(message))),
    ],
    ...toolMembers(body),
    sampling: samplingOf(body, maxTokens),
    format: formatOf(output),
    reasoning: reasoningOf(must.maybeObject(body['thinking']), output),
    logprobs: null,
    streamUsage: true,
    extra: Object.fromEntries(extra),
    dialect: 'anthropic-messages',
  }
}
