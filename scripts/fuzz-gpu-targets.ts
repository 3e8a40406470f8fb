import {
  decodeUtf8,
  equalBytes,
  encodeUtf8,
  parseGpuEvidence,
  parseSpdmReport,
} from '@vouchgate/attestation'
import { deviceInfo } from '../attestation/nvidia/device-info.ts'
import { evidenceList, newChassis, newGpu, newNvidiaVendor } from '../test/support/nvidia-gpu.ts'
import { Disagreement, type Target } from './fuzz-target.ts'

/** What was read as signed is what stands before the signature, and all there is. */
function wholeReport(input: Uint8Array): void {
  const { signedRegion, signature } = parseSpdmReport(input)
  const end = signedRegion.length
  const same =
    equalBytes(signedRegion, input.subarray(0, end)) && equalBytes(signature, input.subarray(end))
  if (!same) throw new Disagreement()
}

/** Device reports, their vendor fields for either kind of device, and the documents that carry them. */
export function gpuTargets(): Target[] {
  const vendor = newNvidiaVendor()
  const nonce = new Uint8Array(32).fill(0xa7)
  const devices = [newGpu(vendor), newGpu(vendor, 'BLACKWELL'), ...newChassis(vendor, 1, 1)]
  const reports = devices.map(({ answer }) => answer(nonce))
  const reportsOf = (isSwitch: boolean) =>
    reports.filter((_, at) => (devices[at]?.arch === 'LS10') === isSwitch)
  const lists = devices.map((device) => encodeUtf8(evidenceList([device], nonce)))
  return [
    { name: 'parseSpdmReport', seeds: reports, run: wholeReport },
    {
      name: 'deviceInfo, GPU',
      seeds: reportsOf(false),
      run: (input) => deviceInfo(parseSpdmReport(input).opaque, 'gpu'),
    },
    {
      name: 'deviceInfo, switch',
      seeds: reportsOf(true),
      run: (input) => deviceInfo(parseSpdmReport(input).opaque, 'switch'),
    },
    { name: 'parseGpuEvidence', seeds: lists, run: (input) => parseGpuEvidence(decodeUtf8(input)) },
  ]
}
