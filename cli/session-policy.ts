import {
  parsePolicy,
  parseProviderPolicy,
  recordedPolicyOf,
  type ProviderPolicy,
} from '@vouchgate/attestation'
import type { SessionPolicy } from '../client/index.ts'
import { CliError } from './errors.ts'
import { isRecord, readYaml } from './input.ts'

/** Genuine and current, whatever runs there, and of GPUs what the evidence shows. */
export const RECORDED: SessionPolicy = (_name, evidence) => recordedPolicyOf(evidence)

/**
 * What providers must be running. The file is a TDX policy (`workload: …`), a provider policy (`tdx:`, `snp:`, `gpu:` …),
 * or `providers:` with one of the two for each name a gateway gives a provider. A provider that is not named there is
 * refused.
 */
export async function readSessionPolicy(path: string): Promise<SessionPolicy> {
  const value = await readYaml(path)
  if (!isRecord(value)) return policyFor(value)
  const { providers } = value
  if (!isRecord(providers)) return policyFor(value)
  const named = new Map(
    Object.entries(providers).map(([name, policy]) => [name, policyFor(policy)] as const),
  )
  return (name, evidence) => {
    const policy = named.get(name)
    if (policy === undefined) throw new CliError('provider_not_expected')
    return policy(name, evidence)
  }
}

function policyFor(value: unknown): SessionPolicy {
  if (isRecord(value) && ('tdx' in value || 'snp' in value)) {
    const policy: ProviderPolicy = parseProviderPolicy(value)
    return () => policy
  }
  if (isRecord(value) && !('workload' in value)) throw new CliError('policy_without_workload')
  const tdx = parsePolicy(value)
  return (_name, evidence) => ({ ...recordedPolicyOf(evidence), tdx })
}
