import { equalBytes, toHex, type Bytes, type UnixSeconds } from '../bytes.ts'
import type { SnpProduct, SnpTcb } from './product.ts'
import type { SnpGuestPolicy, SnpReport } from './report.ts'
import type { SnpRoots } from './root.ts'

/** What an SNP report whose every signature held says. */
export interface SnpFacts {
  readonly root: SnpRoots['kind']
  readonly product: SnpProduct
  readonly report: SnpReport
  readonly tcb: SnpTcbs
  /** `unknown` where no CRL was given. */
  readonly revocation: 'checked' | 'unknown'
  /** The first moment at which a certificate or CRL this verdict rests on is no longer valid. */
  readonly expiresAt: UnixSeconds
}

/** `reported` is what the endorsement key is bound to; `launch` is what the guest was started on. */
export interface SnpTcbs {
  readonly reported: SnpTcb
  readonly committed: SnpTcb
  readonly current: SnpTcb
  readonly launch: SnpTcb
}

/**
 * An SNP report that is genuine: signed by a key that AMD endorses for this product, TCB and chip.
 * Made only by `verifySnpReport`; the private field makes look-alikes fail the type check and {@link is}.
 */
export class GenuineSnpReport {
  readonly #facts: SnpFacts

  constructor(facts: SnpFacts) {
    this.#facts = Object.freeze(facts)
  }

  get root(): SnpRoots['kind'] {
    return this.#facts.root
  }

  get product(): SnpProduct {
    return this.#facts.product
  }

  get report(): SnpReport {
    return this.#facts.report
  }

  get tcb(): SnpTcbs {
    return this.#facts.tcb
  }

  get revocation(): 'checked' | 'unknown' {
    return this.#facts.revocation
  }

  get expiresAt(): UnixSeconds {
    return this.#facts.expiresAt
  }

  get guestPolicy(): SnpGuestPolicy {
    return this.#facts.report.policy
  }

  get reportData(): Bytes {
    return this.#facts.report.reportData
  }

  /** A debug guest can be read by its host. */
  get debug(): boolean {
    return this.#facts.report.policy.debug
  }

  /** Firmware that is running but not committed: the host may still go back to an older one. */
  get provisionalFirmware(): boolean {
    const { currentFirmware, committedFirmware, currentTcb, committedTcb } = this.#facts.report
    return !(equalBytes(currentFirmware, committedFirmware) && equalBytes(currentTcb, committedTcb))
  }

  /** Lower-case hex. */
  get measurements(): Readonly<Record<string, string>> {
    const { report } = this.#facts
    return {
      measurement: toHex(report.measurement),
      host_data: toHex(report.hostData),
      id_key_digest: toHex(report.idKeyDigest),
      author_key_digest: toHex(report.authorKeyDigest),
    }
  }

  static is(value: unknown): value is GenuineSnpReport {
    return typeof value === 'object' && value !== null && #facts in value
  }
}

/** A genuine report that a policy wants. Made only by `acceptSnpReport`. */
export class AcceptedSnpReport extends GenuineSnpReport {
  readonly #workload: 'pinned' | 'any'

  constructor(genuine: GenuineSnpReport, workload: 'pinned' | 'any') {
    super(genuine)
    this.#workload = workload
  }

  /** `any`: the policy expected no measurement, so genuineness was proven and identity was not. */
  get workload(): 'pinned' | 'any' {
    return this.#workload
  }
}
