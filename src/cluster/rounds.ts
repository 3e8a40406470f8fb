import type { Clock } from '@vouchgate/attestation'
import type { AttestedProvider } from '../config/index.ts'
import type { ProviderId } from '../ids.ts'
import { appraise, type Collected } from '../providers/verify.ts'
import type { Verified } from '../session-slot.ts'
import type { AttestedSessions } from '../sessions.ts'
import type { Closable } from '../attested-session.ts'
import { failureOf, isRefusal, RoundFailed, type RoundFailure } from '../upstream/failure.ts'
import type { Round } from './messages.ts'

/** Rounds of one provider that a new worker is given. Their sessions end by themselves within `refresh_seconds`. */
const MAX_KEPT = 8

export interface LeaderRoundsOptions {
  readonly clock: Clock
  readonly collect: (provider: AttestedProvider) => Promise<Collected>
  /** To every worker. */
  readonly push: (round: Round) => void
}

/**
 * The leader's rounds: evidence is collected once, and each process judges those bytes by that nonce and that time. So every
 * worker's own verifier makes its endpoints, and all of them have the same sessions.
 */
export class LeaderRounds {
  readonly #options: LeaderRoundsOptions
  /** Oldest first. */
  readonly #kept = new Map<ProviderId, readonly Round[]>()
  readonly #refreshSeconds = new Map<ProviderId, number>()

  constructor(options: LeaderRoundsOptions) {
    this.#options = options
  }

  /** What `AttestedSessions` of the leader verifies with. */
  readonly verify = async (provider: AttestedProvider): Promise<Verified> => {
    const collected = await this.#collect(provider)
    return { ...(await appraise(provider, collected)), at: collected.at }
  }

  /** The number of the newest round; 0 where there is none. */
  sequence(provider: ProviderId): number {
    return this.#kept.get(provider)?.at(-1)?.sequence ?? 0
  }

  /** What a worker that starts now must know to stand where the others do, oldest first. */
  replay(): readonly Round[] {
    return [...this.#kept.values()].flat().filter((round) => this.#matters(round))
  }

  async #collect(provider: AttestedProvider): Promise<Collected> {
    try {
      const collected = await this.#options.collect(provider)
      this.#add(provider, collected)
      return collected
    } catch (error) {
      this.#add(provider, { reason: failureOf(error), refusal: isRefusal(error) })
      throw error
    }
  }

  #add({ id, refreshSeconds }: AttestedProvider, outcome: Round['outcome']): void {
    const round = { provider: id, sequence: this.sequence(id) + 1, outcome }
    this.#refreshSeconds.set(id, refreshSeconds)
    const kept = (this.#kept.get(id) ?? []).filter((each) => this.#matters(each))
    // Of failures the last one counts: an outage must not push out what still serves.
    const before = isFailure(outcome) ? kept.filter((each) => !isOutage(each.outcome)) : kept
    this.#kept.set(id, [...before, round].slice(-MAX_KEPT))
    this.#options.push(round)
  }

  #matters({ provider, outcome }: Round): boolean {
    if (isFailure(outcome)) return true
    const seconds = this.#refreshSeconds.get(provider) ?? 0
    return outcome.at + seconds > this.#options.clock.now()
  }
}

const isFailure = (outcome: Round['outcome']): outcome is RoundFailure => 'reason' in outcome
const isOutage = (outcome: Round['outcome']): boolean => isFailure(outcome) && !outcome.refusal

export interface WorkerRoundsOptions {
  /** Asks the leader for a round after this one. Null: one has been sent. Never rejects. */
  readonly ask: (provider: ProviderId, after: number) => Promise<RoundFailure | null>
}

/** A worker's rounds, in the order in which the leader sends them. */
export class WorkerRounds {
  readonly #options: WorkerRoundsOptions
  /** Sent and not yet judged, oldest first. */
  readonly #sent = new Map<ProviderId, Round[]>()
  readonly #seen = new Map<ProviderId, number>()

  constructor(options: WorkerRoundsOptions) {
    this.#options = options
  }

  /** What `AttestedSessions` of the worker verifies with. */
  readonly verify = async (provider: AttestedProvider): Promise<Verified> => {
    const { outcome } = this.#next(provider.id) ?? (await this.#asked(provider.id))
    if (isFailure(outcome)) throw new RoundFailed(outcome)
    return { ...(await appraise(provider, outcome)), at: outcome.at }
  }

  /** Settles once the round has been judged. */
  async take<Channel extends Closable>(
    round: Round,
    sessions: AttestedSessions<Channel>,
  ): Promise<void> {
    const { provider } = round
    const sent = this.#sent.get(provider) ?? []
    this.#sent.set(provider, [...sent, round])
    // A verification that is under way takes one of them, and the next one the next.
    while ((this.#sent.get(provider)?.length ?? 0) > 0) await sessions.verify(provider)
  }

  #next(provider: ProviderId): Round | null {
    const [next, ...others] = this.#sent.get(provider) ?? []
    if (next === undefined) return null
    this.#sent.set(provider, others)
    this.#seen.set(provider, next.sequence)
    return next
  }

  async #asked(provider: ProviderId): Promise<Round> {
    const failure = await this.#options.ask(provider, this.#seen.get(provider) ?? 0)
    const next = this.#next(provider)
    if (next !== null) return next
    throw new RoundFailed(failure ?? { reason: 'internal', refusal: false })
  }
}
