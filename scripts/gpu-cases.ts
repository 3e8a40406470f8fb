import { z } from 'zod'
import { TEST_TIME } from '../test/support/clock.ts'
import { evidenceList, newChassis, newGpu, newNvidiaVendor } from '../test/support/nvidia-gpu.ts'
import { ocspResponses } from '../test/support/nvidia-ocsp.ts'
import { newRimVendor, RIMS } from '../test/support/nvidia-rim.ts'
import {
  hasVectors,
  vectorBytes,
  vectorCases,
  vectorJson,
  vectorText,
} from '../test/support/vectors.ts'
import type { Case, Work } from './evidence-cases.ts'

/** GPUs and switches: device reports, and with them reference values and OCSP responses where they are at hand. */

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const NOW = Date.parse('2026-11-20T00:00:00Z') / 1000

type GpuWork = Extract<Work, { kind: 'gpu' }>

const work = (evidence: string, nonce: string, now: number): GpuWork => ({
  kind: 'gpu',
  evidence,
  nonce,
  now,
  rims: [],
  ocsp: [],
  rootPems: null,
})

const HGX = '06-hgx-h200-8gpu-4switch-ppcie-570.124.06'
const NVAT = '08-nvat-serialized-evidence'
const SETS: readonly (readonly [set: string, name: string, want: RegExp])[] = [
  ['05-blackwell-gb100-8gpu-mpt-590.48.01', 'evidence_list.json', /^GENUINE BLACKWELL×8 /],
  [HGX, 'gpu_evidence_list.json', /^GENUINE HOPPER×8 /],
  [HGX, 'switch_evidence_list.json', /^GENUINE LS10×4 /],
  [NVAT, 'multi_gpu_hopper.json', /^GENUINE HOPPER×4 /],
  [NVAT, 'multi_switch_ls10.json', /^REJECT gpu_device_duplicate$/],
]
const stated = z.array(z.object({ nonce: z.string() })).min(1)
const blindCase = z.object({ nonce: z.string(), at: z.string() })

/** Cases from outside of the project; none where they are not there. */
export function vectorGpuWork(): Case[] {
  if (!hasVectors) return []
  const sets = SETS.map(([set, name, want]) => {
    const [first] = stated.parse(vectorJson('nvidia', set, name))
    return { name, want, work: work(vectorText('nvidia', set, name), first?.nonce ?? '', NOW) }
  })
  const blind = vectorCases('blind/nvidia', 'g', ['case.json', 'evidence.json']).map((name) => {
    const { nonce, at } = blindCase.parse(vectorJson('blind', 'nvidia', name, 'case.json'))
    const evidence = vectorText('blind', 'nvidia', name, 'evidence.json')
    const now = Math.floor(Date.parse(at) / 1000)
    return { name: `blind ${name}`, want: /^(?:GENUINE|REJECT) /, work: work(evidence, nonce, now) }
  })
  return [...sets, withRims(), ...blind]
}

/** Set 01 compared with its own reference values. */
function withRims(): Case {
  const set = '01-h100-550.90.07-complete-with-ocsp'
  const report = vectorBytes('nvidia', set, 'report.bin')
  const certificate = base64(vectorBytes('nvidia', set, 'chain.pem'))
  const evidence = JSON.stringify([{ evidence: base64(report), certificate }])
  const nonce = Buffer.from(report.subarray(4, 36)).toString('hex')
  const rims = ['NV_GPU_DRIVER_GH100_550.90.07.xml', 'NV_GPU_VBIOS_1010_0200_882_96009F0001.xml']
  return {
    name: set,
    want: /^GENUINE HOPPER×1 match ocsp_missing$/,
    work: {
      ...work(evidence, nonce, Date.parse('2025-10-24T18:00:00Z') / 1000),
      rims: rims.map((name) => base64(vectorBytes('nvidia', set, name))),
    },
  }
}

/** Cases made here and now, under roots of their own. */
export function generatedGpuWork(): Case[] {
  const vendor = newNvidiaVendor()
  const rimVendor = newRimVendor(vendor.pki)
  const nonce = new Uint8Array(32).fill(7)
  const gpu = newGpu(vendor)
  const chassis = newChassis(vendor, 2, 2)
  const of = (
    name: string,
    devices: readonly ReturnType<typeof newGpu>[],
    want: RegExp,
    now = TEST_TIME,
  ): Case => ({
    name: `generated: ${name}`,
    want,
    work: {
      kind: 'gpu',
      evidence: evidenceList(devices, nonce),
      nonce: Buffer.from(nonce).toString('hex'),
      now,
      rims: Object.values(RIMS).map((fields) => base64(Buffer.from(rimVendor.rim({ fields })))),
      ocsp: [...devices.map(({ chain }) => chain.certificates), rimVendor.chain]
        .flatMap((chain) => ocspResponses(chain, now))
        .map(base64),
      rootPems: [vendor.pki.deviceRoot.pem, vendor.pki.rimRoot.pem],
    },
  })
  return [
    of('a GPU', [gpu], /^GENUINE HOPPER×1 match accepted$/),
    of('a Blackwell GPU', [newGpu(vendor, 'BLACKWELL')], /^GENUINE BLACKWELL×1 match /),
    of('a GPU twice', [gpu, gpu], /^REJECT gpu_device_duplicate$/),
    of('a GPU of a stranger', [newGpu(newNvidiaVendor())], /^REJECT certificate_root_untrusted$/),
    of('GPUs without their switches', chassis.slice(0, 2), / gpu_switch_evidence_absent$/),
  ]
}
