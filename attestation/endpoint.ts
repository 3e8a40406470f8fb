import type { Claims } from './aci/claims.ts'
import type { ChannelBindings } from './binding.ts'
import type { UnixSeconds } from './bytes.ts'
import type { JsonValue } from './json.ts'
import type { ProviderKind } from './providers/kinds.ts'

export interface EndpointFacts {
  readonly kind: ProviderKind
  /** `https://host[:port]` */
  readonly origin: string
  /** Every key that the evidence ties to the TEE and that a prompt travels to. */
  readonly bindings: ChannelBindings
  readonly verifiedAt: UnixSeconds
  /** The first moment at which something this rests on no longer holds. */
  readonly expiresAt: UnixSeconds
  /** Who this is, beyond its keys: a keyset digest, an app id. */
  readonly identity: Readonly<Record<string, JsonValue>>
  /** What the evidence shows under the policy it was judged by (ACI §8.3). */
  readonly claims: Claims
  /**
   * Members of `claims.extra` that stand only on platforms a policy expects, as the evidence itself has them. A
   * session may leave each one null; it may not state anything else.
   */
  readonly logged: Readonly<Record<string, string | null>>
}

/**
 * An origin whose evidence satisfied a policy.
 *
 * Possession of one is the permission to send a prompt there. Only the verifiers construct it: the package
 * exports the type, never the class, and the private field makes look-alikes fail both the type check and
 * {@link VerifiedEndpoint.is}.
 */
export class VerifiedEndpoint {
  readonly #facts: EndpointFacts

  constructor(facts: EndpointFacts) {
    this.#facts = Object.freeze(facts)
  }

  get kind(): ProviderKind {
    return this.#facts.kind
  }

  get origin(): string {
    return this.#facts.origin
  }

  get bindings(): ChannelBindings {
    return this.#facts.bindings
  }

  get verifiedAt(): UnixSeconds {
    return this.#facts.verifiedAt
  }

  get expiresAt(): UnixSeconds {
    return this.#facts.expiresAt
  }

  get identity(): Readonly<Record<string, JsonValue>> {
    return this.#facts.identity
  }

  get claims(): Claims {
    return this.#facts.claims
  }

  get logged(): Readonly<Record<string, string | null>> {
    return this.#facts.logged
  }

  static is(value: unknown): value is VerifiedEndpoint {
    return typeof value === 'object' && value !== null && #facts in value
  }
}
