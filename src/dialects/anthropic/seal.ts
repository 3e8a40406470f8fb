import type { JsonValue } from '@vouchgate/attestation'
import type { ReasoningPart } from '../canonical.ts'
import { listOf, textOf } from './read.ts'

/**
 * Encrypted thoughts of a provider that names them (OpenAI) have no place of their own in this dialect: they travel as
 * the signature of a thinking block, which clients send back unread.
 */
const MARK = 'vg1.'

export const sealSignature = (encrypted: string, id: string): string =>
  MARK + Buffer.from(JSON.stringify([id, encrypted])).toString('base64url')

/** A thinking block as it came back, whoever's signature it carries. */
export function thinkingPart(text: string, signature: string): ReasoningPart {
  const part: ReasoningPart = {
    type: 'reasoning',
    text,
    signature: signature === '' ? null : signature,
    encrypted: null,
    id: null,
  }
  if (!signature.startsWith(MARK)) return part
  const [id, encrypted] = listOf(openSeal(signature.slice(MARK.length)))
  if (typeof id !== 'string' || typeof encrypted !== 'string') return part
  return { ...part, signature: null, encrypted: textOf(encrypted), id: textOf(id) }
}

function openSeal(sealed: string): JsonValue {
  try {
    const value: JsonValue = JSON.parse(Buffer.from(sealed, 'base64url').toString('utf8'))
    return value
  } catch {
    return null
  }
}
