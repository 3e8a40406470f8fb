import type { AttestationReport, Collateral } from '@vouchgate/attestation'
import { EnclaveError } from '../../enclave/index.ts'
import { ChannelError } from '../../client/errors.ts'
import { GatewayError } from '../errors.ts'
import type { CredentialDigest, ProviderId, SessionId } from '../ids.ts'
import type { Peers } from '../peers.ts'
import type { RoundFailure } from '../upstream/failure.ts'
import { Exchange } from './exchange.ts'
import type { Answer, PeerQuestion, Question } from './messages.ts'
import type { LeaderPort } from './processes.ts'

/** Receipts are for keys of the gateway, sessions for everybody: neither may crowd out the other. */
const LIMITS = { receipt: 64, session: 16, collateral: 64, round: 256 }

/** What a worker asks its leader, as the rest of the worker knows it. */
export class LeaderClient implements Peers {
  readonly #port: LeaderPort
  readonly #exchange: Exchange<Question['kind'], Answer>

  /** @param maxWaitingQuotes reports over a nonce that may wait; the leader lets as many of all workers wait. */
  constructor(port: LeaderPort, maxWaitingQuotes: number) {
    this.#port = port
    // One more than may wait is being made.
    const limits = { ...LIMITS, report: maxWaitingQuotes + 1 }
    this.#exchange = new Exchange({ limits, timeoutMs: null })
  }

  answered(id: number, answer: Answer): void {
    this.#exchange.answered(id, answer)
  }

  /** Rejects with `EnclaveError`. */
  async report(nonce: string): Promise<AttestationReport> {
    const answer = await this.#ask({ kind: 'report', nonce })
    if (answer?.kind === 'report') return answer.report
    if (answer?.kind !== 'no_report') throw new EnclaveError('quote_busy', 1)
    throw new EnclaveError(answer.code, answer.retryAfterSeconds)
  }

  /** Of the gateway's own quotes. Rejects with `ChannelError`. */
  async collateral(): Promise<Collateral> {
    const answer = await this.#ask({ kind: 'collateral' })
    if (answer?.kind === 'collateral' && answer.collateral !== null) return answer.collateral
    throw new ChannelError('collateral_unavailable')
  }

  /** A round after this one; null where it has been sent. */
  async round(provider: ProviderId, after: number): Promise<RoundFailure | null> {
    const answer = await this.#ask({ kind: 'round', provider, after })
    return answer?.kind === 'round' ? answer.failure : null
  }

  receipt(id: string, credential: CredentialDigest): Promise<object | null> {
    return this.#document({ kind: 'receipt', id, credential })
  }

  session(id: SessionId): Promise<object | null> {
    return this.#document({ kind: 'session', id })
  }

  async #document(question: PeerQuestion): Promise<object | null> {
    const answer = await this.#ask(question)
    if (answer?.kind !== 'document') throw new GatewayError('worker_busy', 1)
    if (answer.json === null) return null
    const document: unknown = JSON.parse(answer.json)
    return typeof document === 'object' ? document : null
  }

  #ask(question: Question): Promise<Answer | null> {
    return this.#exchange.ask(question.kind, (id) => this.#port.send({ type: 'ask', id, question }))
  }
}
