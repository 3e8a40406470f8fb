import type { UnixSeconds } from '../bytes.ts'
import type { GpuPlatform } from './platform.ts'
import type { GenuineGpuEvidence } from './verdict.ts'

export interface AcceptedGpuFacts {
  readonly evidence: GenuineGpuEvidence
  readonly platform: GpuPlatform
  /** Who compared measurements and asked about certificates: this library, or NVIDIA's service. */
  readonly judge: 'local' | 'nras'
  /** `unchecked`: the policy did not ask whether the firmware is known good. */
  readonly measurements: 'match' | 'unchecked'
  /** `unchecked`: the policy did not ask whether a certificate is revoked. */
  readonly revocation: 'checked' | 'unchecked'
  readonly expiresAt: UnixSeconds
}

/** Genuine GPUs that a policy wants. Made only by `acceptGpuEvidence`. */
export class AcceptedGpuEvidence {
  readonly #facts: AcceptedGpuFacts

  constructor(facts: AcceptedGpuFacts) {
    this.#facts = Object.freeze(facts)
  }

  get evidence(): GenuineGpuEvidence {
    return this.#facts.evidence
  }

  get platform(): GpuPlatform {
    return this.#facts.platform
  }

  get judge(): 'local' | 'nras' {
    return this.#facts.judge
  }

  get measurements(): 'match' | 'unchecked' {
    return this.#facts.measurements
  }

  get revocation(): 'checked' | 'unchecked' {
    return this.#facts.revocation
  }

  /** The first moment at which a certificate or an answer about one no longer holds. */
  get expiresAt(): UnixSeconds {
    return this.#facts.expiresAt
  }

  static is(value: unknown): value is AcceptedGpuEvidence {
    return typeof value === 'object' && value !== null && #facts in value
  }
}
