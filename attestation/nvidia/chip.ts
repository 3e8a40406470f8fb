import { EvidenceError } from '../errors.ts'
import type { NvidiaCertificate } from './certificate.ts'

export type GpuArch = 'HOPPER' | 'BLACKWELL' | 'LS10'
export type DeviceKind = 'gpu' | 'switch'

/** What the certificates of a device say it is. */
export interface Chip {
  /** `GH100` (H100, H200, GH200), `GB100` (B200), `LS10`: the names reference values use. */
  readonly name: string
  readonly arch: GpuArch
  readonly kind: DeviceKind
}

const NAMES = [
  /^([A-Z0-9_]+) [A-Z][0-9]{2} (?:GSP|FSP) FMC LF$/,
  /^([A-Z0-9_]+) [A-Z][0-9]{2} (?:GSP|FSP) BROM$/,
  /^NVIDIA ([A-Z0-9_]+) Provisioner ICA [0-9]{1,8}$/,
] as const

/**
 * The chip that leaf, boot ROM and provisioning authority of a chain all name. Only the certificates say it: a
 * switch must not pass for a GPU because somebody wrote so beside it.
 *
 * @throws EvidenceError `gpu_chip_unknown`
 */
export function chipOf(certificates: readonly NvidiaCertificate[]): Chip {
  const names = NAMES.map((pattern, at) => pattern.exec(certificates[at]?.commonName ?? '')?.[1])
  const [name] = names
  if (name === undefined || names.some((other) => other !== name)) {
    throw new EvidenceError('gpu_chip_unknown')
  }
  if (name === 'LS_10') return { name: 'LS10', arch: 'LS10', kind: 'switch' }
  if (/^GH1[0-9]{2}$/.test(name)) return { name, arch: 'HOPPER', kind: 'gpu' }
  if (/^GB[12][0-9]{2}$/.test(name)) return { name, arch: 'BLACKWELL', kind: 'gpu' }
  throw new EvidenceError('gpu_chip_unknown')
}
