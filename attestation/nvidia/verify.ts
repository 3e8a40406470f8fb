import { equalBytes, type Bytes, type UnixSeconds } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { Memo } from '../memo.ts'
import { verifyP384 } from '../signature.ts'
import { pemBlocks } from '../x509.ts'
import { parseNvidiaCertificate, type NvidiaCertificate } from './certificate.ts'
import { checkValidNow, verifyNvidiaChain, type NvidiaChain } from './chain.ts'
import { chipOf, type Chip } from './chip.ts'
import { deviceInfo } from './device-info.ts'
import type { GpuEvidence, GpuEvidenceItem } from './evidence.ts'
import { checkFwid } from './fwid.ts'
import type { NvidiaRoots } from './root.ts'
import { parseSpdmReport, type SpdmReport } from './spdm.ts'
import { GenuineGpuDevice, GenuineGpuEvidence } from './verdict.ts'

export interface GpuInput {
  readonly evidence: GpuEvidence
  /** 32 bytes: what every device must have been asked with. */
  readonly nonce: Bytes
  readonly now: UnixSeconds
  readonly roots: NvidiaRoots
}

/** Leaf, boot ROM, provisioning authority, family, root. */
const CHAIN_LENGTH = 5

/**
 * Proves that every device is a genuine NVIDIA GPU or switch that answered this nonce, and that they are
 * distinct. It says nothing about whether their firmware is known good (`acceptGpuEvidence`) or whether they
 * belong to the CPU TEE that presents them (`bindGpuEvidence`).
 *
 * @throws EvidenceError with the code and step of the first thing that does not hold, in the order of the devices.
 */
export async function verifyGpuEvidence(input: GpuInput): Promise<GenuineGpuEvidence> {
  const { evidence, nonce, now, roots } = input
  const judged = await Promise.allSettled(
    evidence.items.map(async (item) => verifyGpuDevice(item, nonce, now, roots)),
  )
  const devices = judged.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
  if (devices.length === 0) throw new EvidenceError('gpu_evidence_count')
  // One GPU shown eight times would pass for eight (the leaf key changes with firmware, the boot ROM's does not).
  if (new Set(devices.map(({ deviceId }) => deviceId)).size !== devices.length) {
    throw new EvidenceError('gpu_device_duplicate')
  }
  return new GenuineGpuEvidence({ nonce, devices })
}

/**
 * Proves one device. The steps need no network and none of them is optional.
 *
 * @throws EvidenceError with the code and step of the first thing that does not hold.
 */
export async function verifyGpuDevice(
  item: GpuEvidenceItem,
  nonce: Bytes,
  now: UnixSeconds,
  roots: NvidiaRoots,
): Promise<GenuineGpuDevice> {
  // 1. The bytes are a device report and nothing else.
  const report = parseSpdmReport(item.report)
  // 2. The device was asked with this caller's nonce, so the report is not a replay.
  if (!equalBytes(report.requestNonce, nonce)) throw new EvidenceError('nonce_mismatch')
  // 3. The device's certificate chains to the pinned root, and is in force.
  const chain = await verifyDeviceChain(item.certificates, now, roots)
  // 4. The chip is the one the certificates name, and the one that was claimed.
  const chip = chipOf(chain.certificates)
  checkStatedArch(item, chip)
  // 5. The device signed the report.
  await verifyReportSignature(report, chain)
  // 6. The fields of the report are those of this kind of device.
  const info = deviceInfo(report.opaque, chip.kind)
  // 7. The boot ROM certified the firmware that runs.
  const [leaf, bootRom = leaf] = [chain.leaf, chain.certificates[1]]
  const firmware = checkFwid(chip, leaf, bootRom, info)
  return new GenuineGpuDevice({ root: roots.kind, chip, report, info, chain, firmware })
}

/** Chains of one machine differ only in their first two certificates, and come again with every round. */
const chains = new Memo<Promise<NvidiaCertificate[]>>(256)

async function verifyDeviceChain(
  pem: string,
  now: UnixSeconds,
  roots: NvidiaRoots,
): Promise<NvidiaChain> {
  const certificates = await chains.get(pem, async () => readChain(pem))
  if (certificates.length !== CHAIN_LENGTH) {
    throw new EvidenceError('certificate_chain_length', 'gpu_chain')
  }
  const chain = await verifyNvidiaChain(certificates, roots.device, 'gpu_chain')
  checkValidNow(certificates, now, 'gpu_chain')
  return chain
}

/** The codes are shared with other chains; the step says which chain it was. */
async function readChain(pem: string): Promise<NvidiaCertificate[]> {
  try {
    return await Promise.all(pemBlocks(pem).map(parseNvidiaCertificate))
  } catch (error) {
    throw error instanceof EvidenceError ? new EvidenceError(error.code, 'gpu_chain') : error
  }
}

function checkStatedArch({ statedArch }: GpuEvidenceItem, { arch }: Chip): void {
  if (statedArch !== null && statedArch !== arch) throw new EvidenceError('gpu_arch_mismatch')
}

/** The step that binds report and chain: evidence of one GPU under the chain of another fails here. */
async function verifyReportSignature(report: SpdmReport, { leaf }: NvidiaChain): Promise<void> {
  const { signature, signedRegion } = report
  const holds = leaf.p384 !== null && (await verifyP384(leaf.p384, signature, signedRegion))
  if (!holds) throw new EvidenceError('gpu_signature_invalid')
}
