import { z } from 'zod'
import { EvidenceError } from '../errors.ts'
import type { JsonValue } from '../json.ts'

/** Registers are lower-case hex of 48 bytes. */
export interface TinfoilMeasurements {
  /** Launch measurement of the image on SEV-SNP. */
  readonly snp: string
  /** The same image on TDX: kernel, then command line and initrd. */
  readonly rtmr1: string
  readonly rtmr2: string
}

/** Firmware and virtual hardware of a platform that enclaves may run on. */
export interface TinfoilHardware {
  readonly id: string
  readonly mrtd: string
  readonly rtmr0: string
}

export const TINFOIL_RELEASE_TYPE = 'https://tinfoil.sh/predicate/snp-tdx-multiplatform/v1'
export const TINFOIL_HARDWARE_TYPE = 'https://tinfoil.sh/predicate/hardware-measurements/v1'
/** Enclaves extend nothing at run time: whatever is in RTMR3 was put there by somebody else. */
const UNTOUCHED = '0'.repeat(96)

const register = z
  .string()
  .regex(/^[0-9a-fA-F]{96}$/)
  .toLowerCase()

const releaseSchema = z.object({
  snp_measurement: register,
  tdx_measurement: z.object({ rtmr1: register, rtmr2: register }),
})

/** Throws `tinfoil_predicate_malformed`. */
export function tinfoilMeasurements(predicate: JsonValue): TinfoilMeasurements {
  const parsed = releaseSchema.safeParse(predicate)
  if (!parsed.success) throw new EvidenceError('tinfoil_predicate_malformed')
  const { snp_measurement: snp, tdx_measurement } = parsed.data
  return { snp, ...tdx_measurement }
}

const hardwareSchema = z
  .record(z.string().max(256), z.object({ mrtd: register, rtmr0: register }))
  .refine((platforms) => Object.keys(platforms).length <= 1024)

/** Throws `tinfoil_predicate_malformed`. */
export function tinfoilHardware(predicate: JsonValue): readonly TinfoilHardware[] {
  const parsed = hardwareSchema.safeParse(predicate)
  if (!parsed.success) throw new EvidenceError('tinfoil_predicate_malformed')
  return Object.entries(parsed.data).map(([id, { mrtd, rtmr0 }]) => ({ id, mrtd, rtmr0 }))
}

/** The first platform of both registers: one alone could be of another firmware or another machine. */
export function findTinfoilHardware(
  known: readonly TinfoilHardware[],
  seen: { readonly mrtd: string; readonly rtmr0: string },
): TinfoilHardware {
  const found = known.find(({ mrtd, rtmr0 }) => mrtd === seen.mrtd && rtmr0 === seen.rtmr0)
  if (found === undefined) throw new EvidenceError('tinfoil_hardware_unknown')
  return found
}

/** What the host configures a TD with beside its image; released images expect nothing there. */
const TINFOIL_CONFIGURATION = ['mrconfigid', 'mrowner', 'mrownerconfig'] as const

/** By the names of a quote's measurements. Throws `tinfoil_rtmr3_extended`, `tinfoil_td_configured` or `tinfoil_release_mismatch`. */
export function matchTinfoilTdx(
  release: TinfoilMeasurements,
  seen: Readonly<Record<string, string>>,
): void {
  if (seen['rtmr3'] !== UNTOUCHED) throw new EvidenceError('tinfoil_rtmr3_extended')
  if (TINFOIL_CONFIGURATION.some((name) => seen[name] !== UNTOUCHED)) {
    throw new EvidenceError('tinfoil_td_configured')
  }
  if (seen['rtmr1'] !== release.rtmr1 || seen['rtmr2'] !== release.rtmr2) {
    throw new EvidenceError('tinfoil_release_mismatch')
  }
}

/** Throws `tinfoil_release_mismatch`. */
export function matchTinfoilSnp(release: TinfoilMeasurements, measurement: string): void {
  if (measurement !== release.snp) throw new EvidenceError('tinfoil_release_mismatch')
}
