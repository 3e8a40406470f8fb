import {
  buildSession,
  type Clock,
  type UnixSeconds,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { AttestedSession, type Closable } from './attested-session.ts'
import type { AttestedProvider } from './config/index.ts'
import { GatewayError } from './errors.ts'
import { isSessionId, type SessionId } from './ids.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { SessionStore } from './session-store.ts'
import { failureOf, isRefusal, VerificationRefused, type Failure } from './upstream/failure.ts'

/** A verification and the exact bytes it was made from. */
export interface Verified {
  readonly endpoint: VerifiedEndpoint
  readonly evidence: Uint8Array
}

export interface SessionOptions<Channel extends Closable> {
  readonly verify: (provider: AttestedProvider) => Promise<Verified>
  readonly openChannel: (endpoint: VerifiedEndpoint) => Channel
  readonly clock: Clock
  /** Uniform in [0, 1): spreads refreshes, so that replicas do not all ask at once. */
  readonly jitter: () => number
  readonly store: SessionStore
  readonly log: Logger
  readonly metrics: Metrics
}

export interface ProviderState {
  readonly state: 'unknown' | 'verifying' | 'verified' | 'refused'
  /** Why the last verification failed, where it did. */
  readonly reason: Failure | null
}

/** How long clients that pinned a session can go on using it after a newer one has replaced it. */
const GRACE_SECONDS = 120
const MAX_BACKOFF_SECONDS = 60

/** The sessions of one provider. At most one verification runs at a time. */
export class SessionSlot<Channel extends Closable> {
  readonly #provider: AttestedProvider
  readonly #options: SessionOptions<Channel>
  /** Newest first; the others are in their grace. */
  #live: AttestedSession<Channel>[] = []
  #verifying: Promise<void> | null = null
  #reason: Failure | null = null
  #failures = 0
  #retryAt: UnixSeconds = 0
  #refreshAt: UnixSeconds = 0

  constructor(provider: AttestedProvider, options: SessionOptions<Channel>) {
    this.#provider = provider
    this.#options = options
  }

  get state(): ProviderState {
    const reason = this.#reason
    if (this.sessions().length > 0) return { state: 'verified', reason }
    if (this.#verifying !== null) return { state: 'verifying', reason }
    return { state: reason === null ? 'unknown' : 'refused', reason }
  }

  /** The sessions that can serve now, newest first. */
  sessions(): readonly AttestedSession<Channel>[] {
    this.#retireExpired()
    return this.#live
  }

  /** Throws `upstream_verification_failed`, or `session_not_accepted` where none of `pinned` can serve. */
  async acquire(pinned: ReadonlySet<SessionId> | null): Promise<AttestedSession<Channel>> {
    if (this.sessions().length === 0) await this.#verifyForRequest()
    const live = this.sessions()
    const session = pinned === null ? live[0] : live.find(({ id }) => pinned.has(id))
    if (session !== undefined) return session
    throw pinned === null
      ? new VerificationRefused(this.#reason ?? 'internal', this.#retryIn())
      : new GatewayError('session_not_accepted')
  }

  /** Drops what has expired and verifies again if it is time to. Never rejects; a failure shows in `state`. */
  async refreshDue(): Promise<void> {
    this.#retireExpired()
    if (this.#options.clock.now() < this.#refreshAt) return
    await this.#verify()
  }

  /** Takes a session out at once; the next request verifies again. */
  evict(id: SessionId, reason: Failure): void {
    this.#retireWhere((session) => session.id === id, reason)
    if (this.#live.length === 0) this.#refreshAt = 0
  }

  retireAll(): void {
    this.#retireWhere(() => true)
  }

  async #verifyForRequest(): Promise<void> {
    const wait = this.#retryIn()
    // The provider was refused a moment ago: asking again for every prompt would hammer it.
    if (wait !== null && this.#reason !== null) throw new VerificationRefused(this.#reason, wait)
    await this.#verify()
  }

  /** Seconds until the next attempt, or null where one may be made now. */
  #retryIn(): number | null {
    const wait = this.#retryAt - this.#options.clock.now()
    return wait > 0 ? wait : null
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
      const session = await this.#newSession()
      metrics.add('vouchgate_verifications_total', { provider, result: 'verified' })
      const { id, acceptedUntil: expiresAt } = session
      log({ event: 'session_established', provider, session: id, expiresAt })
    } catch (error) {
      this.#fail(error)
      metrics.add('vouchgate_verifications_total', { provider, result: 'refused' })
      const reason = this.#reason ?? 'internal'
      log({ event: 'session_refused', provider, reason, retryAt: this.#retryAt })
    }
  }

  async #newSession(): Promise<AttestedSession<Channel>> {
    const { verify, openChannel, clock, store, jitter } = this.#options
    const { endpoint, evidence } = await verify(this.#provider)
    const now = clock.now()
    const expiresAt = Math.min(now + this.#provider.refreshSeconds, endpoint.expiresAt)
    if (expiresAt <= now) throw new VerificationRefused('evidence_expired', null)
    const built = await buildSession({
      endpoint,
      upstreamName: this.#provider.id,
      evidence,
      establishedAt: now,
      expiresAt,
    })
    const { id, document } = built
    if (!isSessionId(id)) throw new TypeError('expected a session id')
    const channel = openChannel(endpoint)
    store.add(id, document)
    const session = new AttestedSession({ id, endpoint, channel, expiresAt }, store)
    for (const older of this.#live) older.supersede(now + GRACE_SECONDS)
    this.#live = [session, ...this.#live]
    this.#reason = null
    this.#failures = 0
    this.#retryAt = 0
    // Between 70 and 90 % of its life, so that a slow provider does not leave a gap.
    this.#refreshAt = now + Math.floor((expiresAt - now) * (0.7 + 0.2 * jitter()))
    return session
  }

  /**
   * Evidence that was read and refused ends the provider's sessions at once. A provider that cannot be asked
   * keeps what it proved until that expires, and not a second longer.
   */
  #fail(error: unknown): void {
    const reason = error instanceof VerificationRefused ? error.reason : failureOf(error)
    const backoff = Math.min(2 ** this.#failures, MAX_BACKOFF_SECONDS)
    this.#reason = reason
    this.#failures = Math.min(this.#failures + 1, 16)
    this.#retryAt = this.#options.clock.now() + backoff
    this.#refreshAt = this.#retryAt
    if (isRefusal(error)) this.#retireWhere(() => true, reason)
  }

  #retireExpired(): void {
    this.#retireWhere((session) => session.acceptedUntil <= this.#options.clock.now())
  }

  #retireWhere(condition: (session: AttestedSession<Channel>) => boolean, reason?: Failure): void {
    if (!this.#live.some(condition)) return
    const retired = this.#live.filter(condition)
    this.#live = this.#live.filter((session) => !retired.includes(session))
    for (const session of retired) {
      session.retire()
      const { id: provider } = this.#provider
      if (reason === undefined) continue
      this.#options.log({ event: 'session_evicted', provider, session: session.id, reason })
    }
  }
}
