import {
  tlsBindingOf,
  toHex,
  type UnixSeconds,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import type { SessionId } from './ids.ts'
import type { SessionStore } from './session-store.ts'

/** What a session sends through; the gateway's is a `VerifiedChannel`. */
export interface Closable {
  /** Lets running requests end. */
  close(): Promise<void>
  /** Requests that have not been written yet must not be. */
  revoke(): void
  /** Whether a connection to what was verified is open now. */
  readonly connected: boolean
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
  /** Hex of the SHA-256 of the TLS key that the channel ends in; null where TLS is not what is attested. */
  readonly tlsKey: string | null
  readonly #store: SessionStore
  #acceptedUntil: UnixSeconds
  #superseded = false
  #leases = 1

  /** The caller has added the document to `store`; the session holds that reference. */
  constructor(fields: SessionFields<Channel>, store: SessionStore) {
    this.id = fields.id
    this.endpoint = fields.endpoint
    this.channel = fields.channel
    const tls = tlsBindingOf(fields.endpoint.bindings)
    this.tlsKey = tls === null ? null : toHex(tls.digest)
    this.#store = store
    this.#acceptedUntil = fields.expiresAt
  }

  /** Until when it may serve: its expiry, or the end of its grace once a newer one has replaced it. */
  get acceptedUntil(): UnixSeconds {
    return this.#acceptedUntil
  }

  /** A newer one has replaced it: it serves the clients that pinned it, and nobody else. */
  get superseded(): boolean {
    return this.#superseded
  }

  supersede(graceEnds: UnixSeconds): void {
    this.#superseded = true
    this.#acceptedUntil = Math.min(this.#acceptedUntil, graceEnds)
  }

  /** What it was made from has been refused since: it ends what it has begun, and begins nothing. */
  revoke(): void {
    this.channel.revoke()
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
