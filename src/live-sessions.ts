import type { Clock, UnixSeconds } from '@vouchgate/attestation'
import type { AttestedSession, Closable } from './attested-session.ts'
import type { SessionId } from './ids.ts'
import type { Failure } from './upstream/failure.ts'
import type { Nodes } from './upstream/nodes.ts'

/** How long clients that pinned a session can go on using it after a newer one has replaced it. */
const GRACE_SECONDS = 120
/** Nodes that come and go behind a load balancer must not add up. */
const MAX_LIVE = 256

type Session<Channel extends Closable> = AttestedSession<Channel>

export interface LiveSessionsOptions<Channel extends Closable> {
  readonly nodes: Nodes
  readonly clock: Clock
  /** Called once for each session that has left; the reason is null where its time was over. */
  readonly onRetired: (session: Session<Channel>, reason: Failure | null) => void
}

/** The sessions of one provider that can serve now: what is listed is what is accepted. */
export class LiveSessions<Channel extends Closable> {
  readonly #options: LiveSessionsOptions<Channel>
  /** Newest round first. */
  #rounds: (readonly Session<Channel>[])[] = []
  #turn = 0

  constructor(options: LiveSessionsOptions<Channel>) {
    this.#options = options
  }

  /** Newest first. */
  list(): readonly Session<Channel>[] {
    const now = this.#options.clock.now()
    this.retireWhere(({ acceptedUntil }) => acceptedUntil <= now)
    return this.#rounds.flat()
  }

  find(id: SessionId): Session<Channel> | null {
    return this.list().find((session) => session.id === id) ?? null
  }

  isNewest(session: Session<Channel>): boolean {
    return this.#rounds[0]?.includes(session) === true
  }

  /** For a client that pins nothing: those of the newest round in turn. Null where one must be verified first. */
  next(): Session<Channel> | null {
    this.list()
    for (const round of this.#rounds) {
      const current = round.filter(({ superseded }) => !superseded)
      if (current.length > 0) return this.#inTurn(current)
    }
    return null
  }

  /** One of `ids` that can serve, in turn. */
  pinned(ids: ReadonlySet<SessionId>): Session<Channel> | null {
    const accepted = this.list().filter(({ id }) => ids.has(id))
    return accepted.length === 0 ? null : this.#inTurn(accepted)
  }

  /**
   * A round of verification has replaced what was there. Where one origin may be several nodes, what was shown
   * by another node, with another TLS key, still stands. `now` is when the round was made.
   */
  begin(round: readonly Session<Channel>[], now: UnixSeconds): void {
    const { nodes } = this.#options
    const keys = new Set(round.map(({ tlsKey }) => tlsKey))
    for (const older of this.#rounds.flat()) {
      const stands = nodes === 'several' && older.tlsKey !== null && !keys.has(older.tlsKey)
      if (!stands && !round.includes(older)) older.supersede(now + GRACE_SECONDS)
    }
    // Verified to the very same record: it is the same session, and listed once.
    const ids = new Set(round.map(({ id }) => id))
    this.retireWhere((older) => ids.has(older.id) && !round.includes(older))
    const others = this.#rounds.map((old) => old.filter((session) => !round.includes(session)))
    this.#rounds = [round, ...others.filter((old) => old.length > 0)]
    const excess = new Set(this.#rounds.flat().slice(MAX_LIVE))
    this.retireWhere((session) => excess.has(session))
  }

  retireWhere(
    condition: (session: Session<Channel>) => boolean,
    reason: Failure | null = null,
  ): void {
    const retired = this.#rounds.flat().filter(condition)
    if (retired.length === 0) return
    const gone = new Set(retired)
    this.#rounds = this.#rounds
      .map((round) => round.filter((session) => !gone.has(session)))
      .filter((round) => round.length > 0)
    for (const session of retired) {
      session.retire()
      this.#options.onRetired(session, reason)
    }
  }

  #inTurn(sessions: readonly Session<Channel>[]): Session<Channel> | null {
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER
    return sessions[this.#turn % sessions.length] ?? null
  }
}
