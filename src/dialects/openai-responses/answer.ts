import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CanonicalAnswer,
  CanonicalRequest,
  FinishReason,
  JsonObject,
  LogprobToken,
  ReasoningPart,
  Tool,
  ToolCallPart,
} from '../canonical.ts'
import { writeSignature } from '../openai-chat/answer.ts'
import { writeProof } from './items.ts'
import { writeUsage } from './usage.ts'
import { isObject } from '../json.ts'

type Status = 'in_progress' | 'completed' | 'incomplete' | 'failed'
type ItemStatus = Exclude<Status, 'failed'>

/** What names one response, whatever its status. */
export interface Head {
  readonly id: string
  readonly created: number
  readonly model: string
}

/** A whole response. Throws `upstream_error` where an answer ended in an error. */
export function writeAnswer(answer: CanonicalAnswer, request: CanonicalRequest): JsonObject {
  const [choice] = answer.choices
  if (choice === undefined || choice.finish === 'error') throw new GatewayError('upstream_error')
  const base = baseId(answer.id)
  const output = grouped(choice.parts).map((group, at) =>
    writeItem(group, itemId(base, at), choice.logprobs),
  )
  return {
    ...writeResponse(answer, request, output),
    ...writeStatus(choice.finish),
    ...(answer.usage === null ? {} : { usage: writeUsage(answer.usage) }),
  }
}

/** Items of a response are named after it. OpenAI takes no id of more than 64 characters back. */
export const baseId = (id: string): string =>
  id
    .replace(/^(?:resp_|chatcmpl-|msg_)/, '')
    .replaceAll(/[^\w-]/g, '')
    .slice(0, 48)

type Prefix = 'msg' | 'rs' | 'fc'
export const itemId =
  (base: string, at: number) =>
  (prefix: Prefix): string =>
    `${prefix}_${base}_${at}`

/** Text and refusals that follow one another are one item. */
function grouped(parts: readonly AssistantPart[]): AssistantPart[][] {
  const groups: AssistantPart[][] = []
  for (const part of parts) {
    const last = groups.at(-1)
    const [first] = last ?? []
    if (last !== undefined && first !== undefined && isSaid(first) && isSaid(part)) last.push(part)
    else groups.push([part])
  }
  return groups
}

const isSaid = ({ type }: AssistantPart): boolean => type === 'text' || type === 'refusal'

function writeItem(
  group: readonly AssistantPart[],
  named: (prefix: Prefix) => string,
  logprobs: readonly LogprobToken[] | null,
): JsonObject {
  const [first] = group
  if (first?.type === 'reasoning') return reasoningItem(first, named('rs'))
  if (first?.type === 'tool_call') return callItem(first, named('fc'), 'completed')
  const content = group.flatMap((part): JsonObject[] => {
    if (part.type === 'text') return [textContent(part.text, logprobs ?? [])]
    return part.type === 'refusal' ? [refusalContent(part.text)] : []
  })
  return messageItem(content, named('msg'), 'completed')
}

export const messageItem = (
  content: readonly JsonObject[],
  id: string,
  status: ItemStatus,
): JsonObject => ({ id, type: 'message', role: 'assistant', status, content })

export const textContent = (text: string, logprobs: readonly LogprobToken[]): JsonObject => ({
  type: 'output_text',
  text,
  annotations: [],
  logprobs: logprobs.map(writeToken),
})

export const refusalContent = (refusal: string): JsonObject => ({ type: 'refusal', refusal })

export const summaryContent = (text: string): JsonObject => ({ type: 'summary_text', text })

export function reasoningItem(part: ReasoningPart, id: string): JsonObject {
  const proof = writeProof(part)
  return {
    id: part.id ?? id,
    type: 'reasoning',
    summary: part.text === '' ? [] : [summaryContent(part.text)],
    ...(proof === null ? {} : { encrypted_content: proof }),
  }
}

export const callItem = (call: ToolCallPart, id: string, status: ItemStatus): JsonObject => ({
  id,
  type: 'function_call',
  call_id: call.id,
  name: call.name,
  arguments: call.arguments === '' && status === 'completed' ? '{}' : call.arguments,
  status,
  ...writeSignature(call.signature),
})

export const writeToken = (token: LogprobToken): JsonObject => ({
  ...writeTop(token),
  top_logprobs: token.top.map(writeTop),
})

const writeTop = ({ token, logprob, bytes }: Omit<LogprobToken, 'top'>): JsonObject => ({
  token,
  logprob,
  bytes: bytes ?? [...Buffer.from(token)],
})

export function writeStatus(finish: FinishReason): {
  status: 'completed' | 'incomplete'
  incomplete_details: JsonObject | null
} {
  const reason = finish === 'length' ? 'max_output_tokens' : finish
  return reason === 'max_output_tokens' || reason === 'content_filter'
    ? { status: 'incomplete', incomplete_details: { reason } }
    : { status: 'completed', incomplete_details: null }
}

/** The response, in progress. Instructions are not repeated: they are content. */
export function writeResponse(
  head: Head,
  request: CanonicalRequest,
  output: readonly JsonObject[],
): JsonObject {
  const { sampling, reasoning, toolChoice, extra } = request
  return {
    id: head.id.startsWith('resp_') ? head.id : `resp_${baseId(head.id)}`,
    object: 'response',
    created_at: head.created,
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: sampling.maxTokens,
    model: head.model,
    output,
    parallel_tool_calls: request.parallelToolCalls ?? true,
    previous_response_id: null,
    reasoning: { effort: reasoning?.effort ?? null, summary: null },
    store: false,
    temperature: sampling.temperature,
    text: { format: writeFormat(request) },
    tool_choice:
      toolChoice?.type === 'tool'
        ? { type: 'function', name: toolChoice.name }
        : (toolChoice?.type ?? 'auto'),
    tools: request.tools.map(writeTool),
    top_logprobs: request.logprobs ?? 0,
    top_p: sampling.topP,
    truncation: 'disabled',
    metadata: isObject(extra['metadata']) ? extra['metadata'] : {},
  }
}

export const writeTool = ({ name, description, parameters, strict }: Tool): JsonObject => ({
  type: 'function',
  name,
  description,
  parameters,
  strict: strict ?? false,
})

export function writeFormat({ format }: CanonicalRequest): JsonObject {
  if (format === null) return { type: 'text' }
  if (format.type === 'json') return { type: 'json_object' }
  const { name, description, schema, strict } = format
  const described = description === null ? {} : { description }
  return { type: 'json_schema', name, ...described, schema, strict }
}
