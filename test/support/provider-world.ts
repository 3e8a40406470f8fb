import { NO_OTHER_VENDORS } from './collecting.ts'
import {
  appraiseEvidence,
  parseProviderPolicy,
  toHex,
  type ProviderKind,
  type ProviderPolicy,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { attestedFetch, webFetch } from '../../client/evidence-fetch.ts'
import type { AttestedProvider } from '../../src/config/index.ts'
import { isProviderId } from '../../src/ids.ts'
import type { CollectDeps } from '../../src/providers/collect.ts'
import { ATTESTED_KINDS } from '../../src/providers/kinds.ts'
import { Sensitive } from '../../src/sensitive.ts'
import { fakeClock, type FakeClock } from './clock.ts'
import type { DstackTd } from './dstack-td.ts'
import { newNvidiaVendor, type NvidiaVendor } from './nvidia-gpu.ts'
import { createTeeVendor, type TeeVendor } from './tee-vendor.ts'

/** Vendors and a clock for providers of one test file. */
export interface ProviderVendors {
  readonly clock: FakeClock
  readonly vendor: TeeVendor
  readonly nvidia: NvidiaVendor
}

export function newProviderVendors(): ProviderVendors {
  const clock = fakeClock()
  return { clock, vendor: createTeeVendor({ now: clock.now() }), nvidia: newNvidiaVendor() }
}

/** The document of a policy that expects exactly these guests; every rule a test does not name is the default. */
export const policyDocument = (
  { vendor, nvidia }: ProviderVendors,
  guests: readonly DstackTd[],
  extra: object = {},
) => ({
  tdx: {
    trusted_root: { test_pki_pem: vendor.rootPem },
    workload: guests.map(({ platform }) => ({
      ...platform,
      rtmr3: 'any',
      mr_config_id: 'any',
      mr_owner: 'any',
      mr_owner_config: 'any',
      config_digest: 'any',
    })),
  },
  gpu: {
    trusted_root: {
      test_pki: { device_pem: nvidia.pki.deviceRoot.pem, rim_pem: nvidia.pki.rimRoot.pem },
    },
    measurements: 'unchecked',
    revocation: 'unchecked',
  },
  ...extra,
})

export interface Asked {
  readonly kind: ProviderKind
  readonly origin: string
  readonly model: string
  readonly policy: ProviderPolicy
}

function providerOf({ kind, origin, model, policy }: Asked): AttestedProvider {
  const id = 'provider'
  if (!isProviderId(id)) throw new TypeError('not a provider id')
  return { kind, id, origin, model, policy, apiKey: new Sensitive('key'), refreshSeconds: 600 }
}

const NONCE = toHex(new Uint8Array(32).fill(0x5a))

/** Collects over real sockets, with the collateral of the test vendor and nothing from NVIDIA. */
export async function collected(
  { clock, vendor }: ProviderVendors,
  asked: Asked,
  changes: Partial<CollectDeps> = {},
): Promise<Uint8Array> {
  return ATTESTED_KINDS[asked.kind].collect(providerOf(asked), {
    nonce: NONCE,
    clock,
    authorization: 'Bearer key',
    attested: attestedFetch(5000, clock),
    web: webFetch(5000, clock),
    pcs: async () => vendor.collateral({ at: clock.now() }),
    gpus: async () => [],
    ...NO_OTHER_VENDORS,
    ...changes,
  })
}

export const judged = (
  { clock }: ProviderVendors,
  evidence: Uint8Array,
  policy: ProviderPolicy,
  challenge = NONCE,
): Promise<readonly [VerifiedEndpoint, ...VerifiedEndpoint[]]> =>
  appraiseEvidence({ evidence, challenge, now: clock.now(), policy })

export const policyOf = (
  vendors: ProviderVendors,
  guests: readonly DstackTd[],
  extra: object = {},
): ProviderPolicy => parseProviderPolicy(policyDocument(vendors, guests, extra))
