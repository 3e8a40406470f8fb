import type { TlsBinding } from '../binding.ts'
import type { UnixSeconds } from '../bytes.ts'
import { VerifiedEndpoint } from '../endpoint.ts'
import type { LaunchClaims } from '../eventlog/launch.ts'
import type { VerifiedEventLog } from '../eventlog/replay.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import type { BootDocument } from './boot.ts'
import { claimsOf, loggedExtras } from './claims.ts'
import type { Keyset } from './keyset.ts'

/** A published event log that replays to the quote, and what it shows of the launch under the policy. */
export interface EndpointEventLog {
  readonly log: VerifiedEventLog
  readonly claims: LaunchClaims
}

export interface AciServiceFacts {
  /** `https://host[:port]` */
  readonly origin: string
  readonly binding: TlsBinding
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

/** A verified ACI/1 service, a gateway among them: an endpoint with a keyset. Only `verify.ts` constructs it. */
export class VerifiedAciService extends VerifiedEndpoint {
  readonly #facts: AciServiceFacts

  constructor(facts: AciServiceFacts) {
    const { origin, binding, verifiedAt, expiresAt, keysetDigest } = facts
    super({
      kind: 'aci',
      origin,
      bindings: [binding],
      verifiedAt,
      expiresAt,
      identity: { workload_keyset_digest: keysetDigest },
      claims: claimsOf(facts),
      logged: loggedExtras(facts.eventLog?.log ?? null),
    })
    this.#facts = Object.freeze(facts)
  }

  get binding(): TlsBinding {
    return this.#facts.binding
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

  static isService(value: unknown): value is VerifiedAciService {
    return typeof value === 'object' && value !== null && #facts in value
  }
}
