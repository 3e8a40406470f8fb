import { parsePolicy, type BootDocument, type Policy } from '@vouchgate/attestation'
import type { CollateralSource, VerifyOptions } from '../../client/index.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { createTeeVendor, type TeeVendor } from '../support/tee-vendor.ts'

export const BOOT: BootDocument = {
  software: 'vouchgate/test',
  config_digest: `sha256:${'ab'.repeat(32)}`,
  self_check: { swap_off: 'held' },
}

export const MRTD = 'd1'.repeat(48)

/** Collateral comes with every report of the test servers: asking elsewhere is a mistake. */
export const noPcs: CollateralSource = async () => {
  throw new TypeError('collateral was asked for')
}

export interface World {
  readonly clock: FakeClock
  readonly vendor: TeeVendor
  readonly policy: Policy
  readonly options: VerifyOptions
}

export const pinnedRow = {
  mrtd: MRTD,
  rtmr0: 'any',
  rtmr1: 'any',
  rtmr2: 'any',
  rtmr3: 'any',
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest: 'any',
}

/** A vendor, a clock and a policy that expects what the test servers run. */
export function newWorld(): World {
  const clock = fakeClock()
  const vendor = createTeeVendor()
  const policy = parsePolicy({
    trusted_root: { test_pki_pem: vendor.rootPem },
    workload: [pinnedRow],
  })
  return { clock, vendor, policy, options: { policy, pcs: noPcs, clock, timeoutMs: 5000 } }
}
