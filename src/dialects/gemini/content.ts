import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  JsonObject,
  Message,
  ReasoningPart,
  Source,
  ToolResult,
  UserPart,
} from '../canonical.ts'
import { compact, readJson } from '../loose.ts'
import { argumentsObject, isSystem, toolNames, type SystemMessage } from '../toolcalls.ts'
import { isObject } from '../json.ts'

/**
 * Marks a proof as Gemini's own, so that another provider's never goes there: of a text part or of a thought. A proof of a
 * tool call stands on the call.
 */
export const TEXT_PROOF = 'gemini_text'
export const THOUGHT_PROOF = 'gemini_thought'

/** Base64 of `skip_thought_signature_validator`, Google's word for a call that another model made. */
const NO_SIGNATURE = 'c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I='

const MEDIA: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  heic: 'image/heic',
  heif: 'image/heif',
  gif: 'image/gif',
  pdf: 'application/pdf',
}

export interface Content {
  readonly role: 'user' | 'model'
  readonly parts: readonly JsonObject[]
}

function sourcePart(source: Source): JsonObject {
  if (source.kind === 'base64')
    return { inlineData: { mimeType: source.mediaType, data: source.data } }
  if (!/^(?:https|gs):\/\//.test(source.url)) throw new GatewayError('request_not_supported')
  const [, ending = ''] = /\.([a-z]{3,4})(?:[?#]|$)/i.exec(source.url) ?? []
  const type = ending.toLowerCase()
  const mimeType = Object.hasOwn(MEDIA, type) ? MEDIA[type] : undefined
  return { fileData: compact({ mimeType, fileUri: source.url }) }
}

function userPart(part: UserPart): JsonObject {
  if (part.type === 'text') return { text: part.text }
  if (part.type === 'audio')
    return { inlineData: { mimeType: `audio/${part.format}`, data: part.data } }
  if (part.source.kind === 'id') throw new GatewayError('request_not_supported')
  return sourcePart(part.source)
}

/** Whether a call without a signature would be refused. */
const wantsSignatures = (model: string): boolean => /gemini-(?:[3-9]|\d\d)/.test(model)

/** One part as it goes out; null for what is not Gemini's own or has its place elsewhere. */
function assistantPart(part: AssistantPart, stands: boolean): JsonObject | null {
  if (part.type === 'text' || part.type === 'refusal') return { text: part.text }
  if (part.type === 'tool_call') {
    const { id, name, signature } = part
    return compact({
      functionCall: { id, name, args: argumentsObject(part.arguments) },
      thoughtSignature: signature ?? (stands ? undefined : NO_SIGNATURE),
    })
  }
  return part.id === THOUGHT_PROOF && part.signature !== null
    ? { text: part.text, thought: true, thoughtSignature: part.signature }
    : null
}

const isTextProof = (part: AssistantPart): part is ReasoningPart =>
  part.type === 'reasoning' && part.id === TEXT_PROOF && part.encrypted !== null

function assistantParts(parts: readonly AssistantPart[], model: string): JsonObject[] {
  // Of calls that were made together only the first is signed.
  const first = parts.find((part) => part.type === 'tool_call')
  const written = parts
    .map((part) => assistantPart(part, part !== first || !wantsSignatures(model)))
    .filter((part) => part !== null)
  const proof = parts.findLast(isTextProof)?.encrypted
  if (proof === undefined || proof === null) return written
  const last = written.findLastIndex((part) => 'text' in part && !('thought' in part))
  if (last === -1) return [...written, { text: '', thoughtSignature: proof }]
  return written.with(last, { ...written[last], thoughtSignature: proof })
}

/** Gemini wants an object. What is not one stands under a name. */
function response(result: ToolResult, text: string): JsonObject {
  if (result.isError) return { error: text }
  const value = readJson(text)
  return isObject(value) ? value : { result: text }
}

function resultParts(result: ToolResult, names: ReadonlyMap<string, string>): JsonObject[] {
  const name = names.get(result.callId)
  // The answer to a call that was never made.
  if (name === undefined) throw new GatewayError('invalid_request')
  const texts: string[] = []
  const images: JsonObject[] = []
  for (const part of result.parts) {
    if (part.type === 'text') texts.push(part.text)
    else images.push(sourcePart(part.source))
  }
  const { callId: id } = result
  return [{ functionResponse: { id, name, response: response(result, texts.join('')) } }, ...images]
}

function contentOf(
  message: Exclude<Message, SystemMessage>,
  names: ReadonlyMap<string, string>,
  model: string,
): Content {
  if (message.role === 'user') return { role: 'user', parts: message.parts.map(userPart) }
  if (message.role === 'assistant')
    return { role: 'model', parts: assistantParts(message.parts, model) }
  return { role: 'user', parts: message.results.flatMap((result) => resultParts(result, names)) }
}

/** Turns by turns: what stands together under one role becomes one content. */
export function contents(messages: readonly Message[], model: string): Content[] {
  const names = toolNames(messages)
  const turns: { role: Content['role']; parts: JsonObject[] }[] = []
  for (const message of messages) {
    if (isSystem(message)) continue
    const { role, parts } = contentOf(message, names, model)
    const last = turns.at(-1)
    if (last?.role === role) last.parts.push(...parts)
    else if (parts.length > 0) turns.push({ role, parts: [...parts] })
  }
  if (turns.length === 0) throw new GatewayError('request_not_supported')
  return turns
}

export function systemInstruction(messages: readonly Message[]): JsonValue | undefined {
  const parts = messages
    .filter(isSystem)
    .flatMap((message) => message.parts.map(({ text }) => ({ text })))
  return parts.length === 0 ? undefined : { parts }
}
