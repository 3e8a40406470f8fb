import { equalBytes, type Bytes, type UnixSeconds } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import type { Issued } from '../chain.ts'
import { certIds } from './cert-id.ts'
import { nonceValue } from './request.ts'
import { verifyResponder } from './responder.ts'
import { parseOcspResponse, type OcspResponse, type OcspStatus } from './response.ts'

export interface OcspInput extends Issued {
  readonly now: UnixSeconds
  /** What was sent with the request; `stapled` where another party asked, so that only the times limit the age. */
  readonly nonce: Bytes | 'stapled'
}

/** What an authentic response says at the time it was judged for. */
export interface OcspVerdict {
  /** `hold` is a revocation that can be taken back; NVIDIA puts it on signers of unreleased reference values. */
  readonly state: 'good' | 'hold'
  readonly producedAt: UnixSeconds
  readonly thisUpdate: UnixSeconds
  readonly nextUpdate: UnixSeconds
  /** Of the response, hex. */
  readonly sha256: string
  /** Of the certificate that it is about, hex. */
  readonly certificateSha256: string
}

/** The responder's clock may be ahead of ours by this much. */
const CLOCK_SKEW_SECONDS = 300

/**
 * One response about `subject`, whose chain has been verified: RFC 6960 §3.2 and NVIDIA's profile of it.
 *
 * @throws EvidenceError `ocsp_*`, `certificate_revoked`, `certificate_critical_extension`, all with the step
 * `gpu_revocation`, and `time_malformed`.
 */
export const verifyOcspResponse = async (der: Uint8Array, input: OcspInput): Promise<OcspVerdict> =>
  judgeOcspResponse(await parseOcspResponse(der), input)

/** The same for a response that has been read. */
export async function judgeOcspResponse(
  response: OcspResponse,
  input: OcspInput,
): Promise<OcspVerdict> {
  const { subject, issuer, now, nonce } = input
  // 1. It is about this certificate.
  if (!(await isAbout(response, input))) throw new EvidenceError('ocsp_certificate_mismatch')
  // 2. Its responder is the issuer of the certificate, or was authorised by it.
  const responder = await verifyResponder(response, issuer, now)
  // 3. The responder signed it.
  if (!(await response.isSignedBy(responder.p384))) {
    throw new EvidenceError('ocsp_signature_invalid')
  }
  // 4. Nothing in it that must be understood is not.
  if (response.unknownCritical) throw new EvidenceError('ocsp_extension_unsupported')
  // 5. It holds now.
  const nextUpdate = checkTimes(response, now)
  // 6. It answers our question, where we asked.
  if (nonce !== 'stapled') checkNonce(response, nonce)
  // 7. It does not speak against the certificate.
  const state = stateOf(response.status)
  const { producedAt, thisUpdate, sha256 } = response
  return { state, producedAt, thisUpdate, nextUpdate, sha256, certificateSha256: subject.sha256 }
}

/** Whether a response is about the subject, whatever it says. */
export async function isAbout({ certId }: OcspResponse, pair: Issued): Promise<boolean> {
  const names = await certIds(pair)
  return names.some((name) => equalBytes(name, certId))
}

/** Without a nextUpdate an old answer would hold for ever. */
function checkTimes(response: OcspResponse, now: UnixSeconds): UnixSeconds {
  const { thisUpdate, producedAt, nextUpdate } = response
  if (nextUpdate === null) throw new EvidenceError('ocsp_next_update_missing')
  const latest = now + CLOCK_SKEW_SECONDS
  const holds = thisUpdate <= latest && producedAt <= latest && now <= nextUpdate
  if (!holds) throw new EvidenceError('ocsp_not_valid_now')
  return nextUpdate
}

/** A response without our nonce may be an old one from before the revocation. */
function checkNonce({ nonce }: OcspResponse, sent: Bytes): void {
  if (nonce === null || !equalBytes(nonce, nonceValue(sent))) {
    throw new EvidenceError('ocsp_nonce_mismatch')
  }
}

function stateOf(status: OcspStatus): 'good' | 'hold' {
  if (status === 'unknown') throw new EvidenceError('ocsp_status_unknown')
  if (status === 'revoked') throw new EvidenceError('certificate_revoked', 'gpu_revocation')
  return status
}
