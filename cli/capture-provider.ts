import {
  parseProviderPolicy,
  PROVIDER_KINDS,
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
import type { AttestedProvider } from '../src/config/index.ts'
import { isProviderId } from '../src/ids.ts'
import { ATTESTED_KINDS } from '../src/providers/kinds.ts'
import { Sensitive } from '../src/sensitive.ts'

/** Which kind a recorder meant by the name it gave a provider. */
const RECORDED_NAMES: ReadonlyMap<string, ProviderKind> = new Map<string, ProviderKind>([
  ['neardirect', 'near-direct'],
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
  const fetch = replayedFetch(capture)
  return ATTESTED_KINDS[kind].collect(providerOf(kind, capture), {
    nonce: capture.nonce ?? '',
    clock: { now: () => capture.capturedAt },
    authorization: '',
    attested: fetch,
    web: fetch,
    certificate: replayedCertificate(capture),
    pcs: replayedCollateral(capture),
    gpus: ({ nonce }) => replayedGpuDocuments(capture, nonce),
  })
}

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
    policy: COLLECTING,
    refreshSeconds: 600,
    model: capture.model,
    ...chuteOf(capture),
  }
}

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
