import { findTinfoilHardware, type JsonValue } from '@vouchgate/attestation'
import { z } from 'zod'
import { measurementSchema, TDX_MEASUREMENT, type Measurement } from './measurement.ts'
import { judged, readInput, rejection, type Stage, type Verdict } from './stage.ts'

const register = z.string().max(1024).toLowerCase()

export const hardwareSchema = z
  .array(z.strictObject({ id: z.string().max(1024), mrtd: register, rtmr0: register }))
  .max(1024)

const inputSchema = z.strictObject({
  schema_version: z.literal('1'),
  enclave_measurement: measurementSchema,
  hardware_measurements: hardwareSchema,
})

export type Hardware = z.output<typeof hardwareSchema>

export async function judgeHardware(
  { type, registers }: Measurement,
  known: Hardware,
): Promise<Verdict> {
  if (type !== TDX_MEASUREMENT) return rejection('ENCLAVE_MEASUREMENT_TYPE_INVALID')
  const [mrtd, rtmr0] = registers
  if (registers.length !== 5 || mrtd === undefined || rtmr0 === undefined) {
    return rejection('ENCLAVE_REGISTER_COUNT_INVALID')
  }
  return judged(
    () =>
      Promise.resolve().then(() => {
        const found = findTinfoilHardware(known, { mrtd, rtmr0 })
        return {
          accepted: true,
          outputs: {
            matched_id: found.id,
            matched_mrtd: found.mrtd,
            matched_rtmr0: found.rtmr0,
          },
        }
      }),
    () => 'HARDWARE_NO_MATCH',
  )
}

export const HARDWARE: Stage = {
  name: 'verify-hardware-measurements',
  judge: (document: JsonValue) => {
    const input = readInput(inputSchema, document)
    return judgeHardware(input.enclave_measurement, input.hardware_measurements)
  },
}
