import {
  DEFAULT_NRAS_POLICY,
  gpuRoots,
  NVIDIA_ROOTS,
  verifyRim,
  type Bytes,
  type Clock,
  type NvidiaRoots,
} from '@vouchgate/attestation'
import { isAttested, type Config } from '../config/index.ts'
import type { Random } from '../ids.ts'
import type { NvidiaSources } from './gpus.ts'
import { nrasService } from './nras.ts'
import { ocspService } from './ocsp.ts'
import { rimService } from './rim.ts'

export interface SourceOptions {
  readonly timeoutMs: number
  readonly clock: Clock
  readonly random: Random
}

/** NVIDIA's services as the configuration names them, each with its cache, shared by every provider. */
export async function nvidiaSources(
  { nvidia, providers }: Config,
  { timeoutMs, clock, random }: SourceOptions,
): Promise<NvidiaSources> {
  const roots = await rootsOf(providers)
  const service = (url: string) => ({ url, timeoutMs })
  return {
    rim: rimService({
      service: service(nvidia.rim_url),
      clock,
      verify: (document) => verifyUnder(roots, document, clock),
    }),
    ocsp: ocspService({ service: service(nvidia.ocsp_url), clock, random }),
    nras: nrasService({
      service: service(nvidia.nras_url),
      api: 'v4',
      clock,
      policy: DEFAULT_NRAS_POLICY,
    }),
    clock,
  }
}

/** NVIDIA's, and those of test PKIs that a policy names. */
async function rootsOf(providers: Config['providers']): Promise<NvidiaRoots[]> {
  const named = [...providers.values()].flatMap((provider) =>
    !isAttested(provider) || provider.policy.gpu === 'unchecked' ? [] : [provider.policy.gpu],
  )
  const all = [NVIDIA_ROOTS, ...(await Promise.all(named.map(gpuRoots)))]
  return [...new Map(all.map((roots) => [roots.rim, roots])).values()]
}

/** Whether a document is genuine at all decides whether it is held; each verification judges it again. */
async function verifyUnder(
  roots: readonly NvidiaRoots[],
  document: Bytes,
  clock: Clock,
): Promise<void> {
  const results = await Promise.allSettled(
    roots.map((each) => verifyRim(document, { now: clock.now(), roots: each })),
  )
  const [first] = results
  if (results.some(({ status }) => status === 'fulfilled')) return
  if (first?.status === 'rejected') throw first.reason
}
