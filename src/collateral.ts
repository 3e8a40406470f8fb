import {
  collateralKey,
  collateralName,
  EvidenceError,
  INTEL_SGX_ROOT,
  type BundleEntry,
  type CollateralKey,
  type CollateralName,
  type TrustedRoot,
  type UnixSeconds,
} from '@vouchgate/attestation'
import type { CollateralSource, CollateralWeigh } from '../client/collateral.ts'
import { ChannelError } from '../client/errors.ts'
import { CollateralSlot, type CollateralOptions } from './collateral-slot.ts'
import { failureOf } from './upstream/failure.ts'

export type CollateralBundle = ReadonlyMap<CollateralName, BundleEntry>

export interface CollateralServiceOptions extends CollateralOptions {
  /** Roots that collateral may end in beside Intel's: those of test PKIs that a policy names. */
  readonly testRoots: readonly TrustedRoot[]
}

/** Providers choose what their quotes name, so that the number of platforms is bounded. */
const MAX_SLOTS = 256

/**
 * The collateral of every platform that was asked for: verified before it is kept, shared, refreshed before it
 * expires, never replaced by an older one. The caller owns the timer and calls `refreshDue` from it.
 */
export class CollateralService {
  readonly #options: CollateralServiceOptions
  readonly #roots: readonly TrustedRoot[]
  /** By root and platform, the one used last at the end. */
  readonly #slots = new Map<string, CollateralSlot>()

  constructor(options: CollateralServiceOptions) {
    this.#options = options
    this.#roots = [INTEL_SGX_ROOT, ...options.testRoots]
  }

  /**
   * Collateral for the platform that a quote names, under the root that its own chain ends in: a test PKI
   * cannot stand in for Intel's. Rejects with `ChannelError`, or `EvidenceError` where the quote is unreadable.
   */
  readonly source: CollateralSource = async (quote) => {
    const slot = await this.#slotOf(quote)
    return slot.collateral()
  }

  /**
   * Of collateral that a provider brought along, each document that is not older than the held one: Intel's
   * signature on an older edition stays valid for weeks, in which a platform would still look up to date.
   * Rejects with `EvidenceError` where the offered one does not hold, or only an expired one is newer.
   */
  readonly weigh: CollateralWeigh = async (quote, offered) => {
    const slot = await this.#slotOf(quote)
    return slot.weigh(offered)
  }

  /** Holds what a bundle has, and logs what is of no use. Never rejects. */
  async load(bundle: CollateralBundle): Promise<void> {
    const { log, clock } = this.#options
    for (const [platform, entry] of bundle) {
      try {
        const expiresAt = await this.#restore(entry)
        if (expiresAt < clock.now()) throw new ChannelError('collateral_expired')
        log({ event: 'collateral_taken', platform, expiresAt })
      } catch (error) {
        log({ event: 'collateral_bundle_refused', platform, reason: failureOf(error) })
      }
    }
    this.#report()
  }

  /** Fetches whatever is due. Never rejects. */
  async refreshDue(): Promise<void> {
    await Promise.all([...this.#slots.values()].map((slot) => slot.refreshDue()))
    this.#report()
  }

  /** A bundle says nothing of roots, so each is tried. */
  async #restore({ key, collateral }: BundleEntry): Promise<UnixSeconds> {
    for (const root of this.#roots) {
      const slot = new CollateralSlot(key, root, this.#options)
      try {
        const expiresAt = await slot.restore(collateral)
        this.#add(slotName(key, root), slot)
        return expiresAt
      } catch (error) {
        if (failureOf(error) !== 'certificate_root_untrusted') throw error
      }
    }
    throw new EvidenceError('certificate_root_untrusted')
  }

  async #slotOf(quote: Uint8Array): Promise<CollateralSlot> {
    const { rootSha256, ...key } = await collateralKey(quote)
    const root = this.#roots.find(({ sha256 }) => sha256 === rootSha256)
    if (root === undefined) throw new EvidenceError('certificate_root_untrusted')
    const name = slotName(key, root)
    const slot = this.#slots.get(name) ?? new CollateralSlot(key, root, this.#options)
    this.#add(name, slot)
    return slot
  }

  #add(name: string, slot: CollateralSlot): void {
    this.#slots.delete(name)
    this.#slots.set(name, slot)
    const [oldest] = this.#slots.keys()
    if (this.#slots.size > MAX_SLOTS && oldest !== undefined) this.#slots.delete(oldest)
  }

  #report(): void {
    const expiries = [...this.#slots.values()].flatMap(({ expiresAt }) => expiresAt ?? [])
    if (expiries.length === 0) return
    this.#options.metrics.set('vouchgate_collateral_expires_seconds', Math.min(...expiries))
  }
}

const slotName = (key: CollateralKey, root: TrustedRoot): string =>
  `${root.sha256} ${collateralName(key)}`
