import { GatewayError } from '../../errors.ts'
import type {
  CanonicalRequest,
  JsonObject,
  Message,
  ReasoningWish,
  ResponseFormat,
  Tool,
  ToolChoice,
} from '../canonical.ts'
import {
  mustBeShallow,
  mustObject,
  mustWord,
  optionalBoolean,
  optionalList,
  optionalNumber,
  optionalOne,
  optionalSchema,
  optionalText,
  optionalWhole,
  otherMembers,
} from '../openai-chat/json.ts'
import { EFFORTS, MAX_LOGPROBS, MAX_TOOLS, readSchemaFormat } from '../openai-chat/request.ts'
import { readInput } from './items.ts'
import { isObject, type Json } from '../json.ts'

const MAX_TOKENS = 1 << 30
const MAX_INCLUDED = 64

/** Every member that the canonical form says, and those that are for the gateway alone. */
const KNOWN: ReadonlySet<string> = new Set([
  'model',
  'input',
  'instructions',
  'stream',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'max_output_tokens',
  'temperature',
  'top_p',
  'top_logprobs',
  'text',
  'reasoning',
  'store',
  'background',
  'previous_response_id',
  'conversation',
  'prompt',
  'provider',
])
const FORMAT: ReadonlySet<string> = new Set(['format'])
const EFFORT: ReadonlySet<string> = new Set(['effort'])

const given = (value: Json): boolean => value !== undefined && value !== null
const optionalObject = (value: Json): JsonObject => (given(value) ? mustObject(value) : {})
const unsupported = (): GatewayError => new GatewayError('request_not_supported')

/**
 * A request of `/v1/responses`. What it needs the gateway to keep is refused with `not_stateless`: an answer to find
 * later, a conversation, a prompt. `store` is taken for false where it is not said.
 */
export function readRequest(value: Json): CanonicalRequest {
  const body = mustObject(value)
  refuseState(body)
  const text = optionalObject(body['text'])
  const reasoning = optionalObject(body['reasoning'])
  return {
    dialect: 'openai-responses',
    model: mustWord(body['model']),
    stream: optionalBoolean(body['stream']) ?? false,
    messages: [...readInstructions(body['instructions']), ...readInput(body['input'])],
    tools: optionalList(body['tools'], MAX_TOOLS).map((tool) => readTool(mustObject(tool))),
    toolChoice: readChoice(body['tool_choice']),
    parallelToolCalls: optionalBoolean(body['parallel_tool_calls']),
    sampling: {
      maxTokens: optionalWhole(body['max_output_tokens'], 0, MAX_TOKENS),
      temperature: optionalNumber(body['temperature']),
      topP: optionalNumber(body['top_p']),
      topK: null,
      seed: null,
      frequencyPenalty: null,
      presencePenalty: null,
      stop: [],
      n: null,
    },
    format: readFormat(text['format']),
    reasoning: readWish(reasoning),
    logprobs: readLogprobs(body),
    streamUsage: true,
    extra: {
      ...otherMembers(body, KNOWN),
      ...nested('text', otherMembers(text, FORMAT)),
      ...nested('reasoning', otherMembers(reasoning, EFFORT)),
    },
  }
}

function refuseState(body: JsonObject): void {
  const keeps =
    optionalBoolean(body['store']) === true || optionalBoolean(body['background']) === true
  const refers = ['previous_response_id', 'conversation', 'prompt'].some((name) =>
    given(body[name]),
  )
  if (keeps || refers) throw new GatewayError('not_stateless')
}

const nested = (name: string, members: JsonObject): JsonObject =>
  Object.keys(members).length === 0 ? {} : { [name]: members }

function readInstructions(instructions: Json): Message[] {
  const text = optionalText(instructions)
  return text === null || text === '' ? [] : [{ role: 'system', parts: [{ type: 'text', text }] }]
}

function readTool(tool: JsonObject): Tool {
  if (tool['type'] !== 'function') throw unsupported()
  return {
    name: mustWord(tool['name']),
    description: optionalText(tool['description']),
    parameters: optionalSchema(tool['parameters']),
    strict: optionalBoolean(tool['strict']),
  }
}

function readChoice(choice: Json): ToolChoice | null {
  if (!given(choice)) return null
  if (!isObject(choice)) {
    const type = optionalOne(choice, ['auto', 'none', 'required'])
    return type === null ? null : { type }
  }
  if (choice['type'] !== 'function') throw unsupported()
  return { type: 'tool', name: mustWord(choice['name']) }
}

function readFormat(format: Json): ResponseFormat | null {
  if (!given(format)) return null
  const wanted = mustObject(format)
  if (wanted['type'] === 'text') return null
  if (wanted['type'] === 'json_object') return { type: 'json' }
  if (wanted['type'] !== 'json_schema') throw unsupported()
  return readSchemaFormat(mustBeShallow(wanted))
}

function readWish(reasoning: JsonObject): ReasoningWish | null {
  const effort = optionalOne(reasoning['effort'], EFFORTS)
  return effort === null ? null : { effort, budgetTokens: null }
}

function readLogprobs(body: JsonObject): number | null {
  const top = optionalWhole(body['top_logprobs'], 0, MAX_LOGPROBS)
  const included = optionalList(body['include'], MAX_INCLUDED)
  if (included.includes('message.output_text.logprobs')) return top ?? 0
  return top === 0 ? null : top
}
