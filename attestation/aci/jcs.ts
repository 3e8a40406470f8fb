import { EvidenceError } from '../errors.ts'

/**
 * RFC 8785 canonical JSON for ACI's own documents: members sorted by UTF-16 code units, no white space, and
 * members whose value is `undefined` absent.
 *
 * Throws `json_malformed` for what ACI documents do not hold: numbers that are not integers, and anything
 * that is no JSON.
 */
export function jcs(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(jcs).join(',')}]`
  if (typeof value !== 'object' || value === null) return scalar(value)
  let members = ''
  for (const [name, member] of Object.entries(value).toSorted(byName)) {
    if (member !== undefined) members += `${members && ','}${scalar(name)}:${jcs(member)}`
  }
  return `{${members}}`
}

type Member = readonly [name: string, value: unknown]

/** `<` on strings compares UTF-16 code units. */
const byName = ([left]: Member, [right]: Member): number => (left < right ? -1 : 1)

function scalar(value: unknown): string {
  // A lone surrogate has no UTF-8 form: two parties would hash different bytes.
  const canonical =
    value === null ||
    typeof value === 'boolean' ||
    Number.isSafeInteger(value) ||
    (typeof value === 'string' && value.isWellFormed())
  if (!canonical) throw new EvidenceError('json_malformed')
  return JSON.stringify(value)
}
