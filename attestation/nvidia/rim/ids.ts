import { EvidenceError } from '../../errors.ts'
import type { DeviceKind, GpuArch } from '../chip.ts'
import type { DeviceInfo } from '../device-info.ts'
import type { RimSlot } from './document.ts'

export interface RimId {
  readonly slot: RimSlot
  /** As the RIM service names it: `NV_GPU_DRIVER_GH100_550.90.07`. */
  readonly id: string
}

/** What the names are made of: a verified device's own kind and vendor fields. */
export interface RimIdInput {
  readonly arch: GpuArch
  readonly kind: DeviceKind
  readonly info: Pick<
    DeviceInfo,
    'driver' | 'vbios' | 'project' | 'projectSku' | 'chipSku' | 'chipInfo'
  >
}

const PART = /^[A-Za-z0-9._-]{1,64}$/
/** Project, project SKU and chip SKU of every LS10 that NVIDIA publishes reference values for. */
const SWITCH_PROJECT = ['5612', '0002', '890']
const BLACKWELL_CHIP = 'GB100'

/**
 * The names of the reference values that a device needs. They become part of a URL, so each part is checked before
 * anything is built of it.
 *
 * A name proves nothing: asked for a name of another generation, the service answers with genuine reference values of
 * another chip. `matchRims` compares what was signed.
 *
 * @throws EvidenceError `rim_id_malformed`
 */
export function rimIds({ arch, kind, info }: RimIdInput): RimId[] {
  const bios = info.vbios.replaceAll('.', '').toUpperCase()
  if (kind === 'switch') {
    return [{ slot: 'switch', id: joined('NV_SWITCH_BIOS', ...SWITCH_PROJECT, bios) }]
  }
  const project = [info.project, info.projectSku, info.chipSku].map((part) => part.toUpperCase())
  return [
    { slot: 'driver', id: joined(...driverFamily(arch, info.chipInfo), info.driver ?? '') },
    { slot: 'vbios', id: joined('NV_GPU_VBIOS', ...project, bios) },
  ]
}

const driverFamily = (arch: GpuArch, chipInfo: string | null): string[] =>
  arch === 'HOPPER' ? ['NV_GPU_DRIVER', 'GH100'] : ['NV_GPU_CC_DRIVER', chipInfo ?? BLACKWELL_CHIP]

function joined(...parts: readonly string[]): string {
  if (!parts.every((part) => PART.test(part))) throw new EvidenceError('rim_id_malformed')
  return parts.join('_')
}
