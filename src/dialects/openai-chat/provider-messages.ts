import { createHash } from 'node:crypto'
import type {
  AssistantPart,
  CacheMark,
  FilePart,
  ImagePart,
  JsonObject,
  Message,
  ReasoningPart,
  Source,
  TextPart,
  ToolCallPart,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import { writeCall } from './answer.ts'
import { writeDetails } from './reasoning.ts'
import type { Variant } from './variants.ts'

type Assistant = Extract<Message, { role: 'assistant' }>

/** `messages`, as this provider takes them. */
export const writeMessages = (messages: readonly Message[], variant: Variant): JsonObject[] =>
  messages.flatMap((message) => writeMessage(message, variant))

function writeMessage(message: Message, variant: Variant): JsonObject[] {
  switch (message.role) {
    case 'system':
    case 'developer': {
      const role = variant.developer ? message.role : 'system'
      return [{ role, content: contentOf(message.parts, variant) }]
    }
    case 'user': {
      const named = message.name === null || variant.members !== null ? {} : { name: message.name }
      return [{ role: 'user', content: contentOf(message.parts, variant), ...named }]
    }
    case 'assistant':
      return [writeAssistant(message, variant)]
    case 'tool':
      return writeResults(message.results, variant)
  }
}

/** The plain text where one part is all there is: every provider takes it. */
function contentOf(parts: readonly UserPart[], variant: Variant): string | JsonObject[] {
  const [first] = parts
  if (first === undefined) return ''
  const marked = variant.cacheControl && 'cache' in first
  if (parts.length === 1 && first.type === 'text' && !marked) return first.text
  return parts.map((part) => writePart(part, variant))
}

function writePart(part: UserPart, variant: Variant): JsonObject {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text, ...writeMark(part, variant) }
    case 'image':
      return { ...writeImage(part), ...writeMark(part, variant) }
    case 'audio':
      return {
        type: 'input_audio',
        input_audio:
          variant.content === 'mistral' ? part.data : { data: part.data, format: part.format },
      }
    case 'file':
      return { ...writeFile(part, variant), ...writeMark(part, variant) }
  }
}

function writeMark(part: { readonly cache?: CacheMark }, variant: Variant): JsonObject {
  if (!variant.cacheControl || part.cache === undefined) return {}
  const ttl = part.cache === '1h' ? { ttl: '1h' } : {}
  return { cache_control: { type: 'ephemeral', ...ttl } }
}

export const sourceUrl = (source: Source): string =>
  source.kind === 'url' ? source.url : `data:${source.mediaType};base64,${source.data}`

const writeImage = ({ source, detail }: ImagePart): JsonObject => ({
  type: 'image_url',
  image_url: { url: sourceUrl(source), ...(detail === null ? {} : { detail }) },
})

function writeFile({ source, name }: FilePart, variant: Variant): JsonObject {
  const named = name === null ? {} : { filename: name }
  if (source.kind === 'id') return { type: 'file', file: { file_id: source.id } }
  if (variant.content === 'mistral') {
    return { type: 'document_url', document_url: sourceUrl(source) }
  }
  return { type: 'file', file: { file_data: sourceUrl(source), ...named } }
}

function writeAssistant({ parts }: Assistant, variant: Variant): JsonObject {
  const reasoning = parts.filter((part): part is ReasoningPart => part.type === 'reasoning')
  const calls = parts.filter((part): part is ToolCallPart => part.type === 'tool_call')
  const content = assistantContent(parts, variant)
  return {
    role: 'assistant',
    // Null, not empty, beside calls: some providers render an empty text into the template.
    content: content === '' && calls.length > 0 ? null : content,
    ...writeHistory(reasoning, calls.length > 0, variant),
    ...(calls.length === 0 ? {} : { tool_calls: calls.map((call) => historyCall(call, variant)) }),
  }
}

/** Text and refusals alike are what the model said; thoughts only where this provider has a part for them. */
function assistantContent(
  parts: readonly AssistantPart[],
  variant: Variant,
): string | JsonObject[] {
  const said = parts.filter((part) => part.type === 'text' || part.type === 'refusal')
  const thoughts = parts.filter((part) => part.type === 'reasoning' && part.text !== '')
  if (variant.history !== 'thinking_parts' || thoughts.length === 0) {
    return said.map(({ text }) => text).join('')
  }
  return parts.flatMap((part): JsonObject[] => {
    if (part.type === 'tool_call') return []
    if (part.type !== 'reasoning') return [{ type: 'text', text: part.text }]
    if (part.text === '') return []
    return [{ type: 'thinking', thinking: [{ type: 'text', text: part.text }] }]
  })
}

function writeHistory(
  reasoning: readonly ReasoningPart[],
  hasCalls: boolean,
  variant: Variant,
): JsonObject {
  if (reasoning.length === 0 && !(hasCalls && variant.history === 'reasoning_content_of_calls')) {
    return {}
  }
  const text = reasoning.map((part) => part.text).join('')
  switch (variant.history) {
    case 'nowhere':
    case 'thinking_parts':
      return {}
    case 'reasoning_content':
      return { reasoning_content: text }
    case 'reasoning_content_of_calls':
      return hasCalls ? { reasoning_content: text } : {}
    case 'reasoning':
      return { reasoning: text }
    case 'reasoning_details':
      return { reasoning: text, reasoning_details: reasoning.flatMap(writeDetails) }
  }
}

function historyCall(call: ToolCallPart, variant: Variant): JsonObject {
  return writeCall({
    ...call,
    id: callId(call.id, variant),
    signature: variant.extraContent ? call.signature : null,
  })
}

const NINE = /^[a-zA-Z0-9]{9}$/

/** Mistral takes nine letters and digits and nothing else; the same id always becomes the same nine. */
function callId(id: string, variant: Variant): string {
  if (variant.content !== 'mistral' || NINE.test(id)) return id
  return createHash('sha256').update(id).digest('hex').slice(0, 9)
}

/** A result is text. Its images follow in a message of the user, as nothing else may hold them. */
function writeResults(results: readonly ToolResult[], variant: Variant): JsonObject[] {
  const images = results.flatMap(({ parts }) =>
    parts.filter((part): part is ImagePart => part.type === 'image'),
  )
  const messages: JsonObject[] = results.map(({ callId: id, parts }) => ({
    role: 'tool',
    tool_call_id: callId(id, variant),
    content: parts
      .filter((part): part is TextPart => part.type === 'text')
      .map(({ text }) => text)
      .join(''),
  }))
  if (images.length === 0) return messages
  return [...messages, { role: 'user', content: images.map((part) => writePart(part, variant)) }]
}
