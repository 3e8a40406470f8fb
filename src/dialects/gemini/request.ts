import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  CanonicalRequest,
  Effort,
  JsonObject,
  ResponseFormat,
  Tool,
  ToolChoice,
} from '../canonical.ts'
import type { EncodedRequest, Target } from '../dialect.ts'
import { compact, writeJson } from '../loose.ts'
import { contents, systemInstruction } from './content.ts'
import { geminiSchema } from './schema.ts'
import { isObject, member } from '../json.ts'

const MAX_STOPS = 5

/** Tokens to think with, for models before Gemini 3. */
const BUDGETS: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 512,
  low: 1024,
  medium: 8192,
  high: 24_576,
  xhigh: 24_576,
  max: 24_576,
}
/** Gemini 3 cannot be kept from thinking. */
const LEVELS: Readonly<Record<Effort, string>> = {
  none: 'minimal',
  minimal: 'minimal',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'high',
  max: 'high',
}

function thinking(request: CanonicalRequest, model: string): JsonObject | undefined {
  const wish = request.reasoning
  if (wish === null || (wish.effort === null && wish.budgetTokens === null)) return undefined
  const thinks = wish.effort !== 'none' && wish.budgetTokens !== 0
  const shown: JsonObject = thinks ? { includeThoughts: true } : {}
  if (wish.budgetTokens !== null) return { thinkingBudget: wish.budgetTokens, ...shown }
  const effort = wish.effort ?? 'medium'
  return /gemini-(?:[3-9]|\d\d)/.test(model)
    ? { thinkingLevel: LEVELS[effort], ...shown }
    : { thinkingBudget: BUDGETS[effort], ...shown }
}

function format(wanted: ResponseFormat | null): Record<string, JsonValue | undefined> {
  if (wanted === null) return {}
  const responseMimeType = 'application/json'
  if (wanted.type === 'json') return { responseMimeType }
  const responseSchema = geminiSchema(wanted.schema)
  return responseSchema === null
    ? { responseMimeType, responseJsonSchema: wanted.schema }
    : { responseMimeType, responseSchema }
}

function generationConfig(request: CanonicalRequest, model: string): JsonObject {
  const { sampling, logprobs } = request
  if (sampling.stop.length > MAX_STOPS) throw new GatewayError('request_not_supported')
  return compact({
    temperature: sampling.temperature,
    topP: sampling.topP,
    topK: sampling.topK,
    maxOutputTokens: sampling.maxTokens,
    candidateCount: sampling.n,
    stopSequences: sampling.stop.length === 0 ? undefined : sampling.stop,
    seed: sampling.seed,
    presencePenalty: sampling.presencePenalty,
    frequencyPenalty: sampling.frequencyPenalty,
    responseLogprobs: logprobs === null ? null : true,
    logprobs: logprobs === 0 ? null : logprobs,
    thinkingConfig: thinking(request, model),
    ...format(request.format),
  })
}

/** A function without arguments has no parameters: an empty object is refused. */
function declaration({ name, description, parameters }: Tool): JsonObject {
  const about = { name, description }
  const properties = parameters === null ? undefined : member(parameters, 'properties')
  const bare = isObject(properties) && Object.keys(properties).length === 0
  if (parameters === null || bare || Object.keys(parameters).length === 0) return compact(about)
  const converted = geminiSchema(parameters)
  if (converted === null) return compact({ ...about, parametersJsonSchema: parameters })
  const empty =
    member(converted, 'properties') === undefined && member(converted, 'type') === 'OBJECT'
  return compact({ ...about, parameters: empty ? undefined : converted })
}

function toolConfig(choice: ToolChoice | null): JsonObject | undefined {
  if (choice === null) return undefined
  if (choice.type === 'tool')
    return { functionCallingConfig: { mode: 'ANY', allowedFunctionNames: [choice.name] } }
  const modes = { auto: 'AUTO', none: 'NONE', required: 'ANY' } as const
  return { functionCallingConfig: { mode: modes[choice.type] } }
}

/** `seed`, penalties and the rest as they are; `parallelToolCalls` cannot be said to Gemini and is dropped. */
export function encodeGemini(request: CanonicalRequest, target: Target): EncodedRequest {
  const { model } = target
  const config = generationConfig(request, model)
  const body = compact({
    contents: contents(request.messages, model).map(({ role, parts }) => ({ role, parts })),
    systemInstruction: systemInstruction(request.messages),
    tools:
      request.tools.length === 0
        ? undefined
        : [{ functionDeclarations: request.tools.map(declaration) }],
    toolConfig: request.tools.length === 0 ? undefined : toolConfig(request.toolChoice),
    generationConfig: Object.keys(config).length === 0 ? undefined : config,
  })
  const method = request.stream ? 'streamGenerateContent?alt=sse' : 'generateContent'
  return {
    path: `/models/${encodeURIComponent(model)}:${method}`,
    headers: {},
    body: Buffer.from(writeJson(body, 'invalid_request')),
  }
}
