import {
  isNonce,
  type AttestationReport,
  type BootDocument,
  type Clock,
  type Keyset,
  type SourceProvenance,
  type UnixSeconds,
  type UnsignedReceipt,
} from '@vouchgate/attestation'
import {
  createGeneration,
  createReport,
  type Generation,
  type LiveGeneration,
} from './generation.ts'
import { quoteQueue } from './quote-queue.ts'
import { EnclaveError, type QuoteSource } from './quote-source.ts'
import { SealedReceipt } from './sealed-receipt.ts'

export interface EnclaveOptions {
  readonly source: QuoteSource
  readonly clock: Clock
  readonly boot: BootDocument
  /** The public name, in the certificate and the keyset; null where there is none. */
  readonly domain: string | null
  /** How long a keyset lives: at most seven days. */
  readonly lifetimeSeconds: number
  readonly provenance: SourceProvenance
  /** How many requests for a report over a nonce may wait for their quote. */
  readonly maxWaitingQuotes: number
}

/** A receipt without what only the enclave can fill in. */
export type ReceiptDraft = Omit<UnsignedReceipt, 'key_id' | 'workload_keyset_digest'>

/** Verifiers refuse a keyset that expires later than this (ACI §3.1). */
export const MAX_LIFETIME_SECONDS = 7 * 24 * 3600
const ARCHIVE_LENGTH = 64
const HOSTNAME =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * Who we are: the sole holder of private keys.
 *
 * Its keys are born at `boot` and again at each `rotate`, and exist nowhere else; what leaves is public keys,
 * signatures, reports, and the TLS key for `node:tls`. The caller owns the timer: it calls `rotate` at
 * `rotationDueAt`, and again later if that fails, since a third of the lifetime is left.
 */
export class Enclave {
  readonly #options: EnclaveOptions
  /** Serialises everything; only one requester and one rotation ever stand in it. */
  readonly #source: QuoteSource
  /** For whoever asks over the network. A full lane of requesters does not delay a rotation. */
  readonly #requested: QuoteSource
  readonly #listeners: ((generation: Generation) => void)[] = []
  #live: LiveGeneration
  #archive: readonly Keyset[] = []
  #rotating: Promise<void> | null = null

  private constructor(options: EnclaveOptions, source: QuoteSource, live: LiveGeneration) {
    this.#options = options
    this.#source = source
    this.#requested = quoteQueue(source, { maxWaiting: options.maxWaitingQuotes })
    this.#live = live
  }

  /**
   * Makes the first generation: two quotes. A wrong option is a TypeError; rejects with `EnclaveError`
   * where the platform gives no quote.
   */
  static async boot(options: EnclaveOptions): Promise<Enclave> {
    const { lifetimeSeconds, domain, clock } = options
    if (!(Number.isSafeInteger(lifetimeSeconds) && lifetimeSeconds > 0)) {
      throw new TypeError('lifetimeSeconds is a positive integer')
    }
    if (lifetimeSeconds > MAX_LIFETIME_SECONDS) {
      throw new TypeError('lifetimeSeconds is at most seven days')
    }
    if (domain !== null && !HOSTNAME.test(domain)) throw new TypeError('domain is a host name')
    const source = quoteQueue(options.source, { maxWaiting: 1 })
    const live = await createGeneration({ ...options, source, now: clock.now() })
    return new Enclave(options, source, live)
  }

  get current(): Generation {
    return this.#live.generation
  }

  /** Two thirds into the life of the current keyset. */
  get rotationDueAt(): UnixSeconds {
    return this.current.bornAt + Math.floor((2 * this.#options.lifetimeSeconds) / 3)
  }

  /**
   * The attestation report, without collateral. The one without a nonce is made once per generation: it proves
   * the binding of the keys, not freshness. A nonce that is not 64 hex digits is a TypeError; rejects with
   * `EnclaveError`: `quote_*` or `keyset_expired`.
   */
  async report(nonce: string | null): Promise<AttestationReport> {
    const { generation, report } = this.#unexpired()
    if (nonce === null) return report
    if (!isNonce(nonce)) throw new TypeError('a nonce is 64 lower-case hex digits')
    return createReport(generation, nonce, { ...this.#options, source: this.#requested })
  }

  /** Fixes a receipt, to be signed with the current generation's key (ACI §7.2). Throws `keyset_expired`. */
  seal(draft: ReceiptDraft): SealedReceipt {
    const { generation, receiptKey } = this.#unexpired()
    const unsigned: UnsignedReceipt = {
      ...draft,
      workload_keyset_digest: generation.keysetDigest,
      key_id: receiptKey.entry.key_id,
    }
    return new SealedReceipt(unsigned, receiptKey)
  }

  /**
   * Replaces the keys. The old generation serves until the new one is complete, also when making it fails.
   * A call while a rotation is under way joins it. Rejects with `EnclaveError`.
   */
  rotate(): Promise<void> {
    this.#rotating ??= this.#replace().finally(() => {
      this.#rotating = null
    })
    return this.#rotating
  }

  /** Calls back with each new generation, so that a server can take its certificate. */
  onRotate(listener: (generation: Generation) => void): void {
    this.#listeners.push(listener)
  }

  /** Earlier keysets, oldest first, for receipts signed under them: the last 64. */
  archivedKeysets(): Keyset[] {
    return [...this.#archive]
  }

  async #replace(): Promise<void> {
    const now = this.#options.clock.now()
    const live = await createGeneration({ ...this.#options, source: this.#source, now })
    this.#archive = [...this.#archive, this.current.keyset].slice(-ARCHIVE_LENGTH)
    this.#live = live
    for (const listener of this.#listeners) listener(live.generation)
  }

  /** Signing on after the keyset's end would make receipts and reports that nobody may accept. */
  #unexpired(): LiveGeneration {
    if (this.#options.clock.now() >= this.current.notAfter) throw new EnclaveError('keyset_expired')
    return this.#live
  }
}
