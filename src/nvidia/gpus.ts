import {
  gpuRoots,
  NVIDIA_DOCUMENTS,
  parseGpuEvidence,
  rimIds,
  subjectsForRevocation,
  verifyGpuEvidence,
  verifyRim,
  type Bytes,
  type Clock,
  type GenuineGpuEvidence,
  type GpuEvidence,
  type GpuPolicy,
  type Issued,
} from '@vouchgate/attestation'
import { numbered } from '@vouchgate/attestation'
import type { GpuDocuments, NamedDocuments } from '../providers/collect.ts'
import type { NrasSource } from './nras.ts'
import type { OcspSource } from './ocsp.ts'
import type { RimSource } from './rim.ts'

export interface NvidiaSources {
  readonly rim: RimSource
  readonly ocsp: OcspSource
  readonly nras: NrasSource
  readonly clock: Clock
}

/**
 * Asks NVIDIA about devices that were verified here first: nothing that a provider made up leaves the gateway.
 *
 * Rejects with `EvidenceError` where the evidence is not genuine or NVIDIA says something against it, with
 * `ChannelError` where NVIDIA cannot be asked.
 */
export const nvidiaDocuments =
  (sources: NvidiaSources): GpuDocuments =>
  async ({ json, nonce, policy }) => {
    if (policy === 'unchecked') return []
    const evidence = parseGpuEvidence(json)
    const now = sources.clock.now()
    const roots = await gpuRoots(policy)
    const genuine = await verifyGpuEvidence({ evidence, nonce, now, roots })
    if (policy.judge === 'nras') return wordOfNras(evidence, genuine, sources)
    const rims = policy.measurements === 'require' ? await rimsFor(genuine, sources) : []
    const responses =
      policy.revocation === 'require' ? await ocspFor(genuine, rims, policy, sources) : []
    return [...numbered(NVIDIA_DOCUMENTS.rim, rims), ...numbered(NVIDIA_DOCUMENTS.ocsp, responses)]
  }

async function wordOfNras(
  evidence: GpuEvidence,
  genuine: GenuineGpuEvidence,
  { nras }: NvidiaSources,
): Promise<NamedDocuments> {
  const kinds = [...new Set(genuine.devices.map(({ kind }) => kind))]
  const answers = await Promise.all(
    kinds.map(async (kind) => {
      const { archive } = await nras({ evidence, genuine, kind })
      return [
        ...numbered(NVIDIA_DOCUMENTS.nras[kind], [archive.response]),
        [NVIDIA_DOCUMENTS.nrasKeys[kind], archive.jwks] as const,
      ]
    }),
  )
  return answers.flat()
}

/** Devices of one machine run the same firmware, so the names are few. */
function rimsFor({ devices }: GenuineGpuEvidence, { rim }: NvidiaSources): Promise<Bytes[]> {
  const ids = new Set(devices.flatMap((device) => rimIds(device).map(({ id }) => id)))
  return Promise.all([...ids].map(rim))
}

async function ocspFor(
  { devices }: GenuineGpuEvidence,
  rims: readonly Bytes[],
  policy: GpuPolicy,
  { ocsp, clock }: NvidiaSources,
): Promise<Bytes[]> {
  const roots = await gpuRoots(policy)
  const signers = await Promise.all(rims.map((rim) => verifyRim(rim, { now: clock.now(), roots })))
  const pairs = [
    ...devices.flatMap(({ chain }) => subjectsForRevocation(chain, 'device')),
    ...signers.flatMap(({ chain }) => subjectsForRevocation(chain, 'rim')),
  ]
  const distinct = new Map<string, Issued>(pairs.map((pair) => [pair.subject.sha256, pair]))
  return Promise.all([...distinct.values()].map(ocsp))
}
