import type { Clock } from '@vouchgate/attestation'
import {
  attestedFetch,
  certificateFetch,
  configuredFetch,
  webFetch,
} from '../../client/evidence-fetch.ts'
import { amdService } from '../amd/kds.ts'
import type { CollateralService } from '../collateral.ts'
import type { Config } from '../config/index.ts'
import type { Random } from '../ids.ts'
import { nvidiaDocuments } from '../nvidia/gpus.ts'
import { nvidiaSources } from '../nvidia/sources.ts'
import { releaseService } from './releases.ts'
import type { VerifyOptions } from './verify.ts'

export interface CollectorParts extends Pick<VerifyOptions, 'record'> {
  readonly collateral: CollateralService
  readonly clock: Clock
  readonly random: Random
  readonly timeoutMs: number
}

/** Everything that evidence is collected through, as the configuration names it. */
export async function collectors(
  config: Config,
  { collateral, clock, random, timeoutMs, ...recording }: CollectorParts,
): Promise<VerifyOptions> {
  const configured = configuredFetch(timeoutMs, clock)
  return {
    pcs: collateral.source,
    weigh: collateral.weigh,
    attested: attestedFetch(timeoutMs, clock),
    web: webFetch(timeoutMs, clock),
    certificate: certificateFetch(timeoutMs),
    gpus: nvidiaDocuments(await nvidiaSources(config, { timeoutMs, clock, random })),
    amd: amdService({ url: config.amd.kds_url, fetch: configured, clock }),
    releases: releaseService({ url: config.releases.url, fetch: configured, clock }),
    clock,
    random,
    ...recording,
  }
}
