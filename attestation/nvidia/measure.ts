import { EvidenceError } from '../errors.ts'
import { compareMeasurements, type MeasurementComparison } from './measurements.ts'
import type { RimSlot } from './rim/document.ts'
import { matchRims } from './rim/match.ts'
import { GenuineRim } from './rim/verdict.ts'
import { GenuineGpuDevice } from './verdict.ts'

/** How the measurements of one device compare with the reference values at hand. */
export type GpuMeasurements =
  /** There are none for the firmware of this device. */
  | { readonly status: 'unavailable' }
  | {
      readonly status: 'match' | 'mismatch'
      readonly comparison: MeasurementComparison
      readonly rims: readonly GenuineRim[]
    }

/**
 * Picks the reference values of a device's firmware and compares. Whether their signer has expired or is revoked is
 * not looked at here.
 *
 * @param rims Of any chips and versions. NVIDIA revises documents in place; the one signed last counts.
 * @throws EvidenceError `rim_*`; TypeError for a device or values that were not verified, or under roots of two kinds.
 */
export function measureGpu(device: GenuineGpuDevice, rims: readonly GenuineRim[]): GpuMeasurements {
  const isGenuine = GenuineGpuDevice.is(device) && rims.every((rim) => GenuineRim.is(rim))
  if (!isGenuine) throw new TypeError('devices and reference values must be verified first')
  // Values of a test PKI must not vouch for the firmware of a real device.
  if (rims.some(({ root }) => root !== device.root))
    throw new TypeError('verified under other roots')
  const slots: readonly RimSlot[] = device.kind === 'gpu' ? ['driver', 'vbios'] : ['switch']
  const found = slots.map((slot) => newestFor(device, slot, rims)).filter((rim) => rim !== null)
  if (found.length < slots.length) return { status: 'unavailable' }
  matchRims(device, found)
  const comparison = compareMeasurements(device, found)
  const status = comparison.mismatches.length === 0 ? 'match' : 'mismatch'
  return { status, comparison, rims: found }
}

/** An old revision beside its successor must not be the one that is chosen. */
function newestFor(
  device: GenuineGpuDevice,
  slot: RimSlot,
  rims: readonly GenuineRim[],
): GenuineRim | null {
  const running = slot === 'driver' ? device.driver : device.vbios
  const [newest, next] = rims
    .filter(
      (rim) =>
        rim.slot === slot &&
        rim.product === device.chip &&
        rim.version.toUpperCase() === running?.toUpperCase(),
    )
    .toSorted((a, b) => b.signer.notBefore - a.signer.notBefore)
  if (newest === undefined) return null
  const isTied = next?.signer.notBefore === newest.signer.notBefore
  if (isTied && next.sha256 !== newest.sha256) throw new EvidenceError('rim_revision_ambiguous')
  return newest
}
