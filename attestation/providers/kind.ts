import type { Claims } from '../aci/claims.ts'
import type { ChannelBindings } from '../binding.ts'
import type { UnixSeconds } from '../bytes.ts'
import type { JsonValue } from '../json.ts'
import type { ProviderEvidence } from './evidence.ts'
import type { ProviderPolicy } from './policy.ts'

export interface KindInput {
  readonly evidence: ProviderEvidence
  readonly now: UnixSeconds
  readonly policy: ProviderPolicy
}

/** One channel of a provider that its evidence proves and the policy wants. */
export interface Appraised {
  readonly bindings: ChannelBindings
  readonly expiresAt: UnixSeconds
  readonly identity: Readonly<Record<string, JsonValue>>
  readonly claims: Claims
  /** See `EndpointFacts.logged`. */
  readonly logged: Readonly<Record<string, string | null>>
}

/**
 * The pure half of a kind of provider: evidence in, channels out. Several where one round covers several instances;
 * never none.
 *
 * @throws EvidenceError where something does not hold, PolicyError where it holds and is not wanted.
 */
export type AppraiseKind = (input: KindInput) => Promise<readonly Appraised[]>
