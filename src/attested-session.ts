import type { UnixSeconds, VerifiedEndpoint } from '@vouchgate/attestation'
import type { SessionId } from './ids.ts'
import type { SessionStore } from './session-store.ts'

/** What a session sends through; the gateway's is a `VerifiedChannel`. */
export interface Closable {
  close(): Promise<void>
}

export interface SessionFields<Channel extends Closable> {
  readonly id: SessionId
  readonly endpoint: VerifiedEndpoint
  readonly channel: Channel
  readonly expiresAt: UnixSeconds
}

/** One verification and the channel to what it verified. Closes when retired and no longer leased. */
export class AttestedSession<Channel extends Closable> {
  readonly id: SessionId
  readonly endpoint: VerifiedEndpoint
  readonly channel: Channel
  readonly #store: SessionStore
  #acceptedUntil: UnixSeconds
  #leases = 1

  /** The caller has added the document to `store`; the session holds that reference. */
  constructor(fields: SessionFields<Channel>, store: SessionStore) {
    this.id = fields.id
    this.endpoint = fields.endpoint
    this.channel = fields.channel
    this.#store = store
    this.#acceptedUntil = fields.expiresAt
  }

  /** Until when it may serve: its expiry, or the end of its grace once a newer one has replaced it. */
  get acceptedUntil(): UnixSeconds {
    return this.#acceptedUntil
  }

  supersede(graceEnds: UnixSeconds): void {
    this.#acceptedUntil = Math.min(this.#acceptedUntil, graceEnds)
  }

  /** Keeps channel and document until the returned function is called. */
  lease(): () => void {
    this.#leases++
    this.#store.retain(this.id)
    return () => {
      this.#store.release(this.id)
      this.#drop()
    }
  }

  /** Ends its life; requests that run on it may finish. Call once. */
  retire(): void {
    this.#store.release(this.id)
    this.#drop()
  }

  #drop(): void {
    this.#leases--
    // A channel that fails to close has lost its sockets already.
    if (this.#leases === 0) void this.channel.close().catch(() => undefined)
  }
}
