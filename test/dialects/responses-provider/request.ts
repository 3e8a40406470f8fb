import { GatewayError } from '../../../src/errors.ts'
import type {
  AssistantPart,
  CanonicalRequest,
  JsonObject,
  Message,
  ReasoningPart,
  ToolResult,
  UserPart,
} from '../../../src/dialects/canonical.ts'
import { writeSignature } from '../../../src/dialects/openai-chat/answer.ts'
import { listOf } from '../../../src/dialects/openai-chat/json.ts'
import { sourceUrl } from '../../../src/dialects/openai-chat/provider-messages.ts'
import { effortOf, REASONS, SHARED } from '../../../src/dialects/openai-chat/provider-request.ts'
import { isObject } from '../../../src/dialects/json.ts'
import {
  summaryContent,
  writeFormat,
  writeTool,
} from '../../../src/dialects/openai-responses/answer.ts'

const unsupported = (): GatewayError => new GatewayError('request_not_supported')

const given = (name: string, value: JsonObject[string] | undefined): JsonObject =>
  value === null || value === undefined ? {} : { [name]: value }

/** A request body of `/responses`, which the provider is told not to store. Throws `request_not_supported`. */
export function writeRequest(request: CanonicalRequest, model: string): JsonObject {
  const { sampling, toolChoice, tools } = request
  if (sampling.stop.length > 0 || (sampling.n ?? 1) > 1) throw unsupported()
  const choice = toolChoice?.type === 'tool' ? { type: 'function', name: toolChoice.name } : null
  return {
    ...ownMembers(request),
    model,
    input: request.messages.flatMap(writeMessage),
    stream: request.stream,
    store: false,
    ...given('max_output_tokens', sampling.maxTokens),
    ...given('temperature', sampling.temperature),
    ...given('top_p', sampling.topP),
    ...(tools.length === 0
      ? {}
      : {
          tools: tools.map(writeTool),
          ...given('tool_choice', choice ?? toolChoice?.type),
          ...given('parallel_tool_calls', request.parallelToolCalls),
        }),
    ...writeText(request),
    ...writeReasoning(request),
    ...writeInclude(request, model),
    ...given('top_logprobs', request.logprobs),
  }
}

function ownMembers({ dialect, extra }: CanonicalRequest): JsonObject {
  if (dialect === 'openai-responses') return extra
  if (dialect !== 'openai-chat') return {}
  return Object.assign({}, ...SHARED.map((name) => given(name, extra[name])))
}

function writeText(request: CanonicalRequest): JsonObject {
  const { dialect, extra } = request
  const own = dialect === 'openai-responses' && isObject(extra['text']) ? extra['text'] : {}
  const verbosity = dialect === 'openai-chat' ? given('verbosity', extra['verbosity']) : {}
  const format = request.format === null ? {} : { format: writeFormat(request) }
  const text = { ...own, ...verbosity, ...format }
  return Object.keys(text).length === 0 ? {} : { text }
}

function writeReasoning({ dialect, extra, reasoning }: CanonicalRequest): JsonObject {
  const own =
    dialect === 'openai-responses' && isObject(extra['reasoning']) ? extra['reasoning'] : {}
  const wish = reasoning === null ? {} : { effort: effortOf(reasoning) }
  const members = { ...own, ...wish }
  return Object.keys(members).length === 0 ? {} : { reasoning: members }
}

/** Thoughts come back to us encrypted, for the next turn; models that do not think refuse to be asked for them. */
function writeInclude(request: CanonicalRequest, model: string): JsonObject {
  const asked = request.dialect === 'openai-responses' ? listOf(request.extra['include']) : []
  const wanted = [
    ...(request.reasoning !== null || REASONS.test(model) ? ['reasoning.encrypted_content'] : []),
    ...(request.logprobs === null ? [] : ['message.output_text.logprobs']),
  ]
  const include = [...asked, ...wanted.filter((one) => !asked.includes(one))]
  return include.length === 0 ? {} : { include }
}

function writeMessage(message: Message): JsonObject[] {
  switch (message.role) {
    case 'system':
    case 'developer':
      return [{ role: message.role, content: message.parts.map(({ text }) => text).join('') }]
    case 'user':
      return [{ role: 'user', content: writeContent(message.parts) }]
    case 'assistant':
      return writeTurn(message.parts)
    case 'tool':
      return message.results.map(writeResult)
  }
}

function writeContent(parts: readonly UserPart[]): string | JsonObject[] {
  const [first] = parts
  if (parts.length === 1 && first?.type === 'text') return first.text
  return parts.map(writePart)
}

function writePart(part: UserPart): JsonObject {
  switch (part.type) {
    case 'text':
      return { type: 'input_text', text: part.text }
    case 'image':
      return {
        type: 'input_image',
        image_url: sourceUrl(part.source),
        detail: part.detail ?? 'auto',
      }
    case 'file': {
      const { source, name } = part
      if (source.kind === 'id') return { type: 'input_file', file_id: source.id }
      if (source.kind === 'url') return { type: 'input_file', file_url: source.url }
      return { type: 'input_file', file_data: sourceUrl(source), ...given('filename', name) }
    }
    case 'audio':
      throw unsupported()
  }
}

/** Items in the order in which the model said them: a thought belongs to what follows it. */
const writeTurn = (parts: readonly AssistantPart[]): JsonObject[] => parts.flatMap(writeItem)

function writeItem(part: AssistantPart): JsonObject[] {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return part.text === '' ? [] : [{ role: 'assistant', content: part.text }]
    case 'reasoning':
      return writeThought(part)
    case 'tool_call': {
      const { id, name, arguments: args, signature } = part
      const call = { type: 'function_call', call_id: id, name, arguments: args }
      return [{ ...call, ...writeSignature(signature) }]
    }
  }
}

/** Without the provider's own proof it takes no thought back. */
function writeThought({ text, encrypted, id }: ReasoningPart): JsonObject[] {
  if (encrypted === null) return []
  const summary = text === '' ? [] : [summaryContent(text)]
  return [{ type: 'reasoning', ...given('id', id), summary, encrypted_content: encrypted }]
}

function writeResult({ callId, parts }: ToolResult): JsonObject {
  const isText = parts.every((part) => part.type === 'text')
  return {
    type: 'function_call_output',
    call_id: callId,
    output: isText
      ? parts.map((part) => (part.type === 'text' ? part.text : '')).join('')
      : parts.map(writePart),
  }
}
