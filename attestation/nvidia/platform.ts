import { EvidenceError } from '../errors.ts'
import type { GpuMode } from './device-info.ts'
import type { GenuineGpuDevice, GenuineGpuEvidence } from './verdict.ts'

/**
 * Whether the switches between the GPUs proved themselves too. `absent` where the GPUs are in protected PCIe mode,
 * so that the switches carry their traffic in the clear, and no switch was shown.
 */
export type SwitchEvidence = 'verified' | 'absent' | 'not-needed'

export interface GpuPlatform {
  /** Null where there is no GPU. */
  readonly mode: GpuMode | null
  readonly gpus: number
  readonly switches: number
  readonly switchEvidence: SwitchEvidence
}

/**
 * The devices form one machine: one chip, one driver and one mode, and where switches take part, each device names
 * the others. The names are those their certificates carry (the serial number of a boot ROM ends in the PDI), so
 * that a topology cannot be claimed by devices of another chassis.
 *
 * @throws EvidenceError `gpu_platform_*`, `gpu_switch_*`
 */
export function checkGpuPlatform({ devices }: GenuineGpuEvidence): GpuPlatform {
  const gpus = devices.filter(({ kind }) => kind === 'gpu')
  const switches = devices.filter(({ kind }) => kind === 'switch')
  const mode = commonMode(gpus)
  checkSwitchNames(gpus, mode)
  for (const device of switches) checkSwitch(device)
  if (gpus.length > 0 && switches.length > 0) checkTopology(gpus, switches)
  return {
    mode,
    gpus: gpus.length,
    switches: switches.length,
    switchEvidence: switchEvidence(mode, switches.length),
  }
}

function switchEvidence(mode: GpuMode | null, switches: number): SwitchEvidence {
  if (switches > 0) return 'verified'
  return mode === 'ppcie' ? 'absent' : 'not-needed'
}

/** One machine has one driver; a single old one among eight would be the one that an attacker wants. */
function commonMode(gpus: readonly GenuineGpuDevice[]): GpuMode | null {
  const kinds = new Set(gpus.map(({ chip, driver, info }) => [chip, driver, info.mode].join()))
  if (kinds.size > 1) throw new EvidenceError('gpu_platform_mixed')
  return gpus[0]?.info.mode ?? null
}

const nameSet = (names: readonly string[]): string => names.toSorted().join()

/** In protected PCIe mode all GPUs are linked with the same switches, in every other mode with none. */
function checkSwitchNames(gpus: readonly GenuineGpuDevice[], mode: GpuMode | null): void {
  const sets = new Set(gpus.map(({ info }) => nameSet(info.switchPdis)))
  const [named = ''] = sets
  if (sets.size > 1 || (named === '') !== (mode !== 'ppcie')) {
    throw new EvidenceError('gpu_switch_names_differ')
  }
}

/** The PDI at the end of the boot ROM's serial number, hex. */
const certifiedPdi = ({ deviceId }: GenuineGpuDevice): string => deviceId.slice(-16).toLowerCase()

function checkSwitch(device: GenuineGpuDevice): void {
  if (device.info.pdi !== certifiedPdi(device)) throw new EvidenceError('gpu_switch_pdi_mismatch')
  if (device.info.locked !== true) throw new EvidenceError('gpu_switch_unlocked')
}

function checkTopology(
  gpus: readonly GenuineGpuDevice[],
  switches: readonly GenuineGpuDevice[],
): void {
  const switchPdis = nameSet(switches.map(certifiedPdi))
  const gpuPdis = nameSet(gpus.map(certifiedPdi))
  const holds =
    gpus.every(({ info }) => nameSet(info.switchPdis) === switchPdis) &&
    switches.every(({ info }) => nameSet(info.gpuPdis) === gpuPdis)
  if (!holds) throw new EvidenceError('gpu_switch_topology_mismatch')
}
