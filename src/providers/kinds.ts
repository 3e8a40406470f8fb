import type { ProviderKind } from '@vouchgate/attestation'
import { collectAci } from '../../client/collect.ts'
import type { Nodes } from '../upstream/nodes.ts'
import { sealNear } from '../upstream/seal-near.ts'
import type { Seal } from '../upstream/seal.ts'
import type { Collect } from './collect.ts'
import { collectDstackVllm } from './dstack-vllm.ts'
import { collectNearCloud } from './near-cloud.ts'
import { sealEhbp } from '../upstream/seal-ehbp.ts'
import { collectNearDirect } from './near-direct.ts'
import { collectTinfoil } from './tinfoil.ts'

interface KindEntry {
  readonly collect: Collect
  /** How prompts are encrypted to the key that this kind attests; null where TLS ends in the TEE. */
  readonly seal: Seal | null
  /** Whether one origin of this kind may be several machines, each with a TLS key of its own. */
  readonly nodes: Nodes
}

/** Every kind of provider that is verified, each entry complete. What judges the evidence is `appraiseEvidence`. */
export const ATTESTED_KINDS: Readonly<Record<ProviderKind, KindEntry>> = Object.freeze({
  __proto__: null,
  aci: {
    collect: ({ origin }, { nonce, attested, pcs, weigh, clock }) =>
      collectAci({ origin, nonce, fetch: attested, pcs, weigh, clock }),
    seal: null,
    nodes: 'several',
  },
  'near-direct': { collect: collectNearDirect, seal: null, nodes: 'several' },
  'near-cloud': { collect: collectNearCloud, seal: sealNear, nodes: 'several' },
  'dstack-vllm': { collect: collectDstackVllm, seal: null, nodes: 'several' },
  tinfoil: { collect: collectTinfoil, seal: sealEhbp, nodes: 'several' },
})
