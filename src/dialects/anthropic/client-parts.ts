import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CacheMark,
  FilePart,
  ImagePart,
  JsonObject,
  Source,
  TextPart,
  ToolCallPart,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import { membersOf, Must, textOf } from './read.ts'
import { thinkingPart } from './seal.ts'
import type { Json } from '../json.ts'

const must = new Must('invalid_request')

/** Blocks of Anthropic's own tools, which no other provider can be shown. */
const unsupported = (): never => {
  throw new GatewayError('request_not_supported')
}

export function cacheOf(block: JsonObject): { readonly cache?: CacheMark } {
  const control = must.maybeObject(block['cache_control'])
  if (control === null) return {}
  if (control['type'] !== 'ephemeral') return must.fail()
  return { cache: control['ttl'] === '1h' ? '1h' : '5m' }
}

/** A string, or blocks. */
export const blocksOf = (content: Json): readonly JsonObject[] =>
  typeof content === 'string'
    ? [{ type: 'text', text: content }]
    : must.list(content).map((block: JsonValue) => must.object(block))

export function textPart(block: JsonObject): TextPart {
  return block['type'] === 'text'
    ? { type: 'text', text: must.text(block['text']), ...cacheOf(block) }
    : unsupported()
}

function sourceOf(source: JsonObject): Source {
  switch (textOf(source['type'])) {
    case 'url':
      return { kind: 'url', url: must.name(source['url']) }
    case 'base64': {
      const mediaType = must.name(source['media_type'])
      return { kind: 'base64', mediaType, data: must.text(source['data']) }
    }
    default:
      return unsupported()
  }
}

const imagePart = (block: JsonObject): ImagePart => ({
  type: 'image',
  source: sourceOf(must.object(block['source'])),
  detail: null,
  ...cacheOf(block),
})

function fileSource(source: JsonObject): FilePart['source'] {
  if (source['type'] === 'file') return { kind: 'id', id: must.name(source['file_id']) }
  if (source['type'] !== 'text') return sourceOf(source)
  const data = Buffer.from(must.text(source['data'])).toString('base64')
  return { kind: 'base64', mediaType: 'text/plain', data }
}

const filePart = (block: JsonObject): FilePart => ({
  type: 'file',
  source: fileSource(must.object(block['source'])),
  name: must.maybeText(block['title']),
  ...cacheOf(block),
})

export function userPart(block: JsonObject): UserPart {
  switch (textOf(block['type'])) {
    case 'image':
      return imagePart(block)
    case 'document':
      return filePart(block)
    default:
      return textPart(block)
  }
}

const resultPart = (block: JsonObject): TextPart | ImagePart =>
  block['type'] === 'image' ? imagePart(block) : textPart(block)

export function toolResult(block: JsonObject): ToolResult {
  const { content } = block
  return {
    callId: must.name(block['tool_use_id']),
    parts: content === undefined || content === null ? [] : blocksOf(content).map(resultPart),
    isError: must.maybeFlag(block['is_error']) ?? false,
    ...cacheOf(block),
  }
}

/** Where a Gemini model's proof of a call travels; clients send blocks back with the members they came with. */
const googleSignature = (block: JsonObject): string =>
  textOf(membersOf(membersOf(block['extra_content'])['google'])['thought_signature'])

const callPart = (block: JsonObject): ToolCallPart => ({
  type: 'tool_call',
  id: must.name(block['id']),
  name: must.name(block['name']),
  arguments: JSON.stringify(must.object(block['input'])),
  signature: googleSignature(block) || null,
  ...cacheOf(block),
})

export function assistantPart(block: JsonObject): AssistantPart {
  switch (textOf(block['type'])) {
    case 'thinking':
      return thinkingPart(must.text(block['thinking']), textOf(block['signature']))
    case 'redacted_thinking': {
      const encrypted = must.text(block['data'])
      return { type: 'reasoning', text: '', signature: null, encrypted, id: null }
    }
    case 'tool_use':
      return callPart(block)
    default:
      return textPart(block)
  }
}
