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
import { handOver, takeOver, type HandedGeneration } from './handover.ts'
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

/** Of a worker: its keys were made by another process of the same gateway. */
export interface WorkerEnclaveOptions {
  readonly clock: Clock
  readonly handed: HandedGeneration
  /** Asks that process for a report over a nonce. Rejects with `EnclaveError`. */
  readonly report: (nonce: string) => Promise<AttestationReport>
}

/** A receipt without what only the enclave can fill in. */
export type ReceiptDraft = Omit<UnsignedReceipt, 'key_id' | 'workload_keyset_digest'>

/** Verifiers refuse a keyset that expires later than this (ACI §3.1). */
export const MAX_LIFETIME_SECONDS = 7 * 24 * 3600
const ARCHIVE_LENGTH = 64
const HOSTNAME =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** Where generations and reports over a nonce come from. Both reject with `EnclaveError`. */
interface Maker {
  next(): Promise<LiveGeneration>
  report(generation: Generation, nonce: string): Promise<AttestationReport>
}

/**
 * Who we are: the sole holder of private keys.
 *
 * Its keys are born at `boot` and again at each `rotate`, and exist nowhere else, but for the workers of the same gateway;
 * what leaves is public keys, signatures, reports, and the TLS key for `node:tls`. The caller owns the timer: it calls
 * `rotate` at `rotationDueAt`, and again later if that fails, since a third of the lifetime is left.
 */
export class Enclave {
  readonly #clock: Clock
  readonly #maker: Maker
  readonly #listeners: ((generation: Generation) => void)[] = []
  #live: LiveGeneration
  #archive: readonly Keyset[] = []
  #rotating: Promise<void> | null = null

  private constructor(clock: Clock, maker: Maker, live: LiveGeneration) {
    this.#clock = clock
    this.#maker = maker
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
    const maker = quotingMaker(options)
    return new Enclave(clock, maker, await maker.next())
  }

  /** With keys that were handed over; new ones come by `take`, never by `rotate`. */
  static ofWorker({ clock, handed, report }: WorkerEnclaveOptions): Enclave {
    const maker: Maker = {
      next: () => Promise.reject(new TypeError('a worker makes no keys')),
      report: (_generation, nonce) => report(nonce),
    }
    return new Enclave(clock, maker, takeOver(handed))
  }

  get current(): Generation {
    return this.#live.generation
  }

  /** Two thirds into the life of the current keyset. */
  get rotationDueAt(): UnixSeconds {
    const { bornAt, notAfter } = this.current
    return bornAt + Math.floor((2 * (notAfter - bornAt)) / 3)
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
    return this.#maker.report(generation, nonce)
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

  /** The current keys, for a worker of this gateway. */
  handOver(): HandedGeneration {
    return handOver(this.#live)
  }

  /** Serves on with keys that were handed over. */
  take(handed: HandedGeneration): void {
    this.#begin(takeOver(handed))
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
    this.#begin(await this.#maker.next())
  }

  #begin(live: LiveGeneration): void {
    this.#archive = [...this.#archive, this.current.keyset].slice(-ARCHIVE_LENGTH)
    this.#live = live
    for (const listener of this.#listeners) listener(live.generation)
  }

  /** Signing on after the keyset's end would make receipts and reports that nobody may accept. */
  #unexpired(): LiveGeneration {
    if (this.#clock.now() >= this.current.notAfter) throw new EnclaveError('keyset_expired')
    return this.#live
  }
}

function quotingMaker(options: EnclaveOptions): Maker {
  // Serialises everything; only one requester and one rotation ever stand in it.
  const source = quoteQueue(options.source, { maxWaiting: 1 })
  // For whoever asks over the network. A full lane of requesters does not delay a rotation.
  const requested = quoteQueue(source, { maxWaiting: options.maxWaitingQuotes })
  return {
    next: () => createGeneration({ ...options, source, now: options.clock.now() }),
    report: (generation, nonce) =>
      createReport(generation, nonce, { ...options, source: requested }),
  }
}
