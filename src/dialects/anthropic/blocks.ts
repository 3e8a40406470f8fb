import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CacheMark,
  FilePart,
  JsonObject,
  ReasoningPart,
  Source,
  ToolCallPart,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import { argumentsObject } from './exact.ts'
import { callId, escapeName } from './names.ts'

export type Block = JsonObject

export const cacheControl = (cache: CacheMark | undefined): JsonObject => {
  if (cache === undefined) return {}
  return {
    cache_control: cache === '5m' ? { type: 'ephemeral' } : { type: 'ephemeral', ttl: '1h' },
  }
}

/** Anthropic refuses empty text. */
const textBlocks = (text: string, cache?: CacheMark): readonly Block[] =>
  text === '' ? [] : [{ type: 'text', text, ...cacheControl(cache) }]

const wireSource = (source: Source): JsonObject =>
  source.kind === 'url'
    ? { type: 'url', url: source.url }
    : { type: 'base64', media_type: source.mediaType, data: source.data }

function documentSource(source: FilePart['source']): JsonObject {
  if (source.kind === 'id') return { type: 'file', file_id: source.id }
  if (source.kind === 'base64' && source.mediaType !== 'application/pdf') {
    // Besides PDF Anthropic takes plain text, which it wants unencoded.
    if (!source.mediaType.startsWith('text/')) throw new GatewayError('request_not_supported')
    const data = Buffer.from(source.data, 'base64').toString('utf8')
    return { type: 'text', media_type: 'text/plain', data }
  }
  return wireSource(source)
}

export function userBlocks(part: UserPart): readonly Block[] {
  switch (part.type) {
    case 'text':
      return textBlocks(part.text, part.cache)
    case 'image':
      return [{ type: 'image', source: wireSource(part.source), ...cacheControl(part.cache) }]
    case 'file': {
      const title = part.name === null ? {} : { title: part.name }
      const source = documentSource(part.source)
      return [{ type: 'document', source, ...title, ...cacheControl(part.cache) }]
    }
    case 'audio':
      throw new GatewayError('request_not_supported')
  }
}

/** Thoughts go back only with Anthropic's own proof; unproven or another provider's would be refused. */
function reasoningBlocks(part: ReasoningPart): readonly Block[] {
  if (part.id !== null) return []
  if (part.encrypted !== null) return [{ type: 'redacted_thinking', data: part.encrypted }]
  if (part.signature === null) return []
  return [{ type: 'thinking', thinking: part.text, signature: part.signature }]
}

const callBlock = (part: ToolCallPart): Block => ({
  type: 'tool_use',
  id: callId(part.id),
  name: escapeName(part.name),
  input: argumentsObject(part.arguments),
  ...cacheControl(part.cache),
})

export function assistantBlocks(part: AssistantPart): readonly Block[] {
  switch (part.type) {
    case 'text':
      return textBlocks(part.text, part.cache)
    case 'refusal':
      return textBlocks(part.text)
    case 'reasoning':
      return reasoningBlocks(part)
    case 'tool_call':
      return [callBlock(part)]
  }
}

export function resultBlock(result: ToolResult): Block {
  const content = result.parts.flatMap(userBlocks)
  return {
    type: 'tool_result',
    tool_use_id: callId(result.callId),
    ...(content.length === 0 ? {} : { content }),
    ...(result.isError ? { is_error: true } : {}),
    ...cacheControl(result.cache),
  }
}
