import { decodeUtf8 } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import { parseJson, type JsonValue } from '../../json.ts'

export type JsonObject = { readonly [member: string]: JsonValue }

export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Strict JSON; null for anything else, which no document of NRAS is. Each has a code of its own to be refused with. */
export function jsonOf(bytes: () => Uint8Array): JsonValue {
  try {
    return parseJson(decodeUtf8(bytes()))
  } catch (error) {
    if (error instanceof EvidenceError) return null
    throw error
  }
}
