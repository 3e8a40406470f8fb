import type { AttestedSession, Closable } from './attested-session.ts'
import type { AttestedProvider } from './config/index.ts'
import type { ProviderId, SessionId } from './ids.ts'
import { SessionSlot, type ProviderState, type SessionOptions } from './session-slot.ts'
import type { Failure } from './upstream/failure.ts'

export interface ProviderView {
  readonly provider: AttestedProvider
  readonly state: ProviderState
  /** The sessions that can serve now, newest first. */
  readonly current: readonly SessionId[]
}

/**
 * The verified state of every attested provider: verify once, share, expire, refresh before expiry, evict on
 * failure. The caller owns the timer and calls `refreshDue` from it.
 */
export class AttestedSessions<Channel extends Closable> {
  readonly #slots: ReadonlyMap<ProviderId, SessionSlot<Channel>>

  constructor(providers: readonly AttestedProvider[], options: SessionOptions<Channel>) {
    this.#slots = new Map(
      providers.map((provider) => [provider.id, new SessionSlot(provider, options)]),
    )
  }

  /**
   * A session that can serve now; requests that arrive while one verification runs share its result.
   * `pinned` are the sessions the client accepts, or null for any.
   * Throws `upstream_verification_failed` or `session_not_accepted`.
   */
  acquire(
    provider: ProviderId,
    pinned: ReadonlySet<SessionId> | null,
  ): Promise<AttestedSession<Channel>> {
    return this.#slot(provider).acquire(pinned)
  }

  /** Verifies whatever is due, the first time everything. Never rejects. */
  async refreshDue(): Promise<void> {
    await Promise.all([...this.#slots.values()].map((slot) => slot.refreshDue()))
  }

  /** Drops what has expired, where another process says when to verify. */
  sweep(): void {
    for (const slot of this.#slots.values()) slot.sweep()
  }

  /** A round of this provider now, or the one that is under way. Never rejects. */
  verify(provider: ProviderId): Promise<void> {
    return this.#slot(provider).verify()
  }

  evict(provider: ProviderId, id: SessionId, reason: Failure): void {
    this.#slot(provider).evict(id, reason)
  }

  /** The sessions of a provider that can serve now, newest first. */
  current(provider: ProviderId): readonly SessionId[] {
    return (
      this.#slots
        .get(provider)
        ?.sessions()
        .map(({ id }) => id) ?? []
    )
  }

  /** Throws `TypeError` for what is no attested provider. */
  state(provider: ProviderId): ProviderState {
    return this.#slot(provider).state
  }

  /** Every attested provider as it stands now. */
  views(): readonly ProviderView[] {
    return [...this.#slots.values()].map((slot) => ({
      provider: slot.provider,
      state: slot.state,
      current: slot.sessions().map(({ id }) => id),
    }))
  }

  /** Ends every session; requests that run may finish. */
  close(): void {
    for (const slot of this.#slots.values()) slot.retireAll()
  }

  #slot(provider: ProviderId): SessionSlot<Channel> {
    const slot = this.#slots.get(provider)
    if (slot === undefined) throw new TypeError('not an attested provider')
    return slot
  }
}
