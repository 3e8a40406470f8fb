import { decodeUtf8 } from '../../bytes.ts'
import { EvidenceError, type EvidenceErrorCode } from '../../errors.ts'
import { parseJson, type JsonValue } from '../../json.ts'

export type JsonObject = { readonly [member: string]: JsonValue }

export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Strict JSON under the code of the document it is. */
export function strictJson(bytes: Uint8Array, code: EvidenceErrorCode): JsonValue {
  try {
    return parseJson(decodeUtf8(bytes))
  } catch {
    throw new EvidenceError(code)
  }
}
