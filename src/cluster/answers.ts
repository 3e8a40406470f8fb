import { EnclaveError, type Enclave } from '../../enclave/index.ts'
import type { CollateralSource } from '../../client/collateral.ts'
import type { Clock } from '@vouchgate/attestation'
import type { ProviderId } from '../ids.ts'
import { collateralOf } from '../routes/aci.ts'
import type { ProviderState } from '../session-slot.ts'
import type { RoundFailure } from '../upstream/failure.ts'
import type { Crew } from './crew.ts'
import type { Link } from './link.ts'
import type { Answer, Question } from './messages.ts'
import type { LeaderRounds } from './rounds.ts'

export interface AnswersOptions {
  readonly clock: Clock
  readonly enclave: Enclave
  readonly collateral: { readonly source: CollateralSource }
  readonly rounds: LeaderRounds
  readonly sessions: {
    state(provider: ProviderId): ProviderState
    verify(provider: ProviderId): Promise<void>
  }
  /** The attested providers of the configuration: a worker chooses among these alone. */
  readonly attested: ReadonlySet<ProviderId>
  readonly crew: Pick<Crew, 'askOthers'>
}

/** What workers are told. */
export class Answers {
  readonly #options: AnswersOptions

  constructor(options: AnswersOptions) {
    this.#options = options
  }

  /** Null for what no worker may ask. Never rejects. */
  to(question: Question, from: Link): Promise<Answer> | null {
    switch (question.kind) {
      case 'report':
        return this.#report(question.nonce)
      case 'collateral':
        return this.#collateral()
      case 'round':
        if (!this.#options.attested.has(question.provider)) return null
        return this.#round(question.provider, question.after)
      case 'receipt':
      case 'session':
        return this.#options.crew.askOthers(question, from)
    }
  }

  async #report(nonce: string): Promise<Answer> {
    try {
      return { kind: 'report', report: await this.#options.enclave.report(nonce) }
    } catch (error) {
      const known = error instanceof EnclaveError ? error : new EnclaveError('quote_unavailable')
      const { code, retryAfterSeconds } = known
      return { kind: 'no_report', code, retryAfterSeconds }
    }
  }

  async #collateral(): Promise<Answer> {
    const { enclave } = this.#options
    try {
      const report = await enclave.report(null)
      return { kind: 'collateral', collateral: await collateralOf(this.#options, report) }
    } catch {
      return { kind: 'collateral', collateral: null }
    }
  }

  /** One round for all that ask at a time, and none for those who have not seen the last one yet. */
  async #round(provider: ProviderId, after: number): Promise<Answer> {
    const { rounds, sessions } = this.#options
    const refused = this.#refusedOfLate(provider)
    if (rounds.sequence(provider) <= after && refused === null) await sessions.verify(provider)
    const newer = rounds.sequence(provider) > after
    return { kind: 'round', failure: newer ? null : refused }
  }

  /** A provider that was refused a moment ago is left alone, whichever worker has a prompt for it. */
  #refusedOfLate(provider: ProviderId): RoundFailure | null {
    const { sessions, clock } = this.#options
    const { reason, retryAt } = sessions.state(provider)
    const waits = retryAt !== null && retryAt > clock.now()
    return waits && reason !== null ? { reason, refusal: false } : null
  }
}
