import { toHex, type Bytes } from '../bytes.ts'
import type { NvidiaChain } from './chain.ts'
import type { Chip, DeviceKind, GpuArch } from './chip.ts'
import type { DeviceInfo } from './device-info.ts'
import type { GpuEvidenceItem } from './evidence.ts'
import type { FirmwareIdentity } from './fwid.ts'
import type { NvidiaRoots } from './root.ts'
import { parseSpdmReport, type SpdmReport } from './spdm.ts'

/** What the report of one device says after every signature held. */
export interface DeviceFacts {
  readonly root: NvidiaRoots['kind']
  readonly chip: Chip
  readonly report: SpdmReport
  readonly info: DeviceInfo
  readonly chain: NvidiaChain
  readonly firmware: FirmwareIdentity
}

/**
 * A device that NVIDIA certified and that signed this caller's nonce. Made only by `verifyGpuDevice`; the
 * private field makes look-alikes fail the type check and {@link is}.
 */
export class GenuineGpuDevice {
  readonly #facts: DeviceFacts

  constructor(facts: DeviceFacts) {
    this.#facts = Object.freeze(facts)
  }

  get root(): NvidiaRoots['kind'] {
    return this.#facts.root
  }

  get kind(): DeviceKind {
    return this.#facts.chip.kind
  }

  get arch(): GpuArch {
    return this.#facts.chip.arch
  }

  /** `GH100`, `GB100`, `LS10`: the product that reference values name. */
  get chip(): string {
    return this.#facts.chip.name
  }

  get info(): DeviceInfo {
    return this.#facts.info
  }

  get driver(): string | null {
    return this.#facts.info.driver
  }

  get vbios(): string {
    return this.#facts.info.vbios
  }

  get nvdec0(): number | null {
    return this.#facts.info.nvdec0
  }

  get measurements(): ReadonlyMap<number, Bytes> {
    return this.#facts.report.measurements
  }

  /** Of the report, r ‖ s: tells reports apart, since no two have the same. */
  get signature(): Bytes {
    return this.#facts.report.signature
  }

  get chain(): NvidiaChain {
    return this.#facts.chain
  }

  get firmware(): FirmwareIdentity {
    return this.#facts.firmware
  }

  /** Decimal serial number of the leaf certificate, as NRAS names a device. It changes with the firmware. */
  get ueid(): string {
    return BigInt(`0x${this.#facts.chain.leaf.serial}`).toString()
  }

  /**
   * Serial number of the boot ROM's certificate, upper-case hex: the identity that lasts. One prefix byte, then
   * the device's PDI.
   */
  get deviceId(): string {
    return this.#facts.chain.certificates[1]?.serial.toUpperCase() ?? ''
  }

  static is(value: unknown): value is GenuineGpuDevice {
    return typeof value === 'object' && value !== null && #facts in value
  }
}

export interface GpuEvidenceFacts {
  readonly nonce: Bytes
  readonly devices: readonly GenuineGpuDevice[]
}

/**
 * GPUs and switches that are genuine, distinct, and answered one nonce. Made only by `verifyGpuEvidence`. Whether
 * their firmware is known good, and whether they are the ones of a CPU TEE, is for the steps that follow.
 */
export class GenuineGpuEvidence {
  readonly #facts: GpuEvidenceFacts

  constructor(facts: GpuEvidenceFacts) {
    this.#facts = Object.freeze(facts)
  }

  /** The SPDM requester nonce, 64 hex digits. */
  get nonce(): string {
    return toHex(this.#facts.nonce)
  }

  /** In the order of the evidence. */
  get devices(): readonly GenuineGpuDevice[] {
    return this.#facts.devices
  }

  /** Whether these are the very reports that were verified, device by device. Throws `spdm_*` for what is none. */
  wasReadFrom(items: readonly GpuEvidenceItem[]): boolean {
    const shown = items.map(({ report }) => toHex(parseSpdmReport(report).signature))
    return shown.join() === this.devices.map(({ signature }) => toHex(signature)).join()
  }

  static is(value: unknown): value is GenuineGpuEvidence {
    return typeof value === 'object' && value !== null && #facts in value
  }
}
