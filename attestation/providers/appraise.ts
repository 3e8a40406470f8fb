import type { UnixSeconds } from '../bytes.ts'
import { VerifiedEndpoint } from '../endpoint.ts'
import { EvidenceError, PolicyError } from '../errors.ts'
import { verifyEndpoint } from '../verify.ts'
import { appraiseChutes } from './chutes.ts'
import { decodeProviderEvidence, isAciEvidence, type ProviderEvidence } from './evidence.ts'
import type { AppraiseKind, Appraised } from './kind.ts'
import { appraiseDstackVllm } from './dstack-vllm.ts'
import { appraiseNearCloud } from './near-cloud.ts'
import { appraiseNearDirect } from './near-direct.ts'
import { appraiseOpenAiRaTls } from './openai-ra-tls.ts'
import { appraiseSecretAi } from './secretai.ts'
import { recordedPolicy, type ProviderPolicy } from './policy.ts'
import type { VerifyRelease } from './release.ts'
import { appraiseTinfoil } from './tinfoil.ts'

export interface AppraiseInput {
  /** The bytes of `encodeProviderEvidence` or `encodeAciEvidence`. */
  readonly evidence: Uint8Array
  /** The nonce the caller sent, or `recorded` to re-appraise kept evidence, which proves no freshness. */
  readonly challenge: string
  /** The time to judge at, or `recorded` for the moment of collection. */
  readonly now: UnixSeconds | 'recorded'
  /** `recorded`: by what the evidence itself can show, see {@link recordedPolicy}. */
  readonly policy: ProviderPolicy | 'recorded'
  /** For kinds whose images are known by the provenance of their release; without it those are not judged. */
  readonly verifyRelease?: VerifyRelease | undefined
}

/** Every kind of provider there is, beside ACI/1 services. */
const KINDS: Readonly<Record<ProviderEvidence['kind'], AppraiseKind>> = Object.freeze({
  __proto__: null,
  'near-direct': appraiseNearDirect,
  'near-cloud': appraiseNearCloud,
  'dstack-vllm': appraiseDstackVllm,
  tinfoil: appraiseTinfoil,
  chutes: appraiseChutes,
  'openai-ra-tls': appraiseOpenAiRaTls,
  secretai: appraiseSecretAi,
})

/**
 * Proves that the keys a prompt will travel to belong to a wanted workload in a genuine TEE, whatever the kind of
 * provider. With `verifyEndpoint`, which it calls for ACI/1 services, the only maker of a `VerifiedEndpoint`.
 *
 * @returns one endpoint per channel that the evidence proves; never none.
 * @throws EvidenceError where something does not hold, PolicyError where it holds and is not wanted.
 */
export async function appraiseEvidence(
  input: AppraiseInput,
): Promise<readonly [VerifiedEndpoint, ...VerifiedEndpoint[]]> {
  if (isAciEvidence(input.evidence)) {
    return [await verifyEndpoint({ ...input, policy: tdxPolicy(input.policy) })]
  }
  const evidence = decodeProviderEvidence(input.evidence)
  const now = input.now === 'recorded' ? evidence.collectedAt : input.now
  const policy = input.policy === 'recorded' ? recordedPolicy(evidence) : input.policy
  // 1. The evidence was collected for this caller's challenge, or the policy asks for none.
  checkChallenge(evidence, input.challenge, policy)
  // 2. The kind's own steps: genuine, bound, wanted.
  const [first, ...others] = await KINDS[evidence.kind]({
    evidence,
    now,
    policy,
    verifyRelease: input.verifyRelease,
  })
  if (first === undefined) throw new TypeError('a kind appraises one channel or throws')
  const made = (appraised: Appraised) => endpointOf(appraised, evidence, now)
  return [made(first), ...others.map(made)]
}

/** A plain TDX policy judges ACI/1 services. */
function tdxPolicy(policy: ProviderPolicy | 'recorded') {
  const { tdx } = policy === 'recorded' ? recordedPolicy({ documents: new Map() }) : policy
  if (tdx === 'reject') throw new PolicyError('tee_not_accepted', 'tdx', 'another TEE')
  return tdx
}

function checkChallenge(
  { nonce }: ProviderEvidence,
  challenge: string,
  { freshness }: ProviderPolicy,
): void {
  if (challenge !== 'recorded' && nonce !== null && nonce !== challenge) {
    throw new EvidenceError('nonce_mismatch')
  }
  if (nonce === null && freshness === 'challenge') {
    throw new PolicyError('freshness_not_proven', 'no challenge', 'an answered challenge')
  }
}

const endpointOf = (
  appraised: Appraised,
  { kind, origin }: ProviderEvidence,
  now: UnixSeconds,
): VerifiedEndpoint => new VerifiedEndpoint({ ...appraised, kind, origin, verifiedAt: now })
