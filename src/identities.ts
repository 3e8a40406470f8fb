import type { VerifiedEndpoint } from '@vouchgate/attestation'
import type { ProviderId } from './ids.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'

/** Members of `claims.extra` that name a machine, or the family it is of. */
export const IDENTITY_MEMBERS = ['ppid', 'chip_id', 'fmspc'] as const
export type IdentityMember = (typeof IDENTITY_MEMBERS)[number]

export interface Identity {
  readonly provider: ProviderId
  readonly member: IdentityMember
  /** Lower-case hex. */
  readonly value: string
}

export interface IdentitiesOptions {
  readonly log: Logger
  readonly metrics: Metrics
  /** What earlier runs have seen, oldest first. */
  readonly known?: readonly Identity[]
  /** Called for each that is new. */
  readonly remember?: (identity: Identity) => void
}

const MAX_PER_PROVIDER = 1024
const HEX = /^[0-9a-f]{2,128}$/

/**
 * The machines that providers have been seen on. A new one is nothing wrong, but whoever extracted a key from one
 * machine would appear as exactly that.
 */
export class Identities {
  readonly #options: IdentitiesOptions
  readonly #seen = new Map<ProviderId, Set<string>>()

  constructor(options: IdentitiesOptions) {
    this.#options = options
    for (const identity of options.known ?? []) this.#isNew(identity)
  }

  seen(provider: ProviderId, endpoint: VerifiedEndpoint): void {
    const { log, metrics, remember } = this.#options
    for (const member of IDENTITY_MEMBERS) {
      const value = endpoint.claims.extra[member]
      if (typeof value !== 'string' || !HEX.test(value)) continue
      if (!this.#isNew({ provider, member, value })) continue
      remember?.({ provider, member, value })
      metrics.add('vouchgate_identities_first_seen_total', { provider, identity: member })
      log({ event: 'identity_first_seen', provider, identity: member, value })
    }
  }

  /** The one that was seen longest ago makes room. */
  #isNew({ provider, member, value }: Identity): boolean {
    const seen = this.#seen.get(provider) ?? new Set<string>()
    this.#seen.set(provider, seen)
    const key = `${member} ${value}`
    const isNew = !seen.delete(key)
    seen.add(key)
    const [oldest] = seen
    if (seen.size > MAX_PER_PROVIDER && oldest !== undefined) seen.delete(oldest)
    return isNew
  }
}
