import { kdsRoutes, type Bytes, type Clock } from '@vouchgate/attestation'
import { ChannelError } from '../../client/errors.ts'
import type { EvidenceFetch } from '../../client/evidence-fetch.ts'
import { TimedCache } from '../nvidia/cache.ts'
import { serviceFetch } from '../providers/service.ts'

/** What an SNP report's signature chains to. */
interface SnpEndorsements {
  /** DER of the VCEK. */
  readonly leaf: Bytes
  /** PEM of ASK and ARK. */
  readonly chain: Bytes
  /** DER of the ARK's CRL; null where it was not asked for. */
  readonly crl: Bytes | null
  /** The same by the paths that they were asked for at. */
  readonly answers: readonly (readonly [path: string, body: Bytes])[]
}

interface AmdQuestion {
  readonly report: Bytes
  readonly crl: boolean
}

/**
 * AMD's endorsements of the processor that a report names. Nothing is verified here.
 *
 * Rejects with `EvidenceError` where the report names no processor that AMD endorses, and with `ChannelError`
 * `endorsement_*` or `channel_*` where AMD cannot be asked.
 */
export type AmdSource = (question: AmdQuestion) => Promise<SnpEndorsements>

export interface AmdOptions {
  readonly url: string
  readonly fetch: EvidenceFetch
  readonly clock: Clock
}

const MAX_DOCUMENT = 1 << 16
/** A CRL of AMD holds for months. An hour is how late a revocation may be seen, and spares a service that throttles. */
const CERTIFICATE_SECONDS = 86_400
const CRL_SECONDS = 3600
const MAX_HELD = 256

export function amdService({ url, fetch, clock }: AmdOptions): AmdSource {
  const held = new TimedCache<Bytes>(clock, MAX_HELD)
  const ask = serviceFetch(url, fetch)
  const get = (path: string, seconds: number): Promise<Bytes> =>
    held.get(path, async () => {
      const value = await ask(path, MAX_DOCUMENT).catch((error: unknown) => {
        throw failure(error)
      })
      return { value, expiresAt: clock.now() + seconds }
    })
  return async ({ report, crl }) => {
    const routes = kdsRoutes(report)
    const [leaf, chain, list] = await Promise.all([
      get(routes.leaf, CERTIFICATE_SECONDS),
      get(routes.chain, CERTIFICATE_SECONDS),
      crl ? get(routes.crl, CRL_SECONDS) : null,
    ])
    const answers: [string, Bytes][] = [
      [routes.leaf, leaf],
      [routes.chain, chain],
    ]
    if (list !== null) answers.push([routes.crl, list])
    return { leaf, chain, crl: list, answers }
  }
}

function failure(error: unknown): unknown {
  if (!(error instanceof ChannelError)) return error
  const ours = error.code === 'report_unavailable' || error.code === 'report_too_large'
  return ours ? new ChannelError('endorsement_unavailable') : error
}
