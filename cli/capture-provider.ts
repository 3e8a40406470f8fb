import {
  parseProviderPolicy,
  PROVIDER_KINDS,
  TINFOIL_HARDWARE_REPOSITORY,
  type Bytes,
  type ProviderKind,
  type ProviderPolicy,
} from '@vouchgate/attestation'
import { replayedGpuDocuments } from '../client/capture-gpus.ts'
import {
  ClientError,
  replayedCollateral,
  replayedCertificate,
  replayedFetch,
  type Capture,
  type Exchange,
} from '../client/index.ts'
import { amdService } from '../src/amd/kds.ts'
import { KDS_URL, RELEASES_URL } from '../src/config/urls.ts'
import { releaseService } from '../src/providers/releases.ts'
import type { AttestedProvider } from '../src/config/index.ts'
import { isProviderId } from '../src/ids.ts'
import { ATTESTED_KINDS } from '../src/providers/kinds.ts'
import { Sensitive } from '../src/sensitive.ts'

/** Which kind a recorder meant by the name it gave a provider. */
const RECORDED_NAMES: ReadonlyMap<string, ProviderKind> = new Map<string, ProviderKind>([
  ['tinfoil_v3_cloud', 'tinfoil'],
  ['tinfoil_v3_direct', 'tinfoil'],
  ['neardirect', 'near-direct'],
  ['nearcloud', 'near-cloud'],
  // They pass the report of a node on that binds no TLS key of theirs.
  ['nanogpt', 'dstack-vllm'],
  ['phalacloud', 'dstack-vllm'],
  ['venice', 'dstack-vllm'],
  ...PROVIDER_KINDS.map((kind) => [kind, kind] as const),
])

/** Null where the capture names a provider of no known kind. */
export const kindOf = ({ provider }: Capture): ProviderKind | null =>
  RECORDED_NAMES.get(provider) ?? null

/**
 * Feeds the answers of a capture to the collector of a kind, which gathers from them what it would have gathered then.
 *
 * @returns the bytes that `appraiseEvidence` judges.
 */
export async function collectFromCapture(kind: ProviderKind, capture: Capture): Promise<Bytes> {
  const fetch = replayedFetch(unwrapped(capture))
  const clock = { now: () => capture.capturedAt }
  const amd = amdService({ url: KDS_URL, fetch, clock })
  return ATTESTED_KINDS[kind].collect(providerOf(kind, capture), {
    nonce: capture.nonce ?? '',
    clock,
    authorization: '',
    attested: fetch,
    web: fetch,
    certificate: replayedCertificate(capture),
    pcs: replayedCollateral(capture),
    amd: ({ report }) => amd({ report, crl: capture.exchanges.some(isCrl) }),
    releases: releaseService({ url: RELEASES_URL, fetch, clock }),
    gpus: ({ nonce }) => replayedGpuDocuments(capture, nonce),
  })
}

/** Where services that pass a node's report on serve it. */
const PASSED_ON = '/api/v1/tee/attestation'

/** As if the node had been asked itself: what it shows is the same, and whether that is enough is for the appraisal. */
const unwrapped = (capture: Capture): Capture => ({
  ...capture,
  exchanges: capture.exchanges.map((exchange) =>
    exchange.url.pathname === PASSED_ON
      ? { ...exchange, url: new URL(`/v1/attestation/report${exchange.url.search}`, exchange.url) }
      : exchange,
  ),
})
const isCrl = ({ url }: Exchange): boolean => /^\/vcek\/v1\/[A-Za-z]+\/crl$/.test(url.pathname)

/** What collects does not judge: everything a policy could ask for is gathered where it was recorded. */
const COLLECTING: ProviderPolicy = parseProviderPolicy({ tdx: { workload: 'any' } })

function providerOf(kind: ProviderKind, capture: Capture): AttestedProvider {
  const id = 'capture'
  if (!isProviderId(id)) throw new TypeError('not a provider id')
  return {
    kind,
    id,
    origin: reportExchange(capture).url.origin,
    apiKey: new Sensitive(''),
    policy: { ...COLLECTING, release: releaseOf(capture) },
    refreshSeconds: 600,
    model: capture.model,
    ...chuteOf(capture),
  }
}

/** The repository whose release was asked for beside that of the hardware; `any` where none was. */
function releaseOf({ exchanges }: Capture): ProviderPolicy['release'] {
  const asked = exchanges.map(({ url }) => LATEST_RELEASE.exec(url.pathname)?.[1])
  const repository = asked.find(
    (name) => name !== undefined && name !== TINFOIL_HARDWARE_REPOSITORY,
  )
  return repository === undefined ? 'any' : { repository, tags: 'any', trusted_root: 'public-good' }
}

const LATEST_RELEASE = /^\/repos\/([^/]+\/[^/]+)\/releases\/latest$/

/** The exchange in which the provider showed its evidence. */
function reportExchange({ exchanges }: Capture): Exchange {
  const found = exchanges.find(
    ({ method, url }) => method === 'TLS' || /attestation|evidence|^\/cpu$/.test(url.pathname),
  )
  if (found === undefined) throw new ClientError('capture_malformed')
  return found
}

/** The chute that was asked about stands in the path. */
function chuteOf(capture: Capture): { chuteId?: string } {
  const [, chuteId] =
    /^\/chutes\/([^/]+)\/evidence$/.exec(reportExchange(capture).url.pathname) ?? []
  return chuteId === undefined ? {} : { chuteId }
}
