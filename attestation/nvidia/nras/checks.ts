import type { DeviceKind } from '../chip.ts'
import type { NrasClaimsVersion } from './overall.ts'

/** The claims of a device token in which NRAS says that a check held. */
export interface NrasChecks {
  /** Each is there and exactly `true`. */
  readonly flags: readonly string[]
  /** Certificate chains: one of the device, the others of reference values. Claims 2.0 have flags for them. */
  readonly deviceChains: readonly string[]
  readonly rimChains: readonly string[]
}

const REPORT_FLAGS = [
  'attestation-report-parsed',
  'attestation-report-nonce-match',
  'attestation-report-signature-verified',
  'arch-check',
]
const RIM_FLAGS = ['fetched', 'schema-validated', 'signature-verified', 'measurements-available']
const REPORT_CHAIN = 'attestation-report-cert-chain'
const VERSIONED = {
  '2.0': { report: `${REPORT_CHAIN}-validated`, rim: 'cert-validated' },
  '3.0': { report: `${REPORT_CHAIN}-fwid-match`, rim: 'version-match' },
} as const
const DEVICES = {
  gpu: {
    prefix: 'x-nvidia-gpu',
    rims: ['driver-rim', 'vbios-rim'],
    own: ['vbios-index-no-conflict'],
  },
  switch: { prefix: 'x-nvidia-switch', rims: ['bios-rim'], own: [] },
} as const

function checksOf(version: NrasClaimsVersion, kind: DeviceKind): NrasChecks {
  const { prefix, rims, own } = DEVICES[kind]
  const { report, rim } = VERSIONED[version]
  const chains = version === '3.0'
  return {
    flags: [
      ...[...REPORT_FLAGS, report, ...own].map((name) => `${prefix}-${name}`),
      ...rims.flatMap((values) => [...RIM_FLAGS, rim].map((name) => `${prefix}-${values}-${name}`)),
    ],
    deviceChains: chains ? [`${prefix}-${REPORT_CHAIN}`] : [],
    rimChains: chains ? rims.map((values) => `${prefix}-${values}-cert-chain`) : [],
  }
}

/** Every claim that must be there, by version of the claims and kind of device. */
export const NRAS_CHECKS: Readonly<
  Record<NrasClaimsVersion, Readonly<Record<DeviceKind, NrasChecks>>>
> = {
  '2.0': { gpu: checksOf('2.0', 'gpu'), switch: checksOf('2.0', 'switch') },
  '3.0': { gpu: checksOf('3.0', 'gpu'), switch: checksOf('3.0', 'switch') },
}
