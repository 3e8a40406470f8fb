import {
  collateralIssuedAt,
  collateralName,
  EvidenceError,
  renewCollateral,
  verifyCollateral,
  type Clock,
  type Collateral,
  type CollateralInput,
  type CollateralKey,
  type CollateralPart,
  type TrustedRoot,
  type UnixSeconds,
  type VerifiedCollateral,
} from '@vouchgate/attestation'
import type { CollateralFetch } from '../client/collateral.ts'
import { ChannelError } from '../client/errors.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import { failureOf } from './upstream/failure.ts'

export interface CollateralOptions {
  readonly fetch: CollateralFetch
  readonly clock: Clock
  /** Uniform in [0, 1): spreads refreshes, so that replicas do not all ask at once. */
  readonly jitter: () => number
  readonly log: Logger
  readonly metrics: Metrics
}

/** New revocations and TCB recoveries are published long before the old documents expire. */
const REFRESH_SECONDS = 12 * 3600
/** A document in its last moments is not asked for at every tick. */
const MIN_REFRESH_SECONDS = 60
const MAX_BACKOFF_SECONDS = 300

/** The collateral of one platform under one root. At most one fetch runs at a time. */
export class CollateralSlot {
  readonly #key: CollateralKey
  readonly #root: TrustedRoot
  readonly #options: CollateralOptions
  /** Kept beyond its expiry, so that nothing older is taken afterwards. */
  #held: VerifiedCollateral | null = null
  #fetching: Promise<void> | null = null
  /** Why the last fetch failed, where it did. */
  #refusal: ChannelError | EvidenceError | null = null
  #failures = 0
  #retryAt: UnixSeconds = 0
  #refreshAt: UnixSeconds = 0

  constructor(key: CollateralKey, root: TrustedRoot, options: CollateralOptions) {
    this.#key = key
    this.#root = root
    this.#options = options
  }

  /** Null where nothing is held. */
  get expiresAt(): UnixSeconds | null {
    return this.#held?.expiresAt ?? null
  }

  /** What is held while it is valid, else a fetched one. Throws `ChannelError`, or `certificate_revoked`. */
  async collateral(): Promise<Collateral> {
    const held = this.#valid()
    if (held !== null) return held.collateral
    // Right after a failure the service is not asked again for every caller.
    if (this.#options.clock.now() >= this.#retryAt) await this.#fetch()
    const fetched = this.#valid()
    if (fetched === null) throw this.#reason()
    return fetched.collateral
  }

  /**
   * Each document of offered collateral that is not older than the held one. What a provider offers is not
   * held: its choice of an evaluation would bind the others.
   */
  async weigh(offered: Collateral): Promise<Collateral> {
    // Without a way to the service, what was offered is all there is.
    await this.collateral().catch((error: unknown) => {
      if (error instanceof EvidenceError) throw error
    })
    const { verified, older } = await renewCollateral(this.#held, this.#input(offered))
    this.#logOlder(older)
    return verified.collateral
  }

  /** Fetches again where it is time to. Never rejects; a failure is logged and counted. */
  async refreshDue(): Promise<void> {
    // What nobody got an answer for is asked again by the next caller, not by the timer.
    if (this.#held === null || this.#options.clock.now() < this.#refreshAt) return
    await this.#fetch()
  }

  /**
   * Holds collateral that was kept somewhere. What has expired is not served, and yet nothing older is taken.
   * Gives when it expires. Rejects with `EvidenceError` where it does not hold.
   */
  async restore(collateral: Collateral): Promise<UnixSeconds> {
    const now = Math.min(this.#options.clock.now(), collateralIssuedAt(collateral))
    this.#held = await verifyCollateral({ ...this.#input(collateral), now })
    return this.#held.expiresAt
  }

  async #take(collateral: Collateral): Promise<void> {
    const { clock, jitter, log, metrics } = this.#options
    const now = clock.now()
    const { verified, older } = await renewCollateral(this.#held, this.#input(collateral))
    this.#held = verified
    this.#refusal = null
    this.#failures = 0
    this.#retryAt = 0
    const span = Math.min(REFRESH_SECONDS, verified.expiresAt - now)
    this.#refreshAt = now + Math.max(MIN_REFRESH_SECONDS, Math.floor(span * (0.7 + 0.2 * jitter())))
    this.#logOlder(older)
    const platform = collateralName(this.#key)
    const result = older.length === 0 ? 'taken' : 'rolled_back'
    metrics.add('vouchgate_collateral_total', { result })
    log({ event: 'collateral_taken', platform, expiresAt: verified.expiresAt })
  }

  #input(collateral: Collateral): CollateralInput {
    const now = this.#options.clock.now()
    return { collateral, key: this.#key, now, trustedRoot: this.#root }
  }

  #logOlder(older: readonly CollateralPart[]): void {
    const platform = collateralName(this.#key)
    for (const part of older) this.#options.log({ event: 'collateral_rolled_back', platform, part })
  }

  #valid(): VerifiedCollateral | null {
    const held = this.#held
    const expired = held === null || this.#options.clock.now() > held.expiresAt
    return expired || this.#isRevoked() ? null : held
  }

  /** An authentic CRL says so, whatever else was served with it: what is held falls with its certificates. */
  #isRevoked(): boolean {
    return this.#refusal instanceof EvidenceError
  }

  #fetch(): Promise<void> {
    this.#fetching ??= this.#renew().finally(() => {
      this.#fetching = null
    })
    return this.#fetching
  }

