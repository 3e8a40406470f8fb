import {
  isVerificationError,
  type EvidenceErrorCode,
  type PolicyErrorCode,
} from '@vouchgate/attestation'
import { ChannelError, type ChannelErrorCode } from '../../client/errors.ts'
import { GatewayError } from '../errors.ts'

/** Why a provider is not, or no longer, verified: a code of the verifier, of the channel, or our own. */
export type Failure =
  | EvidenceErrorCode
  | PolicyErrorCode
  | ChannelErrorCode
  | 'evidence_expired'
  | 'internal'

export interface RoundFailure {
  readonly reason: Failure
  /** As `isRefusal` says. */
  readonly refusal: boolean
}

/** What another process of this gateway ran into when it collected evidence. */
export class RoundFailed extends Error implements RoundFailure {
  override readonly name = 'RoundFailed'
  readonly reason: Failure
  readonly refusal: boolean

  constructor({ reason, refusal }: RoundFailure) {
    super('the evidence was not collected')
    this.reason = reason
    this.refusal = refusal
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof RoundFailed) return error.reason
  if (isVerificationError(error) || error instanceof ChannelError) return error.code
  return 'internal'
}

/** The provider showed something that was refused, as opposed to a provider that could not be asked. */
export const isRefusal = (error: unknown): boolean =>
  isVerificationError(error) ||
  (error instanceof ChannelError && error.kind !== 'unavailable') ||
  (error instanceof RoundFailed && error.refusal)

/** `upstream_verification_failed` with the code that goes into the receipt and the log. */
export class VerificationRefused extends GatewayError {
  readonly reason: Failure

  constructor(reason: Failure, retryAfterSeconds: number | null) {
    super('upstream_verification_failed', retryAfterSeconds)
    this.reason = reason
  }
}
