import type { PlaintextConsent } from '../consent.ts'
import type { SessionId } from '../ids.ts'
import type { Failure } from './failure.ts'
import type { Message, ResponseSink } from './send.ts'

/** The proof or the permission under which a prompt may leave. */
export type Access =
  | {
      readonly confidentiality: 'attested'
      /** The sessions that the client accepts, or null for any. */
      readonly sessions: ReadonlySet<SessionId> | null
    }
  | { readonly confidentiality: 'plain'; readonly consent: PlaintextConsent }

/** A channel that one request may use. `release` must be called once, whatever happened. */
export interface Connection {
  /** The attested session behind it, or null for a plain provider. */
  readonly session: SessionId | null
  /** Throws `SendError`. */
  send(message: Message, sink: ResponseSink): Promise<void>
  /** Gives up what was verified, so that the next connection verifies again. */
  evict(reason: Failure): void
  release(): void
}

/** A configured provider. */
export interface Upstream {
  /** Throws `upstream_verification_failed` or `session_not_accepted`. */
  connect(access: Access): Promise<Connection>
  close(): Promise<void>
}
