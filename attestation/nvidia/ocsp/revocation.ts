import { toBase64, type Bytes, type UnixSeconds } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import { issuedPairs, type Issued, type NvidiaChain } from '../chain.ts'
import { parseOcspResponse, type OcspResponse } from './response.ts'
import { isAbout, judgeOcspResponse, type OcspVerdict } from './verify.ts'

export type ChainKind = 'device' | 'rim'

export interface RevocationInput {
  readonly chain: NvidiaChain
  readonly kind: ChainKind
  /** In any order; what is about certificates of other chains is passed over. */
  readonly responses: readonly Uint8Array[]
  readonly now: UnixSeconds
  /**
   * What was sent with each request, by the SHA-256 of the certificate (hex); one that is not listed then refuses.
   * Left out, the responses are taken as stapled: their times alone limit their age.
   */
  readonly nonces?: ReadonlyMap<string, Bytes>
}

export interface CertificateRevocation extends OcspVerdict {
  readonly commonName: string | null
}

/** Every certificate of a chain that can be asked for is good, or on hold. */
export interface RevocationResult {
  /** In the order of the chain. */
  readonly certificates: readonly CertificateRevocation[]
  /** When the first of the responses expires. */
  readonly nextUpdate: UnixSeconds
}

/**
 * The certificates to ask for. Not the root, which is pinned, and not the leaf of a device: it is a key of one
 * firmware under the certificate of the chip, and NVIDIA's responder is not authorised to answer for it.
 */
export const subjectsForRevocation = (
  { certificates }: NvidiaChain,
  kind: ChainKind,
): readonly Issued[] => issuedPairs(certificates).slice(kind === 'device' ? 1 : 0)

/**
 * Demands exactly one response for each certificate of a verified chain that can be asked for. Whether signers of
 * reference values may be on hold is a policy; a device never may.
 *
 * @throws EvidenceError `ocsp_missing`, `ocsp_ambiguous`, and what `verifyOcspResponse` throws.
 */
export async function checkRevocation(input: RevocationInput): Promise<RevocationResult> {
  const { chain, kind } = input
  const distinct = new Map(input.responses.map((der) => [toBase64(der), der]))
  const responses = await Promise.all([...distinct.values()].map(parseOcspResponse))
  const certificates = await Promise.all(
    subjectsForRevocation(chain, kind).map((pair) => statusOf(pair, responses, input)),
  )
  // A chain of which nothing is asked would pass for nothing.
  if (certificates.length === 0) throw new EvidenceError('ocsp_missing')
  const nextUpdate = Math.min(...certificates.map((certificate) => certificate.nextUpdate))
  return { certificates, nextUpdate }
}

async function statusOf(
  pair: Issued,
  responses: readonly OcspResponse[],
  { kind, now, nonces }: RevocationInput,
): Promise<CertificateRevocation> {
  const about = await Promise.all(responses.map((response) => isAbout(response, pair)))
  const [response, ...others] = responses.filter((_, index) => about[index])
  if (response === undefined) throw new EvidenceError('ocsp_missing')
  if (others.length > 0) throw new EvidenceError('ocsp_ambiguous')
  const nonce = nonces === undefined ? 'stapled' : nonces.get(pair.subject.sha256)
  if (nonce === undefined) throw new EvidenceError('ocsp_nonce_mismatch')
  const verdict = await judgeOcspResponse(response, { ...pair, now, nonce })
  if (verdict.state === 'hold' && kind === 'device') {
    throw new EvidenceError('certificate_revoked', 'gpu_revocation')
  }
  return { commonName: pair.subject.commonName, ...verdict }
}
