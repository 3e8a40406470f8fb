import { isZero, Reader, toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { DeviceKind } from './chip.ts'

/**
 * How a device shares its host. `spt` and `mpt`: one or several devices passed through; `ppcie`: eight GPUs
 * whose links to the switches are not encrypted, so that the switches are trusted too.
 */
export type GpuMode = 'spt' | 'mpt' | 'ppcie'

/** What a device report says of its device in vendor fields. Versions are in upper case. */
export interface DeviceInfo {
  /** Null for a switch. */
  readonly driver: string | null
  /** `96.00.9F.00.01`: of the VBIOS, or of a switch's BIOS. */
  readonly vbios: string
  /** The names that reference values of a VBIOS are found by; empty for a switch. */
  readonly project: string
  readonly projectSku: string
  readonly chipSku: string
  /** `GB100`; null where the report has none. */
  readonly chipInfo: string | null
  /** 0xAA enabled, 0x55 disabled. */
  readonly nvdec0: number | null
  /** 48 bytes. */
  readonly fwid: Bytes | null
  /** Null for a switch. */
  readonly mode: GpuMode | null
  /** Of the switches a GPU is linked with, hex, each once. */
  readonly switchPdis: readonly string[]
  /** Of a switch itself, hex. */
  readonly pdi: string | null
  /** Of the GPUs a switch is linked with, hex, each once. */
  readonly gpuPdis: readonly string[]
  /** Whether a switch's configuration is locked. Null for a GPU. */
  readonly locked: boolean | null
}

type Fields = ReadonlyMap<number, Bytes>

const FIELD = {
  driverVersion: 3,
  vbiosVersion: 6,
  nvdec0: 11,
  chipSku: 15,
  project: 17,
  projectSku: 18,
  fwid: 20,
  protectedPcie: 21,
  pdi: 22,
  lockStatus: 25,
  gpuPdis: 26,
  chipInfo: 35,
  featureFlag: 36,
} as const

const PDI_LENGTH = 8
const SWITCH_LINKS = 18
const SWITCH_GPUS = 8
const ON = 0xaa
const MODES: readonly GpuMode[] = ['spt', 'mpt', 'ppcie']
const PRINTABLE = /^[!-~]{0,64}$/
const VERSION = /^[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*$/

/**
 * Reads the vendor fields of a device of this kind.
 *
 * @throws EvidenceError `gpu_field_missing`, `gpu_field_malformed`
 */
export function deviceInfo(fields: Fields, kind: DeviceKind): DeviceInfo {
  return kind === 'gpu' ? gpuInfo(fields) : switchInfo(fields)
}

function gpuInfo(fields: Fields): DeviceInfo {
  return {
    driver: version(fields, FIELD.driverVersion),
    vbios: vbiosVersion(exact(fields, FIELD.vbiosVersion, PDI_LENGTH)),
    project: text(fields, FIELD.project).toUpperCase(),
    projectSku: text(fields, FIELD.projectSku).toUpperCase(),
    chipSku: text(fields, FIELD.chipSku).toUpperCase(),
    chipInfo: fields.has(FIELD.chipInfo) ? text(fields, FIELD.chipInfo) : null,
    nvdec0: exact(fields, FIELD.nvdec0, 1)[0] ?? null,
    fwid: fields.has(FIELD.fwid) ? exact(fields, FIELD.fwid, 48) : null,
    mode: gpuMode(fields),
    switchPdis: fields.has(FIELD.pdi)
      ? pdis(exact(fields, FIELD.pdi, SWITCH_LINKS * PDI_LENGTH), SWITCH_LINKS, 'reversed')
      : [],
    pdi: null,
    gpuPdis: [],
    locked: null,
  }
}

function switchInfo(fields: Fields): DeviceInfo {
  const listed = required(fields, FIELD.gpuPdis)
  return {
    driver: null,
    vbios: version(fields, FIELD.vbiosVersion).toUpperCase(),
    project: '',
    projectSku: '',
    chipSku: '',
    chipInfo: null,
    nvdec0: null,
    fwid: null,
    mode: null,
    switchPdis: [],
    pdi: toHex(exact(fields, FIELD.pdi, PDI_LENGTH)),
    gpuPdis: pdis(listed, SWITCH_GPUS, 'as-is'),
    locked: toHex(exact(fields, FIELD.lockStatus, 2)) === '0100',
  }
}

function required(fields: Fields, id: number): Bytes {
  const field = fields.get(id)
  if (field === undefined) throw new EvidenceError('gpu_field_missing')
  return field
}

function exact(fields: Fields, id: number, length: number): Bytes {
  const field = required(fields, id)
  if (field.length !== length) throw new EvidenceError('gpu_field_malformed')
  return field
}

/** Printable ASCII up to the first NUL; what follows it is padding of varying length. */
function text(fields: Fields, id: number): string {
  const field = required(fields, id)
  const end = field.indexOf(0)
  const used = end < 0 ? field : field.subarray(0, end)
  const decoded = String.fromCharCode(...used.subarray(0, 65))
  const padding = end < 0 ? new Uint8Array(0) : field.subarray(end)
  if (!PRINTABLE.test(decoded) || !isZero(padding)) throw new EvidenceError('gpu_field_malformed')
  return decoded
}

function version(fields: Fields, id: number): string {
  const found = text(fields, id)
  if (!VERSION.test(found)) throw new EvidenceError('gpu_field_malformed')
  return found
}

/** Four bytes little-endian, then one: `009f0096 01` is 96.00.9F.00.01. */
function vbiosVersion(field: Bytes): string {
  const order = [3, 2, 1, 0, 4]
  return order
    .map((at) => toHex(field.subarray(at, at + 1)))
    .join('.')
    .toUpperCase()
}

/** The two fields that can say that a GPU is in protected PCIe mode must not contradict each other. */
function gpuMode(fields: Fields): GpuMode {
  const isProtected =
    fields.has(FIELD.protectedPcie) && exact(fields, FIELD.protectedPcie, 1)[0] === ON
  if (!fields.has(FIELD.featureFlag)) return isProtected ? 'ppcie' : 'spt'
  const [low = 0xff, high = 0xff] = exact(fields, FIELD.featureFlag, 2)
  const mode = MODES[low + high * 256]
  if (mode === undefined || isProtected !== (mode === 'ppcie')) {
    throw new EvidenceError('gpu_field_malformed')
  }
  return mode
}

/**
 * Port device identifiers, zero for an unused link, repeated for each link. A GPU reports those of its switches
 * byte-reversed.
 */
function pdis(field: Bytes, count: number, order: 'as-is' | 'reversed'): string[] {
  const reader = new Reader(field, 'gpu_field_malformed')
  const found = new Set<string>()
  for (let at = 0; at < count; at++) {
    const pdi = reader.take(PDI_LENGTH)
    if (!isZero(pdi)) found.add(toHex(order === 'as-is' ? pdi : pdi.toReversed()))
  }
  return [...found]
}
