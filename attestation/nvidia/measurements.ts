import { toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { DeviceKind, GpuArch } from './chip.ts'
import type { RimSlot } from './rim/document.ts'
import { checkSet } from './rim/match.ts'
import type { GenuineRim } from './rim/verdict.ts'

/** What a verified device reported. */
export interface MeasuredDevice {
  readonly arch: GpuArch
  readonly kind: DeviceKind
  /** SPDM block index, from 1, to 48 bytes. */
  readonly measurements: ReadonlyMap<number, Bytes>
  /** 0xAA enabled, 0x55 disabled. */
  readonly nvdec0: number | null
}

export interface MeasurementMismatch {
  /** Of the reference value; the SPDM block is one higher. */
  readonly index: number
  readonly source: RimSlot
}

/** Indexes are those of reference values. */
export interface MeasurementComparison {
  /** Measurements that were compared; at least one for each document. */
  readonly checked: number
  readonly matched: number
  readonly mismatches: readonly MeasurementMismatch[]
  /** Active reference values that do not apply to this device. */
  readonly skipped: readonly number[]
  /** Reported measurements for which there is no active reference value. */
  readonly unchecked: number
  /** Where not the first alternative matched: index to its number. */
  readonly alternatives: ReadonlyMap<number, number>
}

const PRODUCTS: Readonly<Record<GpuArch, RegExp>> = {
  HOPPER: /^GH1[0-9]{2}$/,
  BLACKWELL: /^GB[12][0-9]{2}$/,
  LS10: /^LS10$/,
}
const NVDEC = { enabled: 0xaa, disabled: 0x55 } as const
/** Of the firmware of Hopper's first video decoder, which is not measured while the decoder is off. */
const HOPPER_NVDEC_INDEX = 35

/**
 * Compares what a device measured with the reference values of its firmware. Measurements that differ are in the
 * result, for a policy to refuse; what makes a comparison meaningless is an error. That the values are for the
 * versions that run is for `matchRims`.
 *
 * @param rims For a GPU the driver's and the VBIOS's, for a switch its BIOS's; in any order.
 * @throws EvidenceError `rim_set_*`, `rim_product_mismatch`, `rim_nvdec_status_unknown`, `rim_index_*`,
 * `rim_nothing_compared`
 */
export function compareMeasurements(
  device: MeasuredDevice,
  rims: readonly GenuineRim[],
): MeasurementComparison {
  checkSet(device.kind, rims)
  if (!rims.every(({ product }) => PRODUCTS[device.arch].test(product))) {
    throw new EvidenceError('rim_product_mismatch')
  }
  checkIndexes(device, rims)
  const inapplicable = inapplicableTo(device)
  const compared = rims.map((rim) => compareOne(device, rim, inapplicable))
  // A document of which nothing was compared would vouch for firmware that nobody looked at.
  if (compared.some(({ checked }) => checked === 0)) throw new EvidenceError('rim_nothing_compared')
  const checked = compared.reduce((sum, one) => sum + one.checked, 0)
  const mismatches = compared.flatMap((one) => one.mismatches)
  const skipped = inapplicable.filter((index) => rims.some(({ golden }) => golden.has(index)))
  return {
    checked,
    matched: checked - mismatches.length,
    mismatches,
    skipped,
    unchecked: device.measurements.size - checked - skipped.length,
    alternatives: new Map(compared.flatMap((one) => [...one.alternatives])),
  }
}

function checkIndexes({ measurements }: MeasuredDevice, rims: readonly GenuineRim[]): void {
  const active = rims.flatMap(({ golden }) => [...golden.keys()])
  if (!active.every((index) => measurements.has(index + 1))) {
    throw new EvidenceError('rim_index_beyond_report')
  }
  if (new Set(active).size !== active.length) throw new EvidenceError('rim_index_conflict')
}

/** On Blackwell the value of a decoder that is off is one of the alternatives. */
function inapplicableTo({ kind, arch, nvdec0 }: MeasuredDevice): readonly number[] {
  if (kind === 'switch') return []
  if (nvdec0 !== NVDEC.enabled && nvdec0 !== NVDEC.disabled) {
    throw new EvidenceError('rim_nvdec_status_unknown')
  }
  return arch === 'HOPPER' && nvdec0 === NVDEC.disabled ? [HOPPER_NVDEC_INDEX] : []
}

/** Equal to no reference value. */
const NOT_REPORTED = new Uint8Array(0)

type Compared = Pick<MeasurementComparison, 'checked' | 'mismatches' | 'alternatives'>

function compareOne(
  { measurements }: MeasuredDevice,
  { golden, slot }: GenuineRim,
  inapplicable: readonly number[],
): Compared {
  const mismatches: MeasurementMismatch[] = []
  const alternatives = new Map<number, number>()
  const applicable = [...golden].filter(([index]) => !inapplicable.includes(index))
  for (const [index, values] of applicable) {
    const found = values.indexOf(toHex(measurements.get(index + 1) ?? NOT_REPORTED))
    if (found < 0) mismatches.push({ index, source: slot })
    if (found > 0) alternatives.set(index, found)
  }
  return { checked: applicable.length, mismatches, alternatives }
}
