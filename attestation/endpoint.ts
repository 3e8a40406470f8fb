import type { BootDocument } from './aci/boot.ts'
import type { Keyset } from './aci/keyset.ts'
import type { Bytes, UnixSeconds } from './bytes.ts'
import type { LaunchClaims } from './eventlog/launch.ts'
import type { VerifiedEventLog } from './eventlog/replay.ts'
import type { AcceptedQuote } from './tdx/verdict.ts'

/** The key an endpoint proved, inside its TEE, that it holds. A channel pins exactly this. */
export interface ChannelBinding {
  readonly kind: 'tls-spki-sha256'
  readonly digest: Bytes
}

/** A published event log that replays to the quote, and what it shows of the launch under the policy. */
export interface EndpointEventLog {
  readonly log: VerifiedEventLog
  readonly claims: LaunchClaims
}

export interface EndpointFacts {
  /** `https://host[:port]` */
  readonly origin: string
  readonly binding: ChannelBinding
  readonly verifiedAt: UnixSeconds
  /** The keyset's or the collateral's end, whichever comes first. */
  readonly expiresAt: UnixSeconds
  readonly keyset: Keyset
  readonly keysetDigest: string
  readonly quote: AcceptedQuote
  /** Null where the service publishes no boot document. */
  readonly boot: BootDocument | null
  /** Null where the service publishes no event log. */
  readonly eventLog: EndpointEventLog | null
}

/**
 * An origin whose evidence satisfied a policy.
 *
 * Possession of one is the permission to send a prompt there. Only `verify.ts` constructs it: the package
 * exports the type, never the class, and the private field makes look-alikes fail both the type check and
 * {@link VerifiedEndpoint.is}.
 */
export class VerifiedEndpoint {
  readonly #facts: EndpointFacts

  constructor(facts: EndpointFacts) {
    this.#facts = Object.freeze(facts)
  }

  get origin(): string {
    return this.#facts.origin
  }

  get binding(): ChannelBinding {
    return this.#facts.binding
  }

  get verifiedAt(): UnixSeconds {
    return this.#facts.verifiedAt
  }

  get expiresAt(): UnixSeconds {
    return this.#facts.expiresAt
  }

  get keyset(): Keyset {
    return this.#facts.keyset
  }

  get keysetDigest(): string {
    return this.#facts.keysetDigest
  }

  get quote(): AcceptedQuote {
    return this.#facts.quote
  }

  get boot(): BootDocument | null {
    return this.#facts.boot
  }

  get eventLog(): EndpointEventLog | null {
    return this.#facts.eventLog
  }

  /** `any`: genuineness was proven, identity was not. */
  get workload(): 'pinned' | 'any' {
    return this.#facts.quote.workload
  }

  static is(value: unknown): value is VerifiedEndpoint {
    return typeof value === 'object' && value !== null && #facts in value
  }
}
