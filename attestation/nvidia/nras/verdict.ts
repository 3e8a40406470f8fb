import type { Bytes, UnixSeconds } from '../../bytes.ts'
import type { DeviceKind } from '../chip.ts'
import type { GenuineGpuDevice, GenuineGpuEvidence } from '../verdict.ts'
import type { NrasDeviceResult } from './device.ts'
import type { NrasJwk } from './jwks.ts'
import type { NrasClaimsVersion } from './overall.ts'
import type { NrasPolicy } from './policy.ts'

/** One device that NRAS vouches for. */
export interface NrasDevice extends NrasDeviceResult {
  /** `GPU-0`, `SWITCH-3`: its place among the devices of its kind in the evidence. */
  readonly name: string
  /** Decimal serial number of its leaf certificate. */
  readonly ueid: string
}

/** What must be kept to come to the same verdict again: at `judgedAt`, with `max_token_age_seconds: recorded`. */
export interface NrasArchive {
  /** The response as received. */
  readonly response: Bytes
  /** A JWK set of the keys that verified the tokens, with their certificates. NRAS withdraws keys after two days. */
  readonly jwks: Bytes
  readonly judgedAt: UnixSeconds
}

export interface NrasFacts {
  readonly environment: NrasPolicy['environment']
  readonly kind: DeviceKind
  readonly claimsVersion: NrasClaimsVersion
  readonly pinned: 'pinned' | 'unpinned'
  readonly evidence: GenuineGpuEvidence
  readonly issuedAt: UnixSeconds
  readonly expiresAt: UnixSeconds
  readonly devices: readonly NrasDevice[]
  readonly keys: readonly NrasJwk[]
  readonly archive: NrasArchive
}

/**
 * NVIDIA's service says that the devices of one kind of our own, verified evidence run known firmware. Made only by
 * `verifyNrasResponse`; the private field makes look-alikes fail the type check and {@link is}.
 */
export class GenuineNrasVerdict {
  readonly #facts: NrasFacts

  constructor(facts: NrasFacts) {
    this.#facts = Object.freeze(facts)
  }

  /** `staging` is not a service whose word NVIDIA stands by. */
  get environment(): NrasPolicy['environment'] {
    return this.#facts.environment
  }

  /** GPUs and switches are judged separately, so one verdict is about one kind. */
  get kind(): DeviceKind {
    return this.#facts.kind
  }

  get claimsVersion(): NrasClaimsVersion {
    return this.#facts.claimsVersion
  }

  /**
   * Whether a pinned authority certified every key. `unpinned`: the keys are worth what the connection was on
   * which they came, or the policy did not ask.
   */
  get pinned(): 'pinned' | 'unpinned' {
    return this.#facts.pinned
  }

  /** The very object that was given: a verdict on other evidence, be it of the same devices, is another verdict. */
  get evidence(): GenuineGpuEvidence {
    return this.#facts.evidence
  }

  /** The SPDM requester nonce, 64 hex digits. */
  get nonce(): string {
    return this.#facts.evidence.nonce
  }

  get issuedAt(): UnixSeconds {
    return this.#facts.issuedAt
  }

  /** When the first of the tokens expires. */
  get expiresAt(): UnixSeconds {
    return this.#facts.expiresAt
  }

  /** In the order of the evidence. */
  get devices(): readonly NrasDevice[] {
    return this.#facts.devices
  }

  /** The keys that verified the tokens, each once, with the certificates that came with them. */
  get keys(): readonly NrasJwk[] {
    return this.#facts.keys
  }

  get archive(): NrasArchive {
    return this.#facts.archive
  }

  /** Whether this very device, as it was verified, is one that NRAS vouches for. */
  covers(device: GenuineGpuDevice): boolean {
    const { evidence, kind } = this.#facts
    return device.kind === kind && evidence.devices.includes(device)
  }

  static is(value: unknown): value is GenuineNrasVerdict {
    return typeof value === 'object' && value !== null && #facts in value
  }
}
