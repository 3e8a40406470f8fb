import { appraiseEvidence, toHex } from '@vouchgate/attestation'
import type { AttestedProvider } from '../config/index.ts'
import type { Random } from '../ids.ts'
import { expose } from '../sensitive.ts'
import type { Verified } from '../session-slot.ts'
import type { CollectDeps } from './collect.ts'
import { ATTESTED_KINDS } from './kinds.ts'

export interface VerifyOptions extends Omit<CollectDeps, 'nonce' | 'authorization'> {
  readonly random: Random
}

/** Collects a provider's evidence over a fresh nonce and judges exactly those bytes. */
export async function verifyProvider(
  provider: AttestedProvider,
  { random, ...deps }: VerifyOptions,
): Promise<Verified> {
  const nonce = toHex(random(32))
  const authorization = `Bearer ${expose(provider.apiKey)}`
  const { collect } = ATTESTED_KINDS[provider.kind]
  const evidence = await collect(provider, { nonce, authorization, ...deps })
  const [endpoint] = await appraiseEvidence({
    evidence,
    challenge: nonce,
    now: deps.clock.now(),
    policy: provider.policy,
  })
  return { endpoint, evidence }
}
