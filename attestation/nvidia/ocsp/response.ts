import { sha256, toBase64, toHex, type Bytes, type UnixSeconds } from '../../bytes.ts'
import { DER, derContent, derElements, derOid, derUnsigned, type DerElement } from '../../der.ts'
import { EvidenceError, type EvidenceErrorCode } from '../../errors.ts'
import { Memo } from '../../memo.ts'
import { SignedMessage, verifyP384 } from '../../signature.ts'
import { parseTime } from '../../time.ts'
import {
  derTime,
  explicit,
  extensionList,
  rawSignature,
  type Extension,
} from '../../x509-signed.ts'
import {
  ECDSA_WITH_SHA384,
  parseNvidiaCertificate,
  type NvidiaCertificate,
} from '../certificate.ts'

export type OcspStatus = 'good' | 'hold' | 'revoked' | 'unknown'

/** A basic OCSP response that has been read, and nothing more. It holds one answer. */
export interface OcspResponse {
  /** Of the whole response, hex. */
  readonly sha256: string
  /** The name (DER) or the SHA-1 of the key of who signed it. */
  readonly responder: { readonly name: Uint8Array } | { readonly keySha1: Uint8Array }
  /** The certificates it brings along. */
  readonly certificates: readonly NvidiaCertificate[]
  readonly producedAt: UnixSeconds
  /** DER of the CertID that it is about. */
  readonly certId: Uint8Array
  readonly status: OcspStatus
  readonly thisUpdate: UnixSeconds
  /** Null where it states none, so that it would never go stale. */
  readonly nextUpdate: UnixSeconds | null
  /** Value of the nonce extension, or null. */
  readonly nonce: Uint8Array | null
  /** Of the response or of its answer. */
  readonly unknownCritical: boolean
  readonly isSignedBy: (p384: Bytes | null) => Promise<boolean>
}

const CODE = 'ocsp_malformed'
const MAX_BYTES = 1 << 16
const MAX_CERTIFICATES = 4
const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1'
const NONCE = '1.3.6.1.5.5.7.48.1.2'
const TAG = { good: 0x80, unknown: 0x82 } as const
const CERTIFICATE_HOLD = 6
/** Of RFC 6960 §4.2.1; the others are failures of the responder. */
const STATUSES: Readonly<Record<number, EvidenceErrorCode>> = {
  3: 'ocsp_try_later',
  6: 'ocsp_unauthorized',
}

/**
 * Reads an OCSPResponse (RFC 6960 §4.2) that is successful, basic, signed with ecdsa-with-SHA384 and about one
 * certificate. Throws `ocsp_malformed` and the `ocsp_*` codes that say which of these does not hold.
 */
export async function parseOcspResponse(bytes: Uint8Array): Promise<OcspResponse> {
  if (bytes.length > MAX_BYTES) throw new EvidenceError(CODE)
  // What is read now and what is hashed and verified later must be the same.
  const der = Uint8Array.from(bytes)
  return known.get(toBase64(der), () => readResponse(der))
}

/** One set of responses is judged for the chain of every device, and again in every round of a day. */
const known = new Memo<Promise<OcspResponse>>(256)

async function readResponse(der: Bytes): Promise<OcspResponse> {
  const [data, algorithm, signature, tagged] = basicResponse(der)
  if (toHex(derContent(algorithm, DER.sequence, CODE)) !== ECDSA_WITH_SHA384) {
    throw new EvidenceError('ocsp_algorithm_unsupported')
  }
  const bits = derContent(signature, DER.bitString, CODE)
  const raw = rawSignature(bits, 48, 'ocsp_signature_malformed')
  // The bytes that came, not a second encoding of what was read from them.
  const signed = new SignedMessage(raw, data.bytes, verifyP384)
  const fields = responseData(data)
  const certificates = await Promise.all(certificateList(tagged).map(responderCertificate))
  return {
    ...fields,
    sha256: toHex(await sha256(der)),
    certificates,
    isSignedBy: (p384) => signed.isSignedBy(p384),
  }
}

