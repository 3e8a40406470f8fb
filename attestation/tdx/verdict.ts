import { toHex, type Bytes, type UnixSeconds } from '../bytes.ts'
import type { QuoteBody, TeeType } from './quote.ts'
import type { Tcb } from './tcb.ts'
import type { TrustedRoot } from './root.ts'

/** What a quote whose every signature held says. Measurements and ids are lower-case hex. */
export interface QuoteFacts {
  readonly root: TrustedRoot['kind']
  readonly verifiedAt: UnixSeconds
  readonly quoteVersion: 3 | 4 | 5
  /** Zero bytes that followed the quote. */
  readonly padding: number
  readonly body: QuoteBody
  readonly tcb: Tcb
  readonly fmspc: string
  /** Identifies the machine: the handle for allow-lists against extracted attestation keys. */
  readonly ppid: string
  /** The first moment at which a document this verdict rests on is no longer valid. */
  readonly expiresAt: UnixSeconds
}

/**
 * A quote that is genuine: made by a TEE under the trusted root, judged by collateral valid at the time.
 * Made only by `verifyQuote`; the private field makes look-alikes fail the type check and {@link is}.
 */
export class GenuineQuote {
  readonly #facts: QuoteFacts

  constructor(facts: QuoteFacts) {
    this.#facts = Object.freeze(facts)
  }

  get root(): TrustedRoot['kind'] {
    return this.#facts.root
  }

  get verifiedAt(): UnixSeconds {
    return this.#facts.verifiedAt
  }

  get padding(): number {
    return this.#facts.padding
  }

  get quoteVersion(): 3 | 4 | 5 {
    return this.#facts.quoteVersion
  }

  get body(): QuoteBody {
    return this.#facts.body
  }

  get teeType(): TeeType {
    return this.#facts.body.tee
  }

  get tcb(): Tcb {
    return this.#facts.tcb
  }

  get fmspc(): string {
    return this.#facts.fmspc
  }

  get ppid(): string {
    return this.#facts.ppid
  }

  get expiresAt(): UnixSeconds {
    return this.#facts.expiresAt
  }

  get reportData(): Bytes {
    return this.#facts.body.report.reportData
  }

  /** A debug TEE can be read by its host. Bit 0 of TDATTRIBUTES, bit 1 of the SGX flags. */
  get debug(): boolean {
    const { body } = this.#facts
    return body.tee === 'tdx'
      ? ((body.report.tdAttributes[0] ?? 0) & 0x01) !== 0
      : ((body.report.attributes[0] ?? 0) & 0x02) !== 0
  }

  /** `mrtd`, `rtmr0` … for TDX; `mrenclave`, `mrsigner` for SGX. */
  get measurements(): Readonly<Record<string, string>> {
    return measurementsOf(this.#facts.body)
  }

  static is(value: unknown): value is GenuineQuote {
    return typeof value === 'object' && value !== null && #facts in value
  }
}

/** A genuine quote that a policy wants. Made only by `acceptQuote`. */
export class AcceptedQuote extends GenuineQuote {
  readonly #workload: 'pinned' | 'any'

  constructor(quote: GenuineQuote, workload: 'pinned' | 'any') {
    super(quote)
    this.#workload = workload
  }

  /** `any`: the policy expected no measurement, so genuineness was proven and identity was not. */
  get workload(): 'pinned' | 'any' {
    return this.#workload
  }
}

function measurementsOf(body: QuoteBody): Record<string, string> {
  if (body.tee === 'sgx') {
    return {
      mrenclave: toHex(body.report.mrEnclave),
      mrsigner: toHex(body.report.mrSigner),
    }
  }
  const { report } = body
  return {
    mrtd: toHex(report.mrtd),
    rtmr0: toHex(report.rtmr0),
    rtmr1: toHex(report.rtmr1),
    rtmr2: toHex(report.rtmr2),
    rtmr3: toHex(report.rtmr3),
    mrseam: toHex(report.mrSeam),
    mrconfigid: toHex(report.mrConfigId),
    mrowner: toHex(report.mrOwner),
    mrownerconfig: toHex(report.mrOwnerConfig),
  }
}
