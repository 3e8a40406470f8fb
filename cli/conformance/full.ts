import type { JsonValue } from '@vouchgate/attestation'
import { z } from 'zod'
import { hardwareSchema, judgeHardware, type Hardware } from './hardware.ts'
import {
  compareMeasurements,
  fingerprint,
  measurementSchema,
  TDX_MEASUREMENT,
  type Measurement,
} from './measurement.ts'
import { SEV } from './sev.ts'
import { SIGSTORE } from './sigstore.ts'
import { readInput, type Beside, type Stage, type Verdict } from './stage.ts'
import { TDX } from './tdx.ts'

/** Each part is read by the stage that it is for. */
const part = z.record(z.string(), z.json()).optional()

const inputSchema = z.strictObject({
  schema_version: z.literal('1'),
  mode: z.enum(['standard', 'bundle', 'pinned']),
  sigstore: part,
  attestation_sev: part,
  attestation_tdx: part,
  hardware_measurements: hardwareSchema.optional(),
  pinned_measurement: measurementSchema.optional(),
})

type Input = z.output<typeof inputSchema>

/** The refusal of one stage ends them all, under that stage's name. */
class Refused extends Error {
  override readonly name = 'Refused'
  readonly verdict: Verdict

  constructor(stage: string, code: string) {
    super('a stage refused')
    this.verdict = { accepted: false, rejection: { code, stage } }
  }
}

const NAME = 'verify-full'
const outputsSchema = z.object({ measurement: measurementSchema })

export const FULL: Stage = {
  name: NAME,
  judge: async (document: JsonValue, beside) => {
    const input = readInput(inputSchema, document)
    try {
      return await judge(input, beside)
    } catch (error) {
      if (error instanceof Refused) return error.verdict
      throw error
    }
  },
}

async function judge(input: Input, beside: Beside): Promise<Verdict> {
  // 1. What should run: by its provenance, or as the caller says.
  const wanted = await wantedMeasurement(input, beside)
  // 2. What runs, by the hardware.
  const tdx = input.attestation_sev === undefined
  const document = tdx ? input.attestation_tdx : input.attestation_sev
  if (document === undefined) throw new Refused(NAME, 'BUNDLE_MALFORMED')
  const seen = await measurementOf(tdx ? TDX : SEV, document, beside)
  // 3. Both are the same.
  const code = compareMeasurements(wanted, seen)
  if (code !== null) throw new Refused('verify-measurement', code)
  // 4. A TD says nothing of its firmware and machine in the registers of its image.
  const released = tdx && wanted.type !== TDX_MEASUREMENT
  const matched = released ? await hardwareOf(seen, input.hardware_measurements ?? []) : null
  return {
    accepted: true,
    outputs: {
      mode: input.mode,
      platform: tdx ? 'tdx' : 'sev-snp',
      ...(input.mode === 'pinned' ? {} : { sigstore_measurement: wanted }),
      attestation_measurement: seen,
      ...(matched === null ? {} : { matched_hardware: matched }),
      final_measurement_fingerprint_hex: fingerprint(seen),
    },
  }
}

async function wantedMeasurement(input: Input, beside: Beside): Promise<Measurement> {
  if (input.mode === 'pinned') {
    if (input.pinned_measurement === undefined) throw new Refused(NAME, 'BUNDLE_MALFORMED')
    return input.pinned_measurement
  }
  if (input.sigstore === undefined) throw new Refused(NAME, 'BUNDLE_MALFORMED')
  return measurementOf(SIGSTORE, input.sigstore, beside)
}

async function measurementOf(
  stage: Stage,
  document: Readonly<Record<string, JsonValue>>,
  beside: Beside,
): Promise<Measurement> {
  const verdict = await stage.judge({ schema_version: '1', ...document }, beside)
  if (!verdict.accepted) throw new Refused(stage.name, verdict.rejection.code)
  const parsed = outputsSchema.safeParse(verdict.outputs)
  if (!parsed.success) throw new Refused(stage.name, 'PREDICATE_MEASUREMENT_INVALID')
  return parsed.data.measurement
}

async function hardwareOf(seen: Measurement, known: Hardware): Promise<object> {
  const verdict = await judgeHardware(seen, known)
  if (!verdict.accepted) throw new Refused('verify-hardware-measurements', verdict.rejection.code)
  return verdict.outputs
}
