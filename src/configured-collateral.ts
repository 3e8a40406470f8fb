import { trustedRoot, type TrustedRoot } from '@vouchgate/attestation'
import { pcsFetch } from '../client/collateral.ts'
import { CollateralService, type CollateralServiceOptions } from './collateral.ts'
import { isAttested, type Config } from './config/index.ts'

/** With what the bundle holds; the rest is fetched when it is first asked for. */
export async function collateralService(
  { collateral, limits, providers }: Config,
  shared: Pick<CollateralServiceOptions, 'clock' | 'jitter' | 'log' | 'metrics'>,
): Promise<CollateralService> {
  const { pcs_url: baseUrl, root_crl_url: rootCrlUrl, bundle } = collateral
  const timeoutMs = 1000 * limits.connect_seconds
  const fetch = pcsFetch({ baseUrl, rootCrlUrl, timeoutMs, clock: shared.clock })
  const policies = [...providers.values()].flatMap((each) =>
    !isAttested(each) || each.policy.tdx === 'reject' ? [] : [each.policy.tdx],
  )
  const roots = await Promise.all(policies.map(trustedRoot))
  const service = new CollateralService({ ...shared, fetch, testRoots: testRoots(roots) })
  await service.load(bundle)
  return service
}

const testRoots = (roots: readonly TrustedRoot[]): TrustedRoot[] => [
  ...new Map(
    roots.filter(({ kind }) => kind === 'test-pki').map((root) => [root.sha256, root]),
  ).values(),
]
