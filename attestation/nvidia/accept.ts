import type { UnixSeconds } from '../bytes.ts'
import { PolicyError, type PolicyErrorCode } from '../errors.ts'
import { AcceptedGpuEvidence, type AcceptedGpuFacts } from './accepted.ts'
import type { NvidiaChain } from './chain.ts'
import { measureGpu, type GpuMeasurements } from './measure.ts'
import { checkRevocation, type RevocationResult } from './ocsp/revocation.ts'
import { GenuineNrasVerdict } from './nras/verdict.ts'
import { checkGpuPlatform, type GpuPlatform } from './platform.ts'
import type { GpuPolicy } from './policy.ts'
import type { GenuineRim } from './rim/verdict.ts'
import { GenuineGpuEvidence, type GenuineGpuDevice } from './verdict.ts'

export interface GpuAcceptance {
  readonly evidence: GenuineGpuEvidence
  /** Of any chips and versions. */
  readonly rims: readonly GenuineRim[]
  /** OCSP responses in DER, for device chains and for the signers of reference values, in any order. */
  readonly ocsp: readonly Uint8Array[]
  /** What NRAS says of these very devices; looked at where the policy takes its word. */
  readonly nras: readonly GenuineNrasVerdict[]
  readonly now: UnixSeconds
  readonly policy: GpuPolicy
}

/**
 * Decides whether genuine GPUs are wanted ones: one machine, versions, known firmware, nothing revoked.
 *
 * @throws PolicyError naming the rule, what was seen and what would have passed; EvidenceError where devices
 * contradict each other (`gpu_platform`), reference values do not fit (`rim`) or a certificate is not vouched for
 * (`gpu_revocation`).
 */
export async function acceptGpuEvidence(input: GpuAcceptance): Promise<AcceptedGpuEvidence> {
  const { evidence, policy } = input
  if (!GenuineGpuEvidence.is(evidence)) throw new TypeError('not a GenuineGpuEvidence')
  // 1. The devices are one machine.
  const platform = checkGpuPlatform(evidence)
  // 2. It is the machine that is wanted.
  checkCount(platform, policy)
  for (const device of evidence.devices) checkDevice(device, policy)
  // 3. What runs on each device is what NVIDIA published for it, and no certificate this rests on is revoked.
  const judged = policy.judge === 'nras' ? judgedByNras(input) : await judgedHere(input)
  return new AcceptedGpuEvidence({ evidence, platform, judge: policy.judge, ...judged })
}

type Judged = Pick<AcceptedGpuFacts, 'measurements' | 'revocation' | 'expiresAt'>

async function judgedHere(input: GpuAcceptance): Promise<Judged> {
  const { evidence, policy } = input
  const measured = evidence.devices.map((device) => checkMeasurements(device, input))
  const rims = measured.flatMap((one) => (one.status === 'unavailable' ? [] : one.rims))
  const revocation = await checkCertificates(evidence.devices, rims, input)
  // Who signed reference values may still do so, or the policy lets it pass.
  for (const rim of rims) checkSigner(rim, revocation, policy)
  return {
    measurements: policy.measurements === 'require' ? 'match' : 'unchecked',
    revocation: revocation === null ? 'unchecked' : 'checked',
    expiresAt: expiry(evidence.devices, rims, revocation),
  }
}

/** NRAS compares measurements and asks about certificates itself; its word must be about these very devices. */
function judgedByNras({ evidence, nras, now }: GpuAcceptance): Judged {
  const verdicts = nras.filter((verdict) => {
    if (!GenuineNrasVerdict.is(verdict)) throw new TypeError('not a GenuineNrasVerdict')
    return verdict.environment === 'production' && now < verdict.expiresAt
  })
  const covered = evidence.devices.filter((device) =>
    verdicts.some((verdict) => verdict.covers(device)),
  )
  const [seen, wanted] = [covered.length, evidence.devices.length]
  rule(seen === wanted, 'gpu_nras_verdict_missing', `${seen} devices`, `${wanted} devices`)
  const expiresAt = Math.min(
    expiry(evidence.devices, [], null),
    ...verdicts.map((verdict) => verdict.expiresAt),
  )
  return { measurements: 'match', revocation: 'checked', expiresAt }
}

function rule(passes: boolean, code: PolicyErrorCode, seen: string, wanted: string): void {
  if (!passes) throw new PolicyError(code, seen, wanted)
}

function checkCount(platform: GpuPlatform, policy: GpuPolicy): void {
  const { gpu_count: count, switch_evidence: switches } = policy
  const enough = count === 'any' ? platform.gpus > 0 : platform.gpus === count
  rule(
    enough,
    'gpu_count_not_expected',
    `${platform.gpus}`,
    count === 'any' ? '1 or more' : `${count}`,
  )
  rule(
    switches === 'optional' || platform.switchEvidence !== 'absent',
    'gpu_switch_evidence_absent',
    platform.switchEvidence,
    'verified',
  )
}

