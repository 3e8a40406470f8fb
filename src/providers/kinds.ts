import type { ProviderKind, VerifiedEndpoint } from '@vouchgate/attestation'
import { collectAci } from '../../client/collect.ts'
import { chutesSeal } from '../upstream/seal-chutes.ts'
import type { Nodes } from '../upstream/nodes.ts'
import { sealNear } from '../upstream/seal-near.ts'
import type { Seal } from '../upstream/seal.ts'
import { collectChutes } from './chutes.ts'
import type { ChutesTokenPools } from './chutes-tokens.ts'
import type { Collect } from './collect.ts'
import { collectDstackVllm } from './dstack-vllm.ts'
import { collectNearCloud } from './near-cloud.ts'
import { sealEhbp } from '../upstream/seal-ehbp.ts'
import { collectNearDirect } from './near-direct.ts'
import { collectTinfoil } from './tinfoil.ts'
import { collectOpenAiRaTls } from './openai-ra-tls.ts'
import { collectSecretAi } from './secretai.ts'

/** What encrypting to an endpoint needs beside its key. */
export interface SealDeps {
  readonly chutesTokens: ChutesTokenPools
}

interface KindEntry {
  readonly collect: Collect
  /** How prompts are encrypted to the key that this kind attests; null where TLS ends in the TEE. */
  readonly seal: Seal | null
  /** The same where it takes more than the key. */
  readonly sealOf?: (endpoint: VerifiedEndpoint, deps: SealDeps) => Seal
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
  chutes: {
    collect: collectChutes,
    seal: null,
    nodes: 'one',
    sealOf: ({ origin, identity }, { chutesTokens }) => {
      const chuteId = identity['chute_id']
      if (typeof chuteId !== 'string') throw new TypeError('an endpoint of a chute names it')
      return chutesSeal({ chuteId, tokens: chutesTokens.of(origin, chuteId) })
    },
  },
  'openai-ra-tls': { collect: collectOpenAiRaTls, seal: null, nodes: 'several' },
  secretai: { collect: collectSecretAi, seal: null, nodes: 'one' },
})

/** How prompts are encrypted to an endpoint; null where TLS ends in the TEE. */
export function sealFor(endpoint: VerifiedEndpoint, deps: SealDeps): Seal | null {
  const { seal, sealOf } = ATTESTED_KINDS[endpoint.kind]
  return sealOf === undefined ? seal : sealOf(endpoint, deps)
}
