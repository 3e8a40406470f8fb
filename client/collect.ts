import {
  encodeAciEvidence,
  fromHex,
  isNonce,
  parseCollateral,
  parseReport,
  toHex,
  type Bytes,
  type Clock,
  type Collateral,
  type ParsedReport,
} from '@vouchgate/attestation'
import type { CollateralSource, CollateralWeigh } from './collateral.ts'
import type { EvidenceFetch } from './evidence-fetch.ts'

const MAX_REPORT = 4 << 20

export interface Observation {
  /** SHA-256 of the key that the connection ended in on which the report was read. */
  readonly spkiSha256: Bytes
  /** The response body, byte for byte. */
  readonly report: Bytes
}

/**
 * Opens one connection, looks at its key and fetches the report on that same connection: with a second
 * one, the key that was seen and the service that answered could be two parties. Rejects with `ChannelError`.
 *
 * @param origin `https://host[:port]`
 * @param nonce 64 lower-case hex digits
 */
export async function observe(
  origin: string,
  nonce: string,
  fetch: EvidenceFetch,
): Promise<Observation> {
  if (!isNonce(nonce)) throw new TypeError('a nonce is 64 lower-case hex digits')
  const path = `/v1/aci/attestation?nonce=${nonce}`
  const { body, spkiSha256 } = await fetch({
    origin,
    path,
    maxBytes: MAX_REPORT,
  })
  if (spkiSha256 === null) throw new TypeError('the key of the connection was not looked at')
  return { spkiSha256, report: body }
}

export interface CollectInput {
  /** `https://host[:port]` */
  readonly origin: string
  /** Fresh, 64 lower-case hex digits. */
  readonly nonce: string
  /** Asked where the report carries no collateral. */
  readonly pcs: CollateralSource
  /** What to use where the report carries some. Default: that, since every piece of it is signed. */
  readonly weigh?: CollateralWeigh | undefined
  /** Looks at the key of the connection that it fetches on. */
  readonly fetch: EvidenceFetch
  readonly clock: Clock
}

/**
 * Everything one verification of an ACI/1 service consumes, as the bytes that `verifyEndpoint` judges now
 * and anyone can judge again later. Nothing is verified here.
 *
 * Collateral out of the report is signed by Intel like any other. It may be an older edition that still is valid,
 * which only a caller with a newer one can tell.
 *
 * @throws ChannelError where it cannot be collected, EvidenceError where the report cannot be read.
 */
export async function collectAci(input: CollectInput): Promise<Bytes> {
  const { origin, nonce, fetch, clock } = input
  const { spkiSha256, report } = await observe(origin, nonce, fetch)
  const { evidence } = parseReport(report).attestation
  return encodeAciEvidence({
    collected_at: clock.now(),
    origin,
    nonce,
    observed_spki_sha256: toHex(spkiSha256),
    report,
    collateral: await collateralOf(evidence, input),
  })
}

async function collateralOf(
  { quote: hex, collateral }: ParsedReport['attestation']['evidence'],
  { pcs, weigh }: CollectInput,
): Promise<Collateral> {
  const quote = fromHex(hex)
  if (collateral === undefined) return pcs(quote)
  const offered = parseCollateral(collateral)
  return weigh === undefined ? offered : weigh(quote, offered)
}
