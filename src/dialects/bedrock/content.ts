import { createHash } from 'node:crypto'
import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CacheMark,
  FilePart,
  ImagePart,
  JsonObject,
  Message,
  ReasoningPart,
  Source,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import { compact } from '../loose.ts'
import { argumentsObject, isSystem } from '../toolcalls.ts'
import type { Family } from './family.ts'

const IMAGES: Readonly<Record<string, string>> = {
  'image/png': 'png',
  'image/jpeg': 'jpeg',
  'image/jpg': 'jpeg',
  'image/gif': 'gif',
  'image/webp': 'webp',
}
const WORD = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'
const SHEET = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet'
const DOCUMENTS: Readonly<Record<string, string>> = {
  'application/pdf': 'pdf',
  'text/csv': 'csv',
  'application/msword': 'doc',
  [WORD]: 'docx',
  'application/vnd.ms-excel': 'xls',
  [SHEET]: 'xlsx',
  'text/html': 'html',
  'text/plain': 'txt',
  'text/markdown': 'md',
}

const unsupported = (): GatewayError => new GatewayError('request_not_supported')

/** Bedrock fetches nothing from the web; only its own storage has addresses. */
function source(from: Source): JsonObject {
  if (from.kind === 'base64') return { bytes: from.data }
  if (!from.url.startsWith('s3://')) throw unsupported()
  return { s3Location: { uri: from.url } }
}

function formatOf(formats: Readonly<Record<string, string>>, from: Source): string {
  if (from.kind === 'base64') {
    const format = Object.hasOwn(formats, from.mediaType) ? formats[from.mediaType] : undefined
    if (format === undefined) throw unsupported()
    return format
  }
  const ending = from.url.slice(from.url.lastIndexOf('.') + 1).toLowerCase()
  const format = ending === 'jpg' ? 'jpeg' : ending
  if (!Object.values(formats).includes(format)) throw unsupported()
  return format
}

const image = (part: ImagePart): JsonObject => ({
  image: { format: formatOf(IMAGES, part.source), source: source(part.source) },
})

/** What a call may be named by: models other than Claude give ids with dots and colons and want them back. */
function callId(id: string, family: Family): string {
  const fits = family === 'anthropic' ? /^[\w-]{1,64}$/ : /^[\w.:-]{1,64}$/
  if (fits.test(id)) return id
  return `tooluse_${createHash('sha256').update(id).digest('base64url').slice(0, 40)}`
}

/** A proof with an id is some other provider's, and text without one cannot be given back. */
function reasoning(part: ReasoningPart): JsonObject | null {
  if (part.id !== null) return null
  if (part.encrypted !== null) return { reasoningContent: { redactedContent: part.encrypted } }
  if (part.signature === null) return null
  const { text, signature } = part
  return { reasoningContent: { reasoningText: { text, signature } } }
}

/** Writes the messages of one request. */
export class ContentWriter {
  readonly #family: Family
  #documents = 0

  constructor(family: Family) {
    this.#family = family
  }

  /** Turns that alternate and begin with the user's. */
  messages(messages: readonly Message[]): JsonObject[] {
    const turns: { role: 'user' | 'assistant'; content: JsonObject[] }[] = []
    for (const message of messages) {
      if (isSystem(message)) continue
      const role = message.role === 'assistant' ? 'assistant' : 'user'
      const content = this.#content(message)
      const last = turns.at(-1)
      if (last?.role === role) last.content.push(...content)
      else if (content.length > 0) turns.push({ role, content })
    }
    if (turns[0]?.role !== 'user') throw unsupported()
    return turns
  }

  system(messages: readonly Message[]): JsonObject[] {
    return messages
      .filter(isSystem)
      .flatMap(({ parts }) => parts.flatMap((part) => this.#text(part.text, part.cache)))
  }

  cachePoint(mark: CacheMark | undefined): JsonObject[] {
    if (mark === undefined || this.#family === 'other') return []
    return [{ cachePoint: compact({ type: 'default', ttl: mark === '1h' ? mark : undefined }) }]
  }

  /** An empty text is refused. */
  #text(text: string, mark?: CacheMark): JsonObject[] {
    return [...(text === '' ? [] : [{ text }]), ...this.cachePoint(mark)]
  }

  #content(message: Exclude<Message, { role: 'system' | 'developer' }>): JsonObject[] {
    if (message.role === 'user') return message.parts.flatMap((part) => this.#user(part))
    if (message.role === 'assistant') return message.parts.flatMap((part) => this.#assistant(part))
    return message.results.map((result) => this.#result(result))
  }

  #user(part: UserPart): JsonObject[] {
    if (part.type === 'text') return this.#text(part.text, part.cache)
    if (part.type === 'audio') throw unsupported()
    const written = part.type === 'image' ? image(part) : this.#document(part)
    return [written, ...this.cachePoint(part.cache)]
  }

  /** Names are limited to a few characters and must differ within a request. */
  #document(part: FilePart): JsonObject {
    if (part.source.kind === 'id') throw unsupported()
    const plain = (part.name ?? '')
      .replaceAll(/[^A-Za-z0-9()[\] -]/g, '-')
      .replaceAll(/ {2,}/g, ' ')
      .slice(0, 180)
      .trim()
    const count = ++this.#documents
    const name = plain === '' ? `Document ${count}` : count === 1 ? plain : `${plain} (${count})`
    const format = formatOf(DOCUMENTS, part.source)
    return { document: { format, name, source: source(part.source) } }
  }

  #assistant(part: AssistantPart): JsonObject[] {
    if (part.type === 'tool_call') {
      const input = argumentsObject(part.arguments)
      return [{ toolUse: { toolUseId: callId(part.id, this.#family), name: part.name, input } }]
    }
    if (part.type !== 'reasoning')
      return this.#text(part.text, part.type === 'text' ? part.cache : undefined)
    const written = reasoning(part)
    return written === null ? [] : [written]
  }

  #result(result: ToolResult): JsonObject {
    const content = result.parts
      .filter((part) => part.type !== 'text' || part.text !== '')
      .map((part) => (part.type === 'text' ? { text: part.text } : image(part)))
    const status = result.isError ? 'error' : undefined
    return {
      toolResult: compact({ toolUseId: callId(result.callId, this.#family), content, status }),
    }
  }
}
