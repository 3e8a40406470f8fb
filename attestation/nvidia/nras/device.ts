import { EvidenceError, type EvidenceErrorCode } from '../../errors.ts'
import type { GenuineGpuDevice } from '../verdict.ts'
import { NRAS_CHECKS, type NrasChecks } from './checks.ts'
import { NrasFailure, type NrasFinding } from './failure.ts'
import { isJsonObject, type JsonObject } from './json.ts'
import type { NrasClaimsVersion } from './overall.ts'
import type { NrasPolicy } from './policy.ts'
import type { NrasToken } from './token.ts'

/** What NRAS says of one device of our evidence. */
export interface NrasDeviceToken {
  /** `GPU-0`, `SWITCH-3`. */
  readonly name: string
  readonly token: NrasToken
  readonly device: GenuineGpuDevice
}

/** Device tokens under the vocabulary that the overall token states. */
export interface NrasContext {
  readonly version: NrasClaimsVersion
  readonly nonce: string
  readonly policy: NrasPolicy
}

export interface NrasDeviceResult {
  readonly rimSigners: 'valid' | 'expired'
  /** Text by NVIDIA, where the policy lets a warning pass. */
  readonly warning: string | null
}

const ERROR_DETAILS = 'x-nvidia-error-details'
/** INVALID_NONCE, INVALID_CERT_CHAIN, NONCE_NOT_MATCHING, and invalid signatures and chains of evidence and RIMs. */
const ERROR_CODES = [4003, 4007, 4010, 4013, 4014, 4015, 5013]
const MAX_WARNING = 1024

/** What a device token says against its device. Empty where it says nothing. */
export function findingOf(
  { name, token: { claims }, device }: NrasDeviceToken,
  version: NrasClaimsVersion,
): NrasFinding {
  const details = claims[ERROR_DETAILS]
  if (details !== undefined) {
    const code = isJsonObject(details) ? details['code'] : undefined
    const known = ERROR_CODES.find((number) => number === code)
    return { device: name, errorCode: known ?? null, checks: [] }
  }
  const { flags } = NRAS_CHECKS[version][device.kind]
  return { device: name, errorCode: null, checks: flags.filter((flag) => claims[flag] !== true) }
}

/**
 * NRAS judged this device of our evidence, and says of every check that it held. The overall result alone is not
 * enough: it is one boolean of one service.
 *
 * @throws NrasFailure `nras_device_failed`, `nras_measurements_failed`, `nras_check_failed`,
 * `nras_certificate_not_good`, `nras_rim_signer_expired`, `nras_debug_enabled`, `nras_warning`; EvidenceError
 * `nras_nonce_mismatch`, `nras_device_mismatch`, `nras_firmware_mismatch`
 */
export function checkNrasDevice(judged: NrasDeviceToken, context: NrasContext): NrasDeviceResult {
  const { name, device } = judged
  const { claims } = judged.token
  const { version, nonce, policy } = context
  const finding = findingOf(judged, version)
  const demand = (
    holds: boolean,
    code: EvidenceErrorCode,
    checks: readonly string[] = [],
  ): void => {
    if (!holds) throw new NrasFailure(code, [{ ...finding, checks, device: name }])
  }
  demand(claims[ERROR_DETAILS] === undefined, 'nras_device_failed')
  if (claims['eat_nonce'] !== nonce) throw new EvidenceError('nras_nonce_mismatch')
  demand(claims['measres'] === 'success', 'nras_measurements_failed', ['measres'])
  demand(finding.checks.length === 0, 'nras_check_failed', finding.checks)
  const checks = NRAS_CHECKS[version][device.kind]
  const rimSigners = checkChains(claims, checks, policy, demand)
  demand(claims['secboot'] === true, 'nras_debug_enabled', ['secboot'])
  demand(claims['dbgstat'] === 'disabled', 'nras_debug_enabled', ['dbgstat'])
  const warning = claims['x-nvidia-attestation-warning'] ?? null
  demand(policy.warnings === 'allow' || warning === null, 'nras_warning')
  checkIdentity(claims, device)
  return { rimSigners, warning: warning === null ? null : textOf(warning) }
}

type Demand = (holds: boolean, code: EvidenceErrorCode, checks: readonly string[]) => void

/** Claims 3.0 say of each chain whether it is valid and what NVIDIA's OCSP responder answered. */
function checkChains(
  claims: JsonObject,
  { deviceChains, rimChains }: NrasChecks,
  { rim_signer_expiry: expiry }: NrasPolicy,
  demand: Demand,
): 'valid' | 'expired' {
  let signers: 'valid' | 'expired' = 'valid'
  for (const name of [...deviceChains, ...rimChains]) {
    const { status, ocsp } = chainStates(claims[name])
    const expired = rimChains.includes(name) && status === 'expired' && ocsp === 'good'
    if (expired) {
      demand(expiry === 'allow-if-ocsp-good', 'nras_rim_signer_expired', [name])
      signers = 'expired'
      continue
    }
    demand(status === 'valid' && ocsp === 'good', 'nras_certificate_not_good', [name])
  }
  return signers
}

function chainStates(chain: unknown): { status: unknown; ocsp: unknown } {
  const states = new Map<string, unknown>(Object.entries(chain ?? {}))
  return {
    status: states.get('x-nvidia-cert-status'),
    ocsp: states.get('x-nvidia-cert-ocsp-status'),
  }
}

/** A verdict on another device, or on other firmware of it, says nothing of the one that we verified. */
function checkIdentity(claims: JsonObject, device: GenuineGpuDevice): void {
  const bootRom = device.chain.certificates[1]?.commonName ?? ''
  // NRAS has written the boot ROM's whole name and, in 2026 under claims 2.0, the chip alone.
  const models = [device.chip, bootRom, bootRom.split(' ')[0]]
  const isModel = models.some((model) => model === claims['hwmodel'])
  if (claims['ueid'] !== device.ueid || !isModel) throw new EvidenceError('nras_device_mismatch')
  const versions =
    device.kind === 'gpu'
      ? { 'x-nvidia-gpu-driver-version': device.driver, 'x-nvidia-gpu-vbios-version': device.vbios }
      : { 'x-nvidia-switch-bios-version': device.vbios }
  const same = Object.entries(versions).every(([name, version]) => claims[name] === version)
  if (!same) throw new EvidenceError('nras_firmware_mismatch')
}

const textOf = (warning: unknown): string =>
  typeof warning === 'string' ? warning.slice(0, MAX_WARNING) : ''