  async #renew(): Promise<void> {
    let offered: Collateral | null = null
    try {
      offered = await this.#options.fetch(this.#key)
      await this.#take(offered)
    } catch (error) {
      const revoked = isRevocation(error) && (await this.#isRevokedBy(offered, error))
      this.#fail(error, revoked ? error : refusalOf(error))
    }
  }

  /**
   * Whether an authentic CRL revokes what is held. A mirror that replays documents of a revoked signer beside
   * that CRL has only shown something old. Where nothing is held, it is the platform's CA that counts.
   */
  async #isRevokedBy(offered: Collateral | null, error: EvidenceError): Promise<boolean> {
    if (this.#held === null || offered === null) return error.step === 'crl'
    const held = { ...this.#held.collateral, root_ca_crl: offered.root_ca_crl }
    return verifyCollateral(this.#input(held)).then(() => false, isRevocation)
  }

  /** An outage, or a service that serves what does not hold, leaves what is held until that expires. */
  #fail(error: unknown, refusal: ChannelError | EvidenceError): void {
    const { clock, jitter, log, metrics } = this.#options
    const backoff = Math.ceil(Math.min(2 ** this.#failures, MAX_BACKOFF_SECONDS) * (1 + jitter()))
    const asked = error instanceof ChannelError ? (error.retryAfterSeconds ?? 0) : 0
    if (!this.#isRevoked()) this.#refusal = refusal
    this.#failures = Math.min(this.#failures + 1, 16)
    this.#retryAt = clock.now() + Math.max(backoff, asked)
    this.#refreshAt = this.#retryAt
    const platform = collateralName(this.#key)
    const reason = failureOf(error)
    metrics.add('vouchgate_collateral_total', { result: 'failed', reason })
    log({ event: 'collateral_refresh_failed', platform, reason, retryAt: this.#retryAt })
  }

  /** What a caller is told where nothing valid is held. */
  #reason(): Error {
    const outage = this.#held !== null && !this.#isRevoked()
    if (outage || this.#refusal === null) return new ChannelError('collateral_expired')
    return this.#refusal
  }
}

const isRevocation = (error: unknown): error is EvidenceError =>
  error instanceof EvidenceError && error.code === 'certificate_revoked'

/** What the service serves is not the fault of a provider, whose sessions must not end over it. */
function refusalOf(error: unknown): ChannelError {
  if (error instanceof ChannelError) return error
  return new ChannelError(
    error instanceof EvidenceError ? 'collateral_refused' : 'collateral_unavailable',
  )
}
