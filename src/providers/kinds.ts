import type { ProviderKind } from '@vouchgate/attestation'
import { collectAci } from '../../client/collect.ts'
import type { Seal } from '../upstream/seal.ts'
import type { Collect } from './collect.ts'
import { collectNearDirect } from './near-direct.ts'

interface KindEntry {
  readonly collect: Collect
  /** How prompts are encrypted to the key that this kind attests; null where TLS ends in the TEE. */
  readonly seal: Seal | null
}

/** Every kind of provider that is verified, each entry complete. What judges the evidence is `appraiseEvidence`. */
export const ATTESTED_KINDS: Readonly<Record<ProviderKind, KindEntry>> = Object.freeze({
  __proto__: null,
  aci: {
    collect: ({ origin }, { nonce, attested, pcs, weigh, clock }) =>
      collectAci({ origin, nonce, fetch: attested, pcs, weigh, clock }),
    seal: null,
  },
  'near-direct': { collect: collectNearDirect, seal: null },
})
