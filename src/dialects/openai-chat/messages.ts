import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CacheMark,
  ImagePart,
  JsonObject,
  Message,
  Source,
  TextPart,
  ToolCallPart,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import {
  mustList,
  mustObject,
  mustText,
  mustWord,
  optionalList,
  optionalOne,
  optionalText,
  textOf,
  wordOf,
} from './json.ts'
import { readReasoning } from './reasoning.ts'
import { isObject, member, type Json } from '../json.ts'

const MAX_MESSAGES = 10_000
const MAX_PARTS = 10_000
const MAX_CALLS = 1024

const unsupported = (): GatewayError => new GatewayError('request_not_supported')

/** `messages`. Results of tools that follow one another are one message. */
export function readMessages(value: Json): Message[] {
  const messages: Message[] = []
  for (const item of mustList(value, MAX_MESSAGES)) {
    const message = readMessage(mustObject(item))
    const last = messages.at(-1)
    if (message.role === 'tool' && last?.role === 'tool') {
      messages[messages.length - 1] = {
        role: 'tool',
        results: [...last.results, ...message.results],
      }
    } else {
      messages.push(message)
    }
  }
  return messages
}

function readMessage(message: JsonObject): Message {
  const role = textOf(message['role']) ?? ''
  switch (role) {
    case 'system':
    case 'developer':
      return { role, parts: readParts(message['content'], readText) }
    case 'user':
      return {
        role: 'user',
        parts: readParts(message['content'], readUserPart),
        name: optionalText(message['name']),
      }
    case 'assistant':
      return { role: 'assistant', parts: readAssistant(message) }
    case 'tool':
      return { role: 'tool', results: [readResult(message)] }
    case 'function':
      throw unsupported()
    default:
      throw new GatewayError('invalid_request')
  }
}

/** A text, or a list of parts. */
function readParts<T>(content: Json, read: (part: JsonObject) => T): (T | TextPart)[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return mustList(content, MAX_PARTS).map((part) => read(mustObject(part)))
}

function readText(part: JsonObject): TextPart {
  if (part['type'] !== 'text') throw unsupported()
  return { type: 'text', text: mustText(part['text']), ...cacheMark(part) }
}

/** Anthropic's mark of what may be cached, as OpenRouter takes it within a part. */
export function cacheMark(part: JsonObject): { cache?: CacheMark } {
  const control = part['cache_control']
  if (!isObject(control)) return {}
  return { cache: member(control, 'ttl') === '1h' ? '1h' : '5m' }
}

function readUserPart(part: JsonObject): UserPart {
  switch (textOf(part['type']) ?? '') {
    case 'text':
      return readText(part)
    case 'image_url':
      return readImage(part)
    case 'input_audio': {
      const audio = mustObject(part['input_audio'])
      return { type: 'audio', format: mustWord(audio['format']), data: mustText(audio['data']) }
    }
    case 'file':
      return readFile(part)
    default:
      throw unsupported()
  }
}

function readImage(part: JsonObject): ImagePart {
  const image = part['image_url']
  if (typeof image === 'string') {
    return { type: 'image', source: readSource(image), detail: null, ...cacheMark(part) }
  }
  const { url, detail } = mustObject(image)
  return {
    type: 'image',
    source: readSource(mustWord(url)),
    detail: readDetail(detail),
    ...cacheMark(part),
  }
}

/** `original` is above `high`, and known to the newest models alone. */
export function readDetail(detail: Json): ImagePart['detail'] {
  const asked = optionalOne(detail, ['auto', 'low', 'high', 'original'])
  return asked === 'original' ? 'high' : asked
}

const DATA_URL = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w=.+-]+)*;base64,/i

/** A `data:` address holds its bytes; any other is for the provider to fetch. */
export function readSource(url: string): Source {
  const [prefix, mediaType] = DATA_URL.exec(url.slice(0, 256)) ?? []
  if (prefix === undefined || mediaType === undefined) return { kind: 'url', url }
  return { kind: 'base64', mediaType, data: url.slice(prefix.length) }
}

function readFile(part: JsonObject): UserPart {
  const file = mustObject(part['file'])
  const name = optionalText(file['filename'])
  const data = optionalText(file['file_data'])
  const source: Source | { kind: 'id'; id: string } =
    data === null ? { kind: 'id', id: mustWord(file['file_id']) } : readSource(data)
  return { type: 'file', source, name, ...cacheMark(part) }
}

function readAssistant(message: JsonObject): AssistantPart[] {
  // A finished audio answer is named by an id under which its provider keeps it; the old form of calls has no ids.
  if (message['audio'] !== undefined && message['audio'] !== null) throw unsupported()
  if (message['function_call'] !== undefined && message['function_call'] !== null) {
    throw unsupported()
  }
  const refusal = optionalText(message['refusal'])
  return [
    ...readReasoning(message),
    ...readAssistantContent(message['content']),
    ...(refusal === null ? [] : [{ type: 'refusal', text: refusal } as const]),
    ...optionalList(message['tool_calls'], MAX_CALLS).map((call) => readCall(mustObject(call))),
  ]
}

function readAssistantContent(content: Json): AssistantPart[] {
  if (content === undefined || content === null || content === '') return []
  return readParts<AssistantPart>(content, (part) =>
    part['type'] === 'refusal'
      ? { type: 'refusal', text: mustText(part['refusal']) }
      : part['type'] === 'thinking'
        ? {
            type: 'reasoning',
            text: thinkingText(part['thinking']),
            signature: null,
            encrypted: null,
            id: null,
          }
        : readText(part),
  )
}

/** Mistral's `thinking`: a list of texts. */
export const thinkingText = (thinking: Json): string =>
  typeof thinking === 'string'
    ? thinking
    : (Array.isArray(thinking) ? thinking : [])
        .map((part: JsonValue) => wordOf(member(part, 'text')) ?? '')
        .join('')

function readCall(call: JsonObject): ToolCallPart {
  if (call['type'] !== undefined && call['type'] !== 'function') throw unsupported()
  const { name, arguments: args } = mustObject(call['function'])
  return {
    type: 'tool_call',
    id: mustWord(call['id']),
    name: mustWord(name),
    arguments: mustText(args) || '{}',
    signature: thoughtSignature(call),
  }
}

/** Google's place for what proves a thought. */
export const thoughtSignature = (holder: Json): string | null =>
  wordOf(member(member(member(holder, 'extra_content'), 'google'), 'thought_signature'))

function readResult(message: JsonObject): ToolResult {
  const parts = readParts(message['content'], (part) =>
    part['type'] === 'image_url' ? readImage(part) : readText(part),
  )
  return {
    callId: mustWord(message['tool_call_id']),
    parts: parts.filter((part) => part.type !== 'text' || part.text !== ''),
    isError: false,
  }
}
