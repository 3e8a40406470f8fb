import { toHex, type JsonValue } from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { readInput, rejection, type Stage, type Verdict } from './stage.ts'

const SEV = 'https://tinfoil.sh/predicate/sev-snp-guest/v2'
export const TDX_MEASUREMENT = 'https://tinfoil.sh/predicate/tdx-guest/v2'
export const MULTIPLATFORM = 'https://tinfoil.sh/predicate/snp-tdx-multiplatform/v1'

/** How many registers a measurement of each type has. */
const COUNTS: ReadonlyMap<string, number> = new Map([
  [SEV, 1],
  [TDX_MEASUREMENT, 5],
  [MULTIPLATFORM, 3],
])
const ZERO = '0'.repeat(96)

export const measurementSchema = z.strictObject({
  type: z.string().max(256),
  registers: z.array(z.string().max(1024).toLowerCase()).max(16),
})

export type Measurement = z.output<typeof measurementSchema>

const inputSchema = z.strictObject({
  schema_version: z.literal('1'),
  source: measurementSchema,
  target: measurementSchema.nullable().default(null),
})

export const fingerprint = ({ type, registers }: Measurement): string =>
  registers.length === 1
    ? (registers[0] ?? '')
    : toHex(
        createHash('sha256')
          .update(`${type}${registers.join('')}`)
          .digest(),
      )

/** The contract's code for why two measurements are not of one image; null where they are. */
export function compareMeasurements(source: Measurement, target: Measurement): string | null {
  const malformed = malformedCode(source) ?? malformedCode(target)
  if (malformed !== null) return malformed
  if (source.type === target.type) return equal(source.registers, target.registers)
  // Either side may be the release.
  const [release, seen] = source.type === MULTIPLATFORM ? [source, target] : [target, source]
  if (release.type !== MULTIPLATFORM) return 'MEASUREMENT_TYPE_COMBINATION_UNSUPPORTED'
  if (seen.type === SEV) return equal(release.registers.slice(0, 1), seen.registers)
  if (seen.registers[4] !== ZERO) return 'MEASUREMENT_RTMR3_NONZERO'
  return equal(release.registers.slice(1), seen.registers.slice(2, 4))
}

function malformedCode({ type, registers }: Measurement): string | null {
  const count = COUNTS.get(type)
  if (count === undefined) return 'MEASUREMENT_TYPE_UNKNOWN'
  return registers.length === count ? null : 'MEASUREMENT_REGISTER_COUNT_INVALID'
}

const equal = (left: readonly string[], right: readonly string[]): string | null =>
  left.length === right.length && left.every((register, at) => register === right[at])
    ? null
    : 'MEASUREMENT_MISMATCH'

export const MEASUREMENT: Stage = {
  name: 'verify-measurement',
  judge: (document: JsonValue) => Promise.resolve(judge(readInput(inputSchema, document))),
}

function judge({ source, target }: z.output<typeof inputSchema>): Verdict {
  const code = target === null ? malformedCode(source) : compareMeasurements(source, target)
  if (code !== null) return rejection(code)
  return {
    accepted: true,
    outputs: {
      source_fingerprint_hex: fingerprint(source),
      target_fingerprint_hex: target === null ? null : fingerprint(target),
    },
  }
}
