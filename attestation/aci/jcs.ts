import { EvidenceError } from '../errors.ts'
import type { JsonValue } from '../json.ts'

/**
 * RFC 8785 canonical JSON for ACI's own documents: members sorted by UTF-16 code units, no white space.
 *
 * ACI has integers only, so other numbers are refused (`json_malformed`) rather than formatted.
 */
export function jcs(value: JsonValue): string {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw new EvidenceError('json_malformed')
  }
  if (value === null || typeof value !== 'object') return scalar(value)
  if (isArray(value)) return `[${value.map(jcs).join(',')}]`
  const members = Object.keys(value)
    .toSorted()
    .map((name) => `${scalar(name)}:${jcs(value[name] ?? null)}`)
  return `{${members.join(',')}}`
}

const isArray = (value: JsonValue): value is readonly JsonValue[] => Array.isArray(value)

/** A lone surrogate has no UTF-8 form: two parties would hash different bytes. */
function scalar(value: string | number | boolean | null): string {
  if (typeof value === 'string' && !value.isWellFormed()) throw new EvidenceError('json_malformed')
  return JSON.stringify(value)
}
