import {
  buildSession,
  type Clock,
  type SessionDocument,
  type UnixSeconds,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { AttestedSession, type Closable } from './attested-session.ts'
import type { AttestedProvider } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { Identities } from './identities.ts'
import { isSessionId, type SessionId } from './ids.ts'
import { LiveSessions } from './live-sessions.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { SessionStore } from './session-store.ts'
import { Breaker, type BreakerState } from './upstream/breaker.ts'
import { failureOf, isRefusal, VerificationRefused, type Failure } from './upstream/failure.ts'
import type { Nodes } from './upstream/nodes.ts'

/** What one round of verification has proven, and the exact bytes it was made from. */
export interface Verified {
  /** One per channel. */
  readonly endpoints: readonly [VerifiedEndpoint, ...VerifiedEndpoint[]]
  readonly evidence: Uint8Array
  /** When the sessions of this round begin; left out, when it is taken. Processes that take the same round name the same. */
  readonly at?: UnixSeconds
}

export interface SessionOptions<Channel extends Closable> {
  readonly verify: (provider: AttestedProvider) => Promise<Verified>
  readonly openChannel: (endpoint: VerifiedEndpoint) => Channel
  readonly nodes: (provider: AttestedProvider) => Nodes
  readonly clock: Clock
  /** Uniform in [0, 1): spreads refreshes, so that replicas do not all ask at once. */
  readonly jitter: () => number
  readonly store: SessionStore
  readonly identities: Identities
  readonly log: Logger
  readonly metrics: Metrics
}

export interface ProviderState {
  readonly state: 'verifying' | 'verified' | 'refused'
  /** While `verified`: until when, if no further verification succeeds. */
  readonly verifiedUntil: UnixSeconds | null
  /** Why the last verification failed, where it did; a provider may be `verified` still. */
  readonly reason: Failure | null
  /** When the next verification is tried after one that failed. */
  readonly retryAt: UnixSeconds | null
  /** Of the verification. */
  readonly breaker: BreakerState
}

interface Built {
  readonly id: SessionId
  readonly document: SessionDocument
  readonly endpoint: VerifiedEndpoint
  readonly expiresAt: UnixSeconds
}

/** The sessions of one provider. At most one verification runs at a time. */
export class SessionSlot<Channel extends Closable> {
  readonly #provider: AttestedProvider
  readonly #options: SessionOptions<Channel>
  readonly #live: LiveSessions<Channel>
  readonly #breaker: Breaker
  #verifying: Promise<void> | null = null
  #reason: Failure | null = null
  #refreshAt: UnixSeconds = 0
  /** The newest key is not there any more: whoever comes next has to wait for a verification. */
  #lost = false
  #announced: ProviderState['state'] = 'verifying'

  constructor(provider: AttestedProvider, options: SessionOptions<Channel>) {
    this.#provider = provider
    this.#options = options
    const { clock } = options
    this.#breaker = new Breaker({ clock, unpunished: 0 })
    this.#live = new LiveSessions({
      nodes: options.nodes(provider),
      clock,
      onRetired: ({ id }, reason) => this.#retired(id, reason),
    })
  }

  get provider(): AttestedProvider {
    return this.#provider
  }

  get state(): ProviderState {
    const reason = this.#reason
    const current = this.#live.list().filter(({ superseded }) => !superseded)
    const { retryAt, state: breaker } = this.#breaker
    const rest = { reason, retryAt, breaker }
    if (current.length === 0) {
      return { state: reason === null ? 'verifying' : 'refused', verifiedUntil: null, ...rest }
    }
    const verifiedUntil = Math.max(...current.map(({ acceptedUntil }) => acceptedUntil))
    return { state: 'verified', verifiedUntil, ...rest }
  }

  /** The sessions that can serve now, newest first. */
  sessions(): readonly AttestedSession<Channel>[] {
    return this.#live.list()
  }

  /** Throws `upstream_verification_failed`, or `session_not_accepted` where none of `pinned` can serve. */
  async acquire(pinned: ReadonlySet<SessionId> | null): Promise<AttestedSession<Channel>> {
    return pinned === null ? this.#acquireAny() : this.#acquirePinned(pinned)
  }

  async #acquireAny(): Promise<AttestedSession<Channel>> {
    const ready = this.#lost ? null : this.#live.next()
    if (ready !== null) return ready
    await this.#verifyForRequest()
    const session = this.#live.next()
    if (session !== null) return session
    throw new VerificationRefused(this.#reason ?? 'internal', this.#breaker.waitSeconds)
  }

  async #acquirePinned(pinned: ReadonlySet<SessionId>): Promise<AttestedSession<Channel>> {
    if (this.#live.list().length === 0) await this.#verifyForRequest()
    const session = this.#live.pinned(pinned)
    if (session === null) throw new GatewayError('session_not_accepted')
    return session
  }

  /** Drops what has expired. */
  sweep(): void {
    this.#live.list()
    this.#announce()
  }

  /** A round now, or the one that is under way. Never rejects; a failure shows in `state`. */
  verify(): Promise<void> {
    return this.#verify()
  }

  /** Drops what has expired and verifies again if it is time to. Never rejects; a failure shows in `state`. */
  async refreshDue(): Promise<void> {
    this.sweep()
    if (this.#options.clock.now() < this.#refreshAt) return
    await this.#verify()
  }

  /**
   * Takes a session out at once; the next request verifies again. Where its TLS key was not found, every session
   * with that key goes: their clients would not find it either. A key that other connections end in is there, and
   * a balancer led elsewhere: its session stays for who pinned it, and everybody else gets a newer one.
   */
  evict(id: SessionId, reason: Failure): void {
    const session = this.#live.find(id)
    if (session === null) return
    const { tlsKey, channel } = session
    const notFound = reason === 'channel_key_mismatch' && tlsKey !== null
    const stays = notFound && channel.connected
    if (stays && !this.#live.isNewest(session)) return
    if (!stays) {
      this.#live.retireWhere(
        (each) => each.id === id || (notFound && each.tlsKey === tlsKey),
        reason,
      )
    }
    this.#lost = true
    this.#refreshAt = 0
    this.#announce()
  }

  retireAll(): void {
    this.#live.retireWhere(() => true)
  }

  async #verifyForRequest(): Promise<void> {
    const wait = this.#breaker.waitSeconds
    // The provider was refused a moment ago: asking again for every prompt would hammer it.
    if (wait !== null && this.#reason !== null) {
      if (this.#live.next() !== null) return
      throw new VerificationRefused(this.#reason, wait)
    }
    await this.#verify()
  }

  #verify(): Promise<void> {
    this.#verifying ??= this.#establish().finally(() => {
      this.#verifying = null
    })
    return this.#verifying
  }

  async #establish(): Promise<void> {
    const { log, metrics } = this.#options
    const { id: provider } = this.#provider
    try {
      const round = await this.#newRound()
      metrics.add('vouchgate_verifications_total', { provider, result: 'verified' })
      for (const { id, acceptedUntil: expiresAt } of round) {
        log({ event: 'session_established', provider, session: id, expiresAt })
      }
    } catch (error) {
      this.#fail(error)
      metrics.add('vouchgate_verifications_total', { provider, result: 'refused' })
      const reason = this.#reason ?? 'internal'
      log({ event: 'session_refused', provider, reason, retryAt: this.#breaker.retryAt ?? 0 })
    }
    this.#lost = false
    this.#announce()
  }

  async #newRound(): Promise<readonly AttestedSession<Channel>[]> {
    const { verify, clock, identities, jitter } = this.#options
    const { endpoints, evidence, at } = await verify(this.#provider)
    const now = at ?? clock.now()
    const standing = endpoints.filter(({ expiresAt }) => expiresAt > now)
    if (standing.length === 0) throw new VerificationRefused('evidence_expired', null)
    const built = await Promise.all(standing.map((each) => this.#build(each, evidence, now)))
    const round = this.#open(built)
    this.#live.begin(round, now)
    for (const endpoint of standing) identities.seen(this.#provider.id, endpoint)
    this.#reason = null
    this.#breaker.succeeded()
    const firstEnd = Math.min(...round.map(({ acceptedUntil }) => acceptedUntil))
    // Between 70 and 90 % of its life, so that a slow provider does not leave a gap.
    this.#refreshAt = now + Math.floor((firstEnd - now) * (0.7 + 0.2 * jitter()))
    return round
  }

  /** A record for each endpoint, its id not yet known to anyone. */
  async #build(endpoint: VerifiedEndpoint, evidence: Uint8Array, now: UnixSeconds): Promise<Built> {
    const expiresAt = Math.min(now + this.#provider.refreshSeconds, endpoint.expiresAt)
    const { id, document } = await buildSession({
      endpoint,
      upstreamName: this.#provider.id,
      evidence,
      establishedAt: now,
      expiresAt,
    })
    if (!isSessionId(id)) throw new TypeError('expected a session id')
    return { id, document, endpoint, expiresAt }
  }

  /** What is open already under the same id is the same session. */
  #open(built: readonly Built[]): AttestedSession<Channel>[] {
    const { openChannel, store } = this.#options
    const distinct = [...new Map(built.map((each) => [each.id, each])).values()]
    const opened = distinct.map((each) => {
      const live = this.#live.find(each.id)
      return live === null || live.superseded
        ? { ...each, channel: openChannel(each.endpoint) }
        : live
    })
    return opened.map((each) => {
      if (each instanceof AttestedSession) return each
      store.add(each.id, each.document)
      return new AttestedSession(each, store)
    })
  }

  /**
   * Evidence that was read and refused ends the provider's sessions at once. A provider that cannot be asked
   * keeps what it proved until that expires, and not a second longer.
   */
  #fail(error: unknown): void {
    const reason = error instanceof VerificationRefused ? error.reason : failureOf(error)
    this.#reason = reason
    this.#breaker.failed()
    this.#refreshAt = this.#breaker.retryAt ?? 0
    if (!isRefusal(error)) return
    for (const session of this.#live.list()) session.revoke()
    this.#live.retireWhere(() => true, reason)
  }

  #retired(session: SessionId, reason: Failure | null): void {
    const { id: provider } = this.#provider
    if (reason !== null) this.#options.log({ event: 'session_evicted', provider, session, reason })
  }

  #announce(): void {
    const { state, reason, verifiedUntil } = this.state
    if (state === this.#announced) return
    const from = this.#announced
    this.#announced = state
    const { id: provider } = this.#provider
    this.#options.log({
      event: 'provider_state_changed',
      provider,
      from,
      to: state,
      reason,
      verifiedUntil,
    })
  }
}
