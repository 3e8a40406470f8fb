import { GatewayError } from '../../errors.ts'
import type {
  CanonicalRequest,
  JsonObject,
  ReasoningWish,
  ResponseFormat,
  Sampling,
  Tool,
  ToolChoice,
} from '../canonical.ts'
import {
  mustObject,
  mustText,
  mustWord,
  optionalBoolean,
  optionalList,
  optionalNumber,
  optionalOne,
  optionalSchema,
  optionalText,
  optionalWhole,
  otherMembers,
} from './json.ts'
import { cacheMark, readMessages } from './messages.ts'
import { isObject, type Json } from '../json.ts'

export const MAX_TOOLS = 4096
export const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const
const MAX_TOKENS = 1 << 30
const MAX_STOPS = 64
const MAX_ANSWERS = 128
export const MAX_LOGPROBS = 20

/** Every member that the canonical form says, and those that are for the gateway alone. */
const KNOWN: ReadonlySet<string> = new Set([
  'model',
  'stream',
  'messages',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'stop',
  'n',
  'response_format',
  'reasoning_effort',
  'reasoning',
  'logprobs',
  'top_logprobs',
  'store',
  'provider',
])

const unsupported = (): GatewayError => new GatewayError('request_not_supported')

/** A chat completion request. Throws `invalid_request`, `not_stateless` or `request_not_supported`. */
export function readRequest(value: Json): CanonicalRequest {
  const body = mustObject(value)
  if (optionalBoolean(body['store']) === true) throw new GatewayError('not_stateless')
  if (given(body['functions']) || given(body['function_call'])) throw unsupported()
  const options = given(body['stream_options']) ? mustObject(body['stream_options']) : {}
  return {
    dialect: 'openai-chat',
    model: mustWord(body['model']),
    stream: optionalBoolean(body['stream']) ?? false,
    messages: readMessages(body['messages']),
    tools: optionalList(body['tools'], MAX_TOOLS).map((tool) => readTool(mustObject(tool))),
    toolChoice: readChoice(body['tool_choice']),
    parallelToolCalls: optionalBoolean(body['parallel_tool_calls']),
    sampling: readSampling(body),
    format: readFormat(body['response_format']),
    reasoning: readWish(body),
    logprobs: readLogprobs(body),
    streamUsage: optionalBoolean(options['include_usage']) ?? false,
    extra: otherMembers(body, KNOWN),
  }
}

const given = (value: Json): boolean => value !== undefined && value !== null

function readSampling(body: JsonObject): Sampling {
  const limit = given(body['max_completion_tokens'])
    ? body['max_completion_tokens']
    : body['max_tokens']
  return {
    maxTokens: optionalWhole(limit, 0, MAX_TOKENS),
    temperature: optionalNumber(body['temperature']),
    topP: optionalNumber(body['top_p']),
    topK: optionalNumber(body['top_k']),
    seed: optionalNumber(body['seed']),
    frequencyPenalty: optionalNumber(body['frequency_penalty']),
    presencePenalty: optionalNumber(body['presence_penalty']),
    stop:
      typeof body['stop'] === 'string'
        ? [body['stop']]
        : optionalList(body['stop'], MAX_STOPS).map(mustText),
    n: optionalWhole(body['n'], 1, MAX_ANSWERS),
  }
}

function readTool(tool: JsonObject): Tool {
  if (tool['type'] !== 'function') throw unsupported()
  const { name, description, parameters, strict } = mustObject(tool['function'])
  return {
    name: mustWord(name),
    description: optionalText(description),
    parameters: optionalSchema(parameters),
    strict: optionalBoolean(strict),
    ...cacheMark(tool),
  }
}

function readChoice(choice: Json): ToolChoice | null {
  if (!given(choice)) return null
  if (!isObject(choice)) {
    const type = optionalOne(choice, ['auto', 'none', 'required', 'any'])
    return type === null ? null : { type: type === 'any' ? 'required' : type }
  }
  if (choice['type'] !== 'function') throw unsupported()
  return { type: 'tool', name: mustWord(mustObject(choice['function'])['name']) }
}

function readFormat(format: Json): ResponseFormat | null {
  if (!given(format)) return null
  const { type, json_schema: wanted } = mustObject(format)
  if (type === 'text') return null
  if (type === 'json_object') return { type: 'json' }
  if (type !== 'json_schema') throw unsupported()
  return readSchemaFormat(mustObject(wanted))
}

/** The four members that chat completions nest and responses do not. */
export function readSchemaFormat(wanted: JsonObject): ResponseFormat {
  return {
    type: 'json_schema',
    name: mustWord(wanted['name']),
    description: optionalText(wanted['description']),
    schema: optionalSchema(wanted['schema']) ?? {},
    strict: optionalBoolean(wanted['strict']),
  }
}

/** `reasoning_effort`, or OpenRouter's `reasoning`. */
function readWish(body: JsonObject): ReasoningWish | null {
  const effort = optionalOne(body['reasoning_effort'], EFFORTS)
  const wish = given(body['reasoning']) ? mustObject(body['reasoning']) : {}
  const enabled = optionalBoolean(wish['enabled'])
  const off = enabled === false ? 'none' : null
  const asked = effort ?? optionalOne(wish['effort'], EFFORTS) ?? off
  const budgetTokens = optionalWhole(wish['max_tokens'], 0, MAX_TOKENS)
  const isWished = asked !== null || budgetTokens !== null || enabled === true
  return isWished ? { effort: asked, budgetTokens } : null
}

function readLogprobs(body: JsonObject): number | null {
  const top = optionalWhole(body['top_logprobs'], 0, MAX_LOGPROBS)
  return optionalBoolean(body['logprobs']) === true ? (top ?? 0) : null
}
