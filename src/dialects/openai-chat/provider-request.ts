import { GatewayError } from '../../errors.ts'
import type {
  CanonicalRequest,
  Effort,
  JsonObject,
  ReasoningWish,
  ResponseFormat,
  Tool,
  ToolChoice,
} from '../canonical.ts'
import { writeMessages } from './provider-messages.ts'
import { EFFORTS } from './request.ts'
import type { Variant } from './variants.ts'

/** A request body for this provider. Throws `request_not_supported`. */
export function writeRequest(
  request: CanonicalRequest,
  model: string,
  variant: Variant,
): JsonObject {
  if (request.logprobs !== null && !variant.logprobs) {
    throw new GatewayError('request_not_supported')
  }
  return allowed(variant, {
    ...ownMembers(request),
    model,
    messages: writeMessages(request.messages, variant),
    ...writeTools(request),
    ...writeSampling(request, model, variant),
    ...given('response_format', request.format === null ? null : writeFormat(request.format)),
    ...(request.reasoning === null ? {} : writeWish(request.reasoning, variant)),
    ...writeLogprobs(request.logprobs),
    ...writeStream(request.stream, variant),
    ...variant.always,
  })
}

const given = (name: string, value: JsonObject[string] | undefined): JsonObject =>
  value === null || value === undefined ? {} : { [name]: value }

function allowed({ members }: Variant, body: JsonObject): JsonObject {
  if (members === null) return body
  return Object.fromEntries(Object.entries(body).filter(([name]) => members.has(name)))
}

/** Members of responses that chat completions have under the same name. */
export const SHARED = [
  'metadata',
  'prompt_cache_key',
  'prompt_cache_retention',
  'safety_identifier',
  'service_tier',
  'user',
] as const

/** Only members of the same dialect mean the same. What is said below replaces them. */
function ownMembers({ dialect, extra }: CanonicalRequest): JsonObject {
  if (dialect === 'openai-chat') {
    const { stream_options: _, ...rest } = extra
    return rest
  }
  if (dialect !== 'openai-responses') return {}
  return Object.assign({}, ...SHARED.map((name) => given(name, extra[name])))
}

function writeTools(request: CanonicalRequest): JsonObject {
  if (request.tools.length === 0) return {}
  return {
    tools: request.tools.map(writeTool),
    ...given('tool_choice', request.toolChoice === null ? null : writeChoice(request.toolChoice)),
    ...given('parallel_tool_calls', request.parallelToolCalls),
  }
}

const writeTool = ({ name, description, parameters, strict }: Tool): JsonObject => ({
  type: 'function',
  function: {
    name,
    ...given('description', description),
    ...given('parameters', parameters),
    ...given('strict', strict),
  },
})

const writeChoice = (choice: ToolChoice): JsonObject | string =>
  choice.type === 'tool' ? { type: 'function', function: { name: choice.name } } : choice.type

/** OpenAI's reasoning models refuse `max_tokens`, older servers do not know its successor. */
export const REASONS = /(?:^|\/)(?:o[1-9]|gpt-[5-9])/

function writeSampling(
  { sampling, dialect }: CanonicalRequest,
  model: string,
  variant: Variant,
): JsonObject {
  const limit =
    variant.maxTokens !== 'by_model'
      ? variant.maxTokens
      : REASONS.test(model)
        ? 'max_completion_tokens'
        : 'max_tokens'
  return {
    ...given(limit, sampling.maxTokens),
    ...given('temperature', sampling.temperature),
    ...given('top_p', sampling.topP),
    ...given('top_k', variant.topK || dialect === 'openai-chat' ? sampling.topK : null),
    ...given(variant.seed, sampling.seed),
    ...given('frequency_penalty', sampling.frequencyPenalty),
    ...given('presence_penalty', sampling.presencePenalty),
    ...(sampling.stop.length === 0 ? {} : { stop: sampling.stop }),
    ...given('n', sampling.n),
  }
}

const writeFormat = (format: ResponseFormat): JsonObject =>
  format.type === 'json'
    ? { type: 'json_object' }
    : {
        type: 'json_schema',
        json_schema: {
          name: format.name,
          ...given('description', format.description),
          schema: format.schema,
          ...given('strict', format.strict),
        },
      }

const writeLogprobs = (top: number | null): JsonObject =>
  top === null ? {} : { logprobs: true, ...(top === 0 ? {} : { top_logprobs: top }) }

function writeStream(stream: boolean, variant: Variant): JsonObject {
  if (!stream) return { stream: false }
  return variant.streamOptions
    ? { stream: true, stream_options: { include_usage: true } }
    : { stream: true }
}

function writeWish(wish: ReasoningWish, variant: Variant): JsonObject {
  const isOpen = wish.effort === null && wish.budgetTokens === null
  switch (variant.wish) {
    case 'nowhere':
      return {}
    case 'thinking':
      return { thinking: { type: effortOf(wish) === 'none' ? 'disabled' : 'enabled' } }
    case 'reasoning':
      return {
        reasoning: {
          ...given('effort', wish.effort),
          ...given('max_tokens', wish.effort === null ? wish.budgetTokens : null),
          ...(isOpen ? { enabled: true } : {}),
        },
      }
    case 'reasoning_effort':
      return isOpen ? {} : { reasoning_effort: nearest(effortOf(wish), variant.efforts) }
  }
}

/** An effort for a budget in tokens, where only efforts can be said; OpenAI's default for neither. */
export function effortOf({ effort, budgetTokens }: ReasoningWish): Effort {
  if (effort !== null) return effort
  if (budgetTokens === null) return 'medium'
  if (budgetTokens > 8192) return 'high'
  if (budgetTokens === 0) return 'none'
  return budgetTokens > 2048 ? 'medium' : 'low'
}

/** The strongest effort that is not above the wish, else the weakest there is. */
function nearest(wish: Effort, efforts: readonly Effort[] | null): Effort {
  if (efforts === null) return wish
  const limit = EFFORTS.indexOf(wish)
  const below = efforts.filter((effort) => EFFORTS.indexOf(effort) <= limit)
  // A wish to reason, however little, is not a wish to not reason.
  const able = wish === 'none' ? below : below.filter((effort) => effort !== 'none')
  return able.at(-1) ?? efforts.find((effort) => effort !== 'none') ?? wish
}
