import type { JsonObject, ReasoningPart } from '../canonical.ts'
import { listOf, textOf, wholeOf, wordOf } from './json.ts'
import { member, type Json } from '../json.ts'

/** One entry of `reasoning_details`. */
export interface ReasoningDetail {
  /** Entries of one number are one part. */
  readonly index: number | null
  readonly text: string
  readonly signature: string | null
  readonly encrypted: string | null
  readonly id: string | null
}

/** OpenRouter's `reasoning_details`; unknown types are passed over. */
export function readDetails(details: Json): ReasoningDetail[] {
  return listOf(details).flatMap((detail) => {
    const type = member(detail, 'type')
    const common = { index: wholeOf(member(detail, 'index')), id: wordOf(member(detail, 'id')) }
    const signature = wordOf(member(detail, 'signature'))
    const blank = { text: '', signature, encrypted: null }
    if (type === 'reasoning.text') {
      return [{ ...common, ...blank, text: textOf(member(detail, 'text')) ?? '' }]
    }
    if (type === 'reasoning.summary') {
      return [{ ...common, ...blank, text: textOf(member(detail, 'summary')) ?? '' }]
    }
    if (type === 'reasoning.encrypted') {
      return [{ ...common, ...blank, encrypted: wordOf(member(detail, 'data')) }]
    }
    return []
  })
}

/**
 * The reasoning of a whole message, whichever of `reasoning_details`, `reasoning_content` and `reasoning` it stands in.
 * Details say everything that the texts say; a text beside details without one belongs to the first of them.
 */
export function readReasoning(message: JsonObject): ReasoningPart[] {
  const read = mergedDetails(message['reasoning_details'])
  const text = wordOf(message['reasoning_content']) ?? wordOf(message['reasoning'])
  if (text === null || read.some((part) => part.text !== '')) return read
  const [first = EMPTY, ...rest] = read
  return [{ ...first, text }, ...rest]
}

/** Entries of one number that follow one another are one part: OpenRouter gives text and proof apart. */
function mergedDetails(details: Json): ReasoningPart[] {
  const parts: ReasoningPart[] = []
  let before: number | null = null
  for (const { index, ...detail } of readDetails(details)) {
    const last = index !== null && index === before ? parts.pop() : undefined
    parts.push(last === undefined ? { type: 'reasoning', ...detail } : both(last, detail))
    before = index
  }
  return parts.filter(saysSomething)
}

const both = (a: ReasoningPart, b: Omit<ReasoningDetail, 'index'>): ReasoningPart => ({
  ...a,
  text: a.text + b.text,
  signature: b.signature ?? a.signature,
  encrypted: b.encrypted ?? a.encrypted,
  id: b.id ?? a.id,
})

const EMPTY: ReasoningPart = {
  type: 'reasoning',
  text: '',
  signature: null,
  encrypted: null,
  id: null,
}

const saysSomething = (part: ReasoningPart): boolean =>
  part.text !== '' || part.signature !== null || part.encrypted !== null

/** `reasoning_details` of one part, numbered `index`. */
export function writeDetails(part: Omit<ReasoningPart, 'type'>, index: number): JsonObject[] {
  const { text, signature, encrypted, id } = part
  const named = id === null ? {} : { id }
  const details: JsonObject[] = []
  if (text !== '' || signature !== null) {
    const proof = signature === null ? {} : { signature }
    details.push({ type: 'reasoning.text', text, ...proof, ...named, index })
  }
  if (encrypted !== null) {
    details.push({ type: 'reasoning.encrypted', data: encrypted, ...named, index })
  }
  return details
}

/** Both spellings of a message's reasoning; nothing where it has none. */
export function writeReasoning(parts: readonly ReasoningPart[]): JsonObject {
  if (parts.length === 0) return {}
  return {
    reasoning_content: parts.map(({ text }) => text).join(''),
    reasoning_details: parts.flatMap(writeDetails),
  }
}