/** What a device runs; nothing of it is a secret, and all of it was signed by the device. */
function checkDevice(device: GenuineGpuDevice, policy: GpuPolicy): void {
  const { arch, driver, vbios, firmware } = device
  const { architectures, min_driver: drivers, min_vbios: firmwares } = policy
  rule(
    arch === 'LS10' || architectures === 'any' || architectures.includes(arch),
    'gpu_arch_not_accepted',
    arch,
    architectures === 'any' ? 'any' : architectures.join(', '),
  )
  const minDriver = arch === 'LS10' ? 'any' : drivers[arch]
  rule(
    minDriver === 'any' || isAtLeast(driver ?? '', minDriver, 10),
    'gpu_driver_too_old',
    driver ?? 'none',
    `at least ${minDriver}`,
  )
  const minVbios = firmwares[arch]
  rule(
    minVbios === 'any' || isAtLeast(vbios, minVbios, 16),
    'gpu_vbios_too_old',
    vbios,
    `at least ${minVbios}`,
  )
  rule(
    policy.firmware_id === 'if-reported' || firmware !== 'not-reported',
    'gpu_firmware_id_not_reported',
    firmware,
    'matched',
  )
}

/** Numbers between dots, from the left; a version that ends earlier counts as older. */
function isAtLeast(version: string, minimum: string, radix: 10 | 16): boolean {
  const numbers = (text: string): number[] =>
    text.split('.').map((part) => Number.parseInt(part, radix))
  const [seen, wanted] = [numbers(version), numbers(minimum)]
  const at = wanted.findIndex((number, index) => seen[index] !== number)
  return at < 0 || (seen[at] ?? -1) > (wanted[at] ?? 0)
}

function checkMeasurements(
  device: GenuineGpuDevice,
  { rims, policy }: GpuAcceptance,
): GpuMeasurements {
  if (policy.measurements === 'unchecked') return { status: 'unavailable' }
  const measured = measureGpu(device, rims)
  const { driver, vbios } = device
  if (measured.status === 'unavailable') {
    const firmware = driver === null ? vbios : `${driver} / ${vbios}`
    throw new PolicyError('gpu_rim_unavailable', firmware, 'reference values for it')
  }
  const { mismatches, checked } = measured.comparison
  rule(
    measured.status === 'match',
    'gpu_measurement_mismatch',
    `indexes ${mismatches.map(({ index }) => index).join(', ')}`,
    `${checked} reference values`,
  )
  return measured
}

/** By the certificate's SHA-256, so that a chain which several devices or documents share is judged once. */
type Revocation = ReadonlyMap<string, RevocationResult>

async function checkCertificates(
  devices: readonly GenuineGpuDevice[],
  rims: readonly GenuineRim[],
  { ocsp: responses, now, policy }: GpuAcceptance,
): Promise<Revocation | null> {
  if (policy.revocation === 'unchecked') return null
  const check = async (chain: NvidiaChain, kind: 'device' | 'rim') =>
    [chain.leaf.sha256, await checkRevocation({ chain, kind, responses, now })] as const
  const results: (readonly [string, RevocationResult])[] = []
  // One after the other: the first chain that is not vouched for is the one that is told.
  for (const { chain } of devices) results.push(await check(chain, 'device'))
  for (const { chain } of new Set(rims)) results.push(await check(chain, 'rim'))
  return new Map(results)
}

function checkSigner(rim: GenuineRim, revocation: Revocation | null, policy: GpuPolicy): void {
  const { rim_signer_expiry: expired, rim_signer_hold: hold } = policy
  const result = revocation?.get(rim.chain.leaf.sha256)
  const onHold = result?.certificates.some(({ state }) => state === 'hold') === true
  rule(hold === 'allow' || !onHold, 'gpu_certificate_on_hold', 'hold', 'good')
  const excused =
    expired === 'allow' || (expired === 'allow-if-ocsp-good' && result !== undefined && !onHold)
  rule(rim.validity === 'valid' || excused, 'gpu_rim_signer_expired', rim.version, 'a valid signer')
}

/** An expired signer that the policy let pass ends nothing any more. */
function expiry(
  devices: readonly GenuineGpuDevice[],
  rims: readonly GenuineRim[],
  revocation: Revocation | null,
): UnixSeconds {
  return Math.min(
    ...devices.flatMap(({ chain }) => chain.certificates.map(({ notAfter }) => notAfter)),
    ...rims.filter(({ validity }) => validity === 'valid').map(({ expiresAt }) => expiresAt),
    ...[...(revocation?.values() ?? [])].map(({ nextUpdate }) => nextUpdate),
  )
}