/** The elements of the BasicOCSPResponse. */
function basicResponse(der: Uint8Array): [data: DerElement, ...rest: DerElement[]] {
  const [outer, ...trailing] = derElements(der, CODE)
  const [status, tagged, ...rest] = sequence(outer)
  const code = derUnsigned(derContent(status, DER.enumerated, CODE), 255, CODE)
  if (trailing.length > 0 || rest.length > 0) throw new EvidenceError(CODE)
  if (code !== 0) throw new EvidenceError(STATUSES[code] ?? 'ocsp_status_unsuccessful')
  const [type, bytes, ...more] = sequence(explicit(tagged, DER.context0, CODE))
  if (derOid(derContent(type, DER.oid, CODE), CODE) !== BASIC_RESPONSE) {
    throw new EvidenceError('ocsp_type_unsupported')
  }
  const [basic, ...after] = derElements(derContent(bytes, DER.octetString, CODE), CODE)
  const [data, ...parts] = sequence(basic)
  if (data === undefined || more.length > 0 || after.length > 0 || parts.length > 3) {
    throw new EvidenceError(CODE)
  }
  return [data, ...parts]
}

/** Version 1 is the default and therefore not written; no other is known. */
function responseData(data: DerElement) {
  const [responder, producedAt, answers, tagged, ...rest] = sequence(data)
  if (rest.length > 0) throw new EvidenceError(CODE)
  const [answer, ...others] = sequence(answers)
  // Of two answers, two readers could heed different ones.
  if (answer === undefined || others.length > 0) throw new EvidenceError('ocsp_answer_count')
  const single = singleResponse(answer)
  const extensions = extensionsOf(tagged)
  return {
    ...single,
    responder: responderId(responder),
    producedAt: timeOf(producedAt),
    nonce: extensions.find(({ oid }) => oid === NONCE)?.value ?? null,
    unknownCritical: single.unknownCritical || extensions.some(isUnknownCritical),
  }
}

const isUnknownCritical = ({ oid, critical }: Extension): boolean => critical && oid !== NONCE

function responderId(element: DerElement | undefined): OcspResponse['responder'] {
  if (element?.tag === DER.context1) return { name: element.content }
  const key = explicit(element, DER.context2, CODE)
  return { keySha1: derContent(key, DER.octetString, CODE) }
}

function singleResponse(answer: DerElement) {
  const [certId, status, thisUpdate, ...rest] = sequence(answer)
  const nextUpdate = rest[0]?.tag === DER.context0 ? rest.shift() : undefined
  const tagged = rest.shift()
  if (certId === undefined || rest.length > 0) throw new EvidenceError(CODE)
  return {
    certId: certId.bytes,
    status: statusOf(status),
    thisUpdate: timeOf(thisUpdate),
    nextUpdate: nextUpdate === undefined ? null : timeOf(explicit(nextUpdate, DER.context0, CODE)),
    unknownCritical: extensionsOf(tagged).some(({ critical }) => critical),
  }
}

/** CertStatus: NULL for good and unknown, RevokedInfo with a reason or none. */
function statusOf(element: DerElement | undefined): OcspStatus {
  if (element?.tag === DER.context1) return revocation(element)
  if (element?.content.length !== 0) throw new EvidenceError(CODE)
  if (element.tag === TAG.good) return 'good'
  if (element.tag === TAG.unknown) return 'unknown'
  throw new EvidenceError(CODE)
}

function revocation({ content }: DerElement): OcspStatus {
  const [time, tagged, ...rest] = derElements(content, CODE)
  timeOf(time)
  if (rest.length > 0) throw new EvidenceError(CODE)
  if (tagged === undefined) return 'revoked'
  const reason = explicit(tagged, DER.context0, CODE)
  const value = derUnsigned(derContent(reason, DER.enumerated, CODE), 255, CODE)
  return value === CERTIFICATE_HOLD ? 'hold' : 'revoked'
}

/** `[0] EXPLICIT SEQUENCE OF Certificate`, or none. */
function certificateList(tagged: DerElement | undefined): DerElement[] {
  if (tagged === undefined) return []
  const certificates = sequence(explicit(tagged, DER.context0, CODE))
  if (certificates.length > MAX_CERTIFICATES) throw new EvidenceError(CODE)
  return certificates
}

const responderCertificate = ({ bytes }: DerElement): Promise<NvidiaCertificate> =>
  parseNvidiaCertificate(bytes).catch((error: unknown) => {
    throw error instanceof EvidenceError ? new EvidenceError(CODE) : error
  })

/** `[1] EXPLICIT Extensions`, or none. */
const extensionsOf = (tagged: DerElement | undefined): readonly Extension[] =>
  tagged === undefined ? [] : extensionList(explicit(tagged, DER.context1, CODE), CODE)

const sequence = (element: DerElement | undefined): DerElement[] =>
  derElements(derContent(element, DER.sequence, CODE), CODE)

/** GeneralizedTime, the only form here. */
function timeOf(element: DerElement | undefined): UnixSeconds {
  derContent(element, DER.generalizedTime, CODE)
  return parseTime(derTime(element, CODE))
}
