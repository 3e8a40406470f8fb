import { EvidenceError } from '../../errors.ts'
import type { DeviceKind } from '../chip.ts'
import type { RimSlot } from './document.ts'
import { GenuineRim } from './verdict.ts'

/** What a verified device says that it is and runs. */
export interface RimSubject {
  readonly kind: DeviceKind
  /** `GH100` */
  readonly chip: string
  readonly driver: string | null
  readonly vbios: string
}

const SLOTS: Readonly<Record<DeviceKind, readonly RimSlot[]>> = {
  gpu: ['driver', 'vbios'],
  switch: ['switch'],
}

/**
 * The reference values are those of this chip and of the firmware it runs. Without this, genuine values of another
 * version would be compared, and one whose measurements somebody can produce be chosen.
 *
 * @throws EvidenceError `rim_set_*`, `rim_product_mismatch`, `rim_version_mismatch`
 */
export function matchRims(device: RimSubject, rims: readonly GenuineRim[]): void {
  checkSet(device.kind, rims)
  for (const { product, slot, version } of rims) {
    if (product !== device.chip) throw new EvidenceError('rim_product_mismatch')
    const running = slot === 'driver' ? device.driver : device.vbios
    if (version.toUpperCase() !== running?.toUpperCase()) {
      throw new EvidenceError('rim_version_mismatch')
    }
  }
}

/** Exactly one for each firmware of this kind of device. */
export function checkSet(kind: DeviceKind, rims: readonly GenuineRim[]): void {
  if (!rims.every((rim) => GenuineRim.is(rim))) {
    throw new TypeError('reference values must be verified first')
  }
  const slots = new Set(rims.map(({ slot }) => slot))
  const wanted = SLOTS[kind]
  const isForeign = rims.some(({ slot }) => !wanted.includes(slot))
  if (isForeign || slots.size !== rims.length) throw new EvidenceError('rim_set_mismatch')
  if (slots.size !== wanted.length) throw new EvidenceError('rim_set_incomplete')
}
