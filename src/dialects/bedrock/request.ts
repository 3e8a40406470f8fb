import { GatewayError } from '../../errors.ts'
import type {
  CanonicalRequest,
  Effort,
  JsonObject,
  Message,
  ResponseFormat,
  Tool,
  ToolChoice,
} from '../canonical.ts'
import type { EncodedRequest, Target } from '../dialect.ts'
import { compact, writeJson } from '../loose.ts'
import { toolNames } from '../toolcalls.ts'
import { ContentWriter } from './content.ts'
import { familyOf, takesStrictTools, thinksAdaptively, type Family } from './family.ts'
import { awsEncode } from './sigv4.ts'

const MIN_BUDGET = 1024
const BUDGETS: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: MIN_BUDGET,
  low: MIN_BUDGET,
  medium: 4096,
  high: 16_384,
  xhigh: 32_768,
  max: 32_768,
}
const THREE: Readonly<Record<Effort, 'low' | 'medium' | 'high'>> = {
  none: 'low',
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'high',
  max: 'high',
}

/** A tool loop that began without thinking, or with another's, cannot go on with it. */
function loopsWithoutProof(messages: readonly Message[]): boolean {
  const last = messages.findLast((message) => message.role === 'assistant')
  if (last?.role !== 'assistant' || messages.at(-1)?.role !== 'tool') return false
  return !last.parts.some(
    (part) =>
      part.type === 'reasoning' &&
      part.id === null &&
      (part.signature !== null || part.encrypted !== null),
  )
}

const forced = (choice: ToolChoice | null): boolean =>
  choice?.type === 'required' || choice?.type === 'tool'

/** Whether Claude can be asked to think at all. */
function mayThink({ reasoning, toolChoice, messages }: CanonicalRequest): boolean {
  if (reasoning === null || reasoning.effort === 'none' || reasoning.budgetTokens === 0)
    return false
  const wished = reasoning.effort !== null || reasoning.budgetTokens !== null
  return wished && !forced(toolChoice) && !loopsWithoutProof(messages)
}

/** Claude's `thinking`, or null where the request does not leave room for it. */
function claudeThinking(request: CanonicalRequest, model: string): JsonObject | null {
  if (!mayThink(request)) return null
  const effort = request.reasoning?.effort ?? 'medium'
  const budgetTokens = request.reasoning?.budgetTokens ?? null
  if (budgetTokens === null && thinksAdaptively(model)) {
    const told = effort === 'minimal' ? 'low' : effort
    return { thinking: { type: 'adaptive' }, output_config: { effort: told } }
  }
  const room = (request.sampling.maxTokens ?? Infinity) - 1
  const budget = Math.min(Math.max(budgetTokens ?? BUDGETS[effort], MIN_BUDGET), room)
  return budget < MIN_BUDGET ? null : { thinking: { type: 'enabled', budget_tokens: budget } }
}

function otherThinking({ reasoning }: CanonicalRequest, family: Family): JsonObject | null {
  const effort = reasoning?.effort ?? null
  if (effort === null) return null
  if (family === 'gpt-oss') return { reasoning_effort: THREE[effort] }
  if (family !== 'nova') return null
  return effort === 'none'
    ? { reasoningConfig: { type: 'disabled' } }
    : { reasoningConfig: { type: 'enabled', maxReasoningEffort: THREE[effort] } }
}

function topK(request: CanonicalRequest, family: Family): JsonObject {
  const { topK: count } = request.sampling
  if (count === null) return {}
  if (family === 'anthropic') return { top_k: count }
  return family === 'nova' ? { inferenceConfig: { topK: count } } : {}
}

/** What Converse has no member for. A Claude that thinks takes neither a temperature nor `top_k`. */
function settings(request: CanonicalRequest, model: string, family: Family) {
  const { sampling } = request
  const claude = family === 'anthropic' ? claudeThinking(request, model) : null
  const fields = claude ?? { ...topK(request, family), ...otherThinking(request, family) }
  const inference = compact({
    maxTokens: sampling.maxTokens,
    temperature:
      claude !== null || sampling.temperature === null ? null : Math.min(sampling.temperature, 1),
    topP: claude === null ? sampling.topP : null,
    stopSequences: sampling.stop.length === 0 ? null : sampling.stop,
  })
  return {
    inferenceConfig: Object.keys(inference).length === 0 ? null : inference,
    additionalModelRequestFields: Object.keys(fields).length === 0 ? null : fields,
  }
}

const ANY_OBJECT: JsonObject = { type: 'object', properties: {} }

const specOf = ({ name, description, parameters, strict }: Tool, model: string): JsonObject => ({
  toolSpec: compact({
    name,
    description: description === '' ? null : description,
    inputSchema: { json: parameters ?? ANY_OBJECT },
    strict: strict === true && takesStrictTools(model) ? true : null,
  }),
})

function choiceOf(choice: ToolChoice | null): JsonObject | null {
  if (choice === null || choice.type === 'none') return null
  if (choice.type === 'tool') return { tool: { name: choice.name } }
  return choice.type === 'auto' ? { auto: {} } : { any: {} }
}

/** There is no choice `none`: the tools go unless the conversation has calls, which Bedrock refuses without them. */
function toolConfig(
  request: CanonicalRequest,
  writer: ContentWriter,
  model: string,
): JsonObject | null {
  const { tools, toolChoice } = request
  const called = [...new Set(toolNames(request.messages).values())]
  if (called.length === 0 && (tools.length === 0 || toolChoice?.type === 'none')) return null
  const specs =
    tools.length > 0
      ? tools.flatMap((tool) => [specOf(tool, model), ...writer.cachePoint(tool.cache)])
      : called.map((name) => ({ toolSpec: { name, inputSchema: { json: ANY_OBJECT } } }))
  return compact({ tools: specs, toolChoice: tools.length > 0 ? choiceOf(toolChoice) : null })
}

function outputConfig(format: ResponseFormat | null): JsonObject | null {
  if (format === null) return null
  if (format.type === 'json') throw new GatewayError('request_not_supported')
  const { name, description } = format
  const schema = writeJson(format.schema, 'invalid_request')
  const jsonSchema = compact({ schema, name, description })
  return { textFormat: { type: 'json_schema', structure: { jsonSchema } } }
}

/**
 * `seed`, penalties and `parallelToolCalls` cannot be said to Converse and are dropped; several answers, log probabilities
 * and JSON without a schema would be missed, so they are refused.
 */
export function encodeBedrock(request: CanonicalRequest, target: Target): EncodedRequest {
  const { model } = target
  if ((request.sampling.n ?? 1) > 1 || request.logprobs !== null)
    throw new GatewayError('request_not_supported')
  const family = familyOf(model)
  const writer = new ContentWriter(family)
  const system = writer.system(request.messages)
  const body = compact({
    messages: writer.messages(request.messages),
    system: system.length === 0 ? null : system,
    ...settings(request, model, family),
    toolConfig: toolConfig(request, writer, model),
    outputConfig: outputConfig(request.format),
  })
  return {
    path: `/model/${awsEncode(model)}/${request.stream ? 'converse-stream' : 'converse'}`,
    headers: {},
    body: Buffer.from(writeJson(body, 'invalid_request')),
  }
}
