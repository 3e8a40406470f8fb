import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  FilePart,
  ImagePart,
  JsonObject,
  Message,
  ReasoningPart,
  TextPart,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import {
  listOf,
  mustList,
  mustObject,
  mustText,
  mustWord,
  optionalText,
  textOf,
  wordOf,
} from '../openai-chat/json.ts'
import { readDetail, readSource, thoughtSignature } from '../openai-chat/messages.ts'
import { member, type Json } from '../json.ts'

const MAX_ITEMS = 20_000
const MAX_PARTS = 10_000

/** Before a signature of Anthropic's in `encrypted_content`, the one member that clients give back unread. */
const SIGNATURE = 'signature:'

const unsupported = (): GatewayError => new GatewayError('request_not_supported')
const invalid = (): GatewayError => new GatewayError('invalid_request')

/** `input`. What the model said in one turn is one message, as are results of tools that follow one another. */
export function readInput(input: Json): Message[] {
  if (typeof input === 'string') {
    return [{ role: 'user', parts: [{ type: 'text', text: input }], name: null }]
  }
  const messages: Message[] = []
  for (const item of mustList(input, MAX_ITEMS)) append(messages, readItem(mustObject(item)))
  return messages
}

function append(messages: Message[], message: Message): void {
  const last = messages.at(-1)
  if (last?.role === 'assistant' && message.role === 'assistant') {
    messages[messages.length - 1] = { ...last, parts: [...last.parts, ...message.parts] }
  } else if (last?.role === 'tool' && message.role === 'tool') {
    messages[messages.length - 1] = { ...last, results: [...last.results, ...message.results] }
  } else {
    messages.push(message)
  }
}

function readItem(item: JsonObject): Message {
  switch (textOf(item['type']) ?? 'message') {
    case 'message':
      return readMessage(item)
    case 'reasoning':
      return { role: 'assistant', parts: [readReasoningItem(item)] }
    case 'function_call':
      return {
        role: 'assistant',
        parts: [
          {
            type: 'tool_call',
            id: mustWord(item['call_id']),
            name: mustWord(item['name']),
            arguments: mustText(item['arguments']) || '{}',
            signature: thoughtSignature(item),
          },
        ],
      }
    case 'function_call_output':
      return { role: 'tool', results: [readResult(item)] }
    case 'item_reference':
      throw new GatewayError('not_stateless')
    default:
      throw unsupported()
  }
}

function readMessage(item: JsonObject): Message {
  const role = textOf(item['role']) ?? ''
  const { content } = item
  switch (role) {
    case 'system':
    case 'developer':
      return { role, parts: readParts(content, readText) }
    case 'user':
      return { role, parts: readParts(content, readUserPart), name: null }
    case 'assistant':
      return { role, parts: readParts<AssistantPart>(content, readSaid) }
    default:
      throw invalid()
  }
}

function readParts<T>(content: Json, read: (part: JsonObject) => T): (T | TextPart)[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return mustList(content, MAX_PARTS).map((part) => read(mustObject(part)))
}

const TEXTS: ReadonlySet<Json> = new Set(['input_text', 'output_text', 'text'])

function readText(part: JsonObject): TextPart {
  if (!TEXTS.has(part['type'])) throw unsupported()
  return { type: 'text', text: mustText(part['text']) }
}

function readSaid(part: JsonObject): AssistantPart {
  if (part['type'] !== 'refusal') return readText(part)
  return { type: 'refusal', text: mustText(part['refusal']) }
}

function readUserPart(part: JsonObject): UserPart {
  if (part['type'] === 'input_image') return readImage(part)
  if (part['type'] === 'input_file') return readFile(part)
  return readText(part)
}

/** An image that the provider keeps under an id has no counterpart elsewhere. */
function readImage(part: JsonObject): ImagePart {
  const url = optionalText(part['image_url'])
  if (url === null) throw unsupported()
  return { type: 'image', source: readSource(url), detail: readDetail(part['detail']) }
}

function readFile(part: JsonObject): FilePart {
  const name = optionalText(part['filename'])
  const address = optionalText(part['file_data']) ?? optionalText(part['file_url'])
  const source =
    address === null
      ? ({ kind: 'id', id: mustWord(part['file_id']) } as const)
      : readSource(address)
  return { type: 'file', source, name }
}

function readResult(item: JsonObject): ToolResult {
  const parts = readParts(item['output'], (part) =>
    part['type'] === 'input_image' ? readImage(part) : readText(part),
  )
  return {
    callId: mustWord(item['call_id']),
    parts: parts.filter((part) => part.type !== 'text' || part.text !== ''),
    isError: false,
  }
}

/** The summary where there is one, else the thoughts themselves. */
export function readReasoningItem(item: JsonObject): ReasoningPart {
  const texts = (list: Json): string[] =>
    listOf(list).flatMap((part) => wordOf(member(part, 'text')) ?? [])
  const summary = texts(item['summary'])
  const proof = readProof(item['encrypted_content'])
  return {
    type: 'reasoning',
    text: (summary.length > 0 ? summary : texts(item['content'])).join('\n\n'),
    ...proof,
    id: wordOf(item['id']),
  }
}

export function readProof(content: Json): Pick<ReasoningPart, 'signature' | 'encrypted'> {
  const proof = wordOf(content)
  return proof !== null && proof.startsWith(SIGNATURE)
    ? { signature: proof.slice(SIGNATURE.length), encrypted: null }
    : { signature: null, encrypted: proof }
}

export const writeProof = ({
  signature,
  encrypted,
}: Pick<ReasoningPart, 'signature' | 'encrypted'>): string | null =>
  encrypted ?? (signature === null ? null : SIGNATURE + signature)
