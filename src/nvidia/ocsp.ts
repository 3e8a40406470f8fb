import {
  EvidenceError,
  ocspRequest,
  verifyOcspResponse,
  type Bytes,
  type Clock,
  type EvidenceErrorCode,
  type Issued,
  type OcspInput,
  type OcspVerdict,
} from '@vouchgate/attestation'
import type { Random } from '../ids.ts'
import { TimedCache } from './cache.ts'
import { fetchNvidia, NvidiaAnswerRefused, type NvidiaService } from './fetch.ts'

/** The OCSP response about a certificate that its issuer's chain has proven, as bytes that anyone can judge again. */
export type OcspSource = (pair: Issued) => Promise<Bytes>

export interface OcspOptions {
  readonly service: NvidiaService
  readonly clock: Clock
  readonly random: Random
}

const MAX_RESPONSE = 1 << 16
const NONCE_LENGTH = 32
/** A revocation is published long before the response from before it ends. */
const MAX_AGE_SECONDS = 12 * 3600
const MAX_HELD = 256
/** What the responder signed about this very certificate. */
const STATEMENTS: ReadonlySet<EvidenceErrorCode> = new Set([
  'certificate_revoked',
  'ocsp_status_unknown',
])

/**
 * OCSP responses from NVIDIA's responder, asked with a nonce of their own each, verified before they are held, and held
 * until their nextUpdate or for twelve hours.
 *
 * Rejects with `EvidenceError` `certificate_revoked` or `ocsp_status_unknown` where the responder says so, and with
 * `ChannelError` (`nvidia_*`, `ocsp_answer_refused`) where there is no authentic answer: no answer is never a good one.
 */
export function ocspService(options: OcspOptions): OcspSource {
  const cache = new TimedCache<Bytes>(options.clock, MAX_HELD)
  return (pair) =>
    cache.get(`${pair.issuer.sha256} ${pair.subject.sha256}`, () => ask(pair, options))
}

async function ask(pair: Issued, { service, clock, random }: OcspOptions) {
  const nonce = Uint8Array.from(random(NONCE_LENGTH))
  const value = await fetchNvidia({
    clock,
    ...service,
    body: await ocspRequest({ ...pair, nonce }),
    headers: {
      'content-type': 'application/ocsp-request',
      accept: 'application/ocsp-response',
    },
    maxBytes: MAX_RESPONSE,
  })
  const now = clock.now()
  const { nextUpdate } = await verified(value, { ...pair, now, nonce })
  return { value, expiresAt: Math.min(nextUpdate, now + MAX_AGE_SECONDS) }
}

async function verified(response: Bytes, input: OcspInput): Promise<OcspVerdict> {
  try {
    return await verifyOcspResponse(response, input)
  } catch (error) {
    if (!(error instanceof EvidenceError) || STATEMENTS.has(error.code)) throw error
    throw new NvidiaAnswerRefused('ocsp_answer_refused', error.code)
  }
}
