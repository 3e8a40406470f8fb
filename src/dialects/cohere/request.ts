import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CanonicalRequest,
  ImagePart,
  JsonObject,
  Message,
  ReasoningWish,
  ResponseFormat,
  TextPart,
  Tool,
  ToolChoice,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import type { EncodedRequest, Target } from '../dialect.ts'
import { compact, writeJson } from '../loose.ts'

const MAX_STOPS = 5
const MIN_P = 0.01
const MAX_P = 0.99

const unsupported = (): GatewayError => new GatewayError('request_not_supported')

const plainText = (parts: readonly TextPart[]): string => parts.map(({ text }) => text).join('')

function imageUrl({ source, detail }: ImagePart): JsonObject {
  const url = source.kind === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`
  return { type: 'image_url', image_url: compact({ url, detail }) }
}

function userContent(parts: readonly UserPart[]): JsonValue {
  const [only] = parts
  if (parts.length === 1 && only?.type === 'text') return only.text
  return parts.map((part) => {
    if (part.type === 'text') return { type: 'text', text: part.text }
    if (part.type === 'image') return imageUrl(part)
    throw unsupported()
  })
}

const toolCall = (part: Extract<AssistantPart, { type: 'tool_call' }>): JsonObject => ({
  id: part.id,
  type: 'function',
  function: { name: part.name, arguments: part.arguments === '' ? '{}' : part.arguments },
})

/** What a model thought before it called tools is Cohere's `tool_plan`; otherwise it stands before the text. */
function assistant(parts: readonly AssistantPart[]): JsonObject {
  const calls = parts.filter((part) => part.type === 'tool_call').map(toolCall)
  const thought = parts
    .filter((part) => part.type === 'reasoning')
    .map(({ text }) => text)
    .join('')
  const text = parts
    .filter((part) => part.type === 'text' || part.type === 'refusal')
    .map((part) => part.text)
    .join('')
  if (calls.length > 0)
    return compact({
      role: 'assistant',
      tool_plan: thought === '' ? null : thought,
      content: text === '' ? null : text,
      tool_calls: calls,
    })
  const thinking = { type: 'thinking', thinking: thought }
  return {
    role: 'assistant',
    content: thought === '' ? text : [thinking, { type: 'text', text }],
  }
}

function toolMessage({ callId, parts }: ToolResult): JsonObject {
  const texts = parts.filter((part) => part.type === 'text')
  if (texts.length < parts.length) throw unsupported()
  return { role: 'tool', tool_call_id: callId, content: plainText(texts) }
}

function messageOf(message: Message): JsonObject[] {
  switch (message.role) {
    case 'system':
    case 'developer':
      return [{ role: 'system', content: plainText(message.parts) }]
    case 'user':
      return [{ role: 'user', content: userContent(message.parts) }]
    case 'assistant':
      return [assistant(message.parts)]
    case 'tool':
      return message.results.map(toolMessage)
  }
}

const toolOf = ({ name, description, parameters }: Tool): JsonObject => ({
  type: 'function',
  function: compact({
    name,
    description,
    parameters: parameters ?? { type: 'object', properties: {} },
  }),
})

/** One tool by name cannot be asked for; to be given no other one is the same. */
function toolsOf(tools: readonly Tool[], choice: ToolChoice | null) {
  const given = choice?.type === 'tool' ? tools.filter(({ name }) => name === choice.name) : tools
  if (choice?.type === 'tool' && given.length === 0) throw new GatewayError('invalid_request')
  if (given.length === 0) return {}
  return {
    tools: given.map(toolOf),
    strict_tools: given.some(({ strict }) => strict === true) ? true : null,
    tool_choice:
      choice === null || choice.type === 'auto'
        ? null
        : choice.type === 'none'
          ? 'NONE'
          : 'REQUIRED',
  }
}

function formatOf(format: ResponseFormat | null): JsonObject | null {
  if (format === null) return null
  return format.type === 'json'
    ? { type: 'json_object' }
    : { type: 'json_object', json_schema: format.schema }
}

function thinkingOf(wish: ReasoningWish | null): JsonObject | null {
  if (wish === null || (wish.effort === null && wish.budgetTokens === null)) return null
  if (wish.effort === 'none' || wish.budgetTokens === 0) return { type: 'disabled' }
  return compact({ type: 'enabled', token_budget: wish.budgetTokens })
}

function refuse({ sampling, logprobs }: CanonicalRequest): void {
  if ((sampling.n ?? 1) > 1 || logprobs !== null || sampling.stop.length > MAX_STOPS)
    throw unsupported()
}

/**
 * Cohere's chat, version 2. `parallelToolCalls` cannot be said and is dropped; several answers and log probabilities would be
 * missed, so they are refused.
 */
export function encodeCohere(request: CanonicalRequest, target: Target): EncodedRequest {
  refuse(request)
  const { sampling } = request
  const body = compact({
    model: target.model,
    stream: request.stream,
    messages: request.messages.flatMap(messageOf),
    ...toolsOf(request.tools, request.toolChoice),
    response_format: formatOf(request.format),
    thinking: thinkingOf(request.reasoning),
    max_tokens: sampling.maxTokens,
    temperature: sampling.temperature,
    p: sampling.topP === null ? null : Math.min(Math.max(sampling.topP, MIN_P), MAX_P),
    k: sampling.topK,
    seed: sampling.seed,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    stop_sequences: sampling.stop.length === 0 ? null : sampling.stop,
  })
  return { path: '/chat', headers: {}, body: Buffer.from(writeJson(body, 'invalid_request')) }
}
