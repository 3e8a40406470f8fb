import {
  collateralKey,
  type Clock,
  type Collateral,
  type UnixSeconds,
} from '@vouchgate/attestation'
import type { CollateralSource } from '../client/collateral.ts'

const FRESH_SECONDS = 3600

interface Entry {
  readonly fetched: Promise<Collateral>
  readonly staleAt: UnixSeconds
}

/** Collateral is per platform and changes every few weeks: one fetch per platform and hour is enough. */
export function cachedCollateral(source: CollateralSource, clock: Clock): CollateralSource {
  const entries = new Map<string, Entry>()
  return async (quote) => {
    const { tee, fmspc, ca } = await collateralKey(quote)
    const key = `${tee} ${fmspc} ${ca}`
    const found = entries.get(key)
    if (found !== undefined && clock.now() < found.staleAt) return found.fetched
    const fetched = source(quote)
    entries.set(key, { fetched, staleAt: clock.now() + FRESH_SECONDS })
    // A failure is not kept: the next caller asks again.
    fetched.catch(() => entries.delete(key))
    return fetched
  }
}
