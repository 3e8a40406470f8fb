import type { Bytes, UnixSeconds } from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import {
  bitString,
  concat,
  enumerated,
  explicit,
  generalizedTime,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
} from './der.ts'
import {
  authorityKeyId,
  ECDSA_WITH_SHA384,
  encodeExtension,
  issueAuthority,
  keyIdOf,
  newP384Key,
  SIGNING_EXTENSIONS,
  signDer384,
  subjectKeyId,
  type Certificate384,
  type CertificateFields384,
  type Extension384,
} from './nvidia-pki.ts'

/** OCSP responses in the form of NVIDIA's responder: a delegated signer, its key named by SHA-1, SHA-384 CertIDs. */
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9'
const NO_CHECK = '1.3.6.1.5.5.7.48.1.5'
const NONCE = '1.3.6.1.5.5.7.48.1.2'
const BASIC = '1.3.6.1.5.5.7.48.1.1'
const DAY = 86_400
const NULL = Uint8Array.of(0x05, 0)
const NOTHING = new Uint8Array(0)

const HASHES = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
} as const

export const extendedKeyUsage = (
  critical: boolean,
  ...usages: readonly string[]
): Extension384 => ({
  id: '2.5.29.37',
  critical,
  value: sequence(...usages.map((usage) => oid(usage))),
})

/** As `NVIDIA OCSP Responder L2 GH100 Identity` has them: usage critical, nocheck listed as one. */
export const RESPONDER_EXTENSIONS: readonly Extension384[] = [
  ...SIGNING_EXTENSIONS,
  extendedKeyUsage(true, OCSP_SIGNING, NO_CHECK),
]

/** A responder that `issuer` delegates to. */
export function issueResponder(
  issuer: Certificate384,
  changes: Partial<CertificateFields384> = {},
): Certificate384 {
  const key = newP384Key()
  return issueAuthority('NVIDIA OCSP Responder', issuer, {
    key,
    extensions: [...RESPONDER_EXTENSIONS, subjectKeyId(key), authorityKeyId(issuer.key)],
    ...changes,
  })
}

export interface Pair384 {
  readonly subject: Certificate384
  readonly issuer: Certificate384
}

export interface CertIdFields {
  readonly hash: keyof typeof HASHES
  readonly parameters: Uint8Array
  /** What the hashes are made of. */
  readonly issuerName: Uint8Array
  readonly issuerKey: Uint8Array
  readonly serial: Uint8Array
}

export function certIdOf({ subject, issuer }: Pair384, changes: Partial<CertIdFields> = {}): Bytes {
  const fields = {
    hash: 'sha384',
    parameters: NULL,
    issuerName: issuer.subject,
    issuerKey: issuer.key.point,
    serial: subject.serial,
    ...changes,
  } as const
  const { hash, parameters, issuerName, issuerKey, serial } = fields
  const digest = (bytes: Uint8Array): Bytes => octetString(createHash(hash).update(bytes).digest())
  return sequence(
    sequence(oid(HASHES[hash]), parameters),
    digest(issuerName),
    digest(issuerKey),
    integer(serial),
  )
}

/** CertStatus (RFC 6960 §4.2.1). */
export const OCSP_STATUS = {
  good: implicit(0, NOTHING),
  unknown: implicit(2, NOTHING),
  revoked: (at: UnixSeconds, reason: number | null): Bytes =>
    explicit(
      1,
      concat(generalizedTime(at), ...(reason === null ? [] : [explicit(0, enumerated(reason))])),
    ),
} as const

export const CERTIFICATE_HOLD = 6

const byKey = ({ key }: Certificate384): Bytes => explicit(2, octetString(keyIdOf(key)))
export const byName = ({ subject }: Certificate384): Bytes => explicit(1, subject)

export const nonceExtension = (nonce: Uint8Array, critical = false): Extension384 => ({
  id: NONCE,
  critical,
  value: octetString(nonce),
})

export interface SingleFields {
  readonly certId: Uint8Array
  readonly status: Uint8Array
  readonly thisUpdate: Uint8Array
  /** Inside its tag; null leaves it out. */
  readonly nextUpdate: Uint8Array | null
  readonly extensions: readonly Extension384[]
  /** Appended after everything else. */
  readonly more: readonly Uint8Array[]
}

const single = (fields: SingleFields): Bytes =>
  sequence(
    fields.certId,
    fields.status,
    fields.thisUpdate,
    ...(fields.nextUpdate === null ? [] : [explicit(0, fields.nextUpdate)]),
    ...extensionsOf(fields.extensions),
    ...fields.more,
  )

const extensionsOf = (extensions: readonly Extension384[]): Bytes[] =>
  extensions.length === 0 ? [] : [explicit(1, sequence(...extensions.map(encodeExtension)))]

export interface OcspFields {
  /** responseStatus. */
  readonly responseStatus: number
  readonly responseType: string
  /** Before the responder; none in version 1. */
  readonly version: readonly Uint8Array[]
  readonly responderId: Uint8Array
  readonly producedAt: Uint8Array
  /** One answer; several of them where a test gives more. */
  readonly answers: readonly Partial<SingleFields>[]
  readonly extensions: readonly Extension384[]
  readonly algorithm: Uint8Array
  /** Content of the BIT STRING over this tbsResponseData. */
  readonly signature: (tbs: Uint8Array) => Uint8Array
  readonly certificates: readonly Uint8Array[]
  /** Appended to the ResponseData, to the BasicOCSPResponse, after it, and to the ResponseBytes. */
  readonly more: Readonly<Partial<Record<'data' | 'basic' | 'after' | 'bytes', Uint8Array>>>
}

export interface OcspQuestion extends Pair384 {
  readonly responder: Certificate384
  /** producedAt and thisUpdate; nextUpdate is a day later. */
  readonly at: UnixSeconds
}

/** A response that says good, and whatever a test changes of it. */
export function ocspResponse(question: OcspQuestion, changes: Partial<OcspFields> = {}): Bytes {
  const { responder, at } = question
  const answer: SingleFields = {
    certId: certIdOf(question),
    status: OCSP_STATUS.good,
    thisUpdate: generalizedTime(at),
    nextUpdate: generalizedTime(at + DAY),
    extensions: [],
    more: [],
  }
  const fields: OcspFields = {
    responseStatus: 0,
    responseType: BASIC,
    version: [],
    responderId: byKey(responder),
    producedAt: generalizedTime(at),
    answers: [{}],
    extensions: [],
    algorithm: ECDSA_WITH_SHA384,
    signature: (tbs) => signDer384(responder.key, tbs),
    certificates: [responder.der],
    more: {},
    ...changes,
  }
  const tbs = sequence(
    ...fields.version,
    fields.responderId,
    fields.producedAt,
    sequence(...fields.answers.map((changed) => single({ ...answer, ...changed }))),
    ...extensionsOf(fields.extensions),
    fields.more.data ?? NOTHING,
  )
  return wrap(fields, tbs)
}

function wrap(fields: OcspFields, tbs: Uint8Array): Bytes {
  const { certificates, more } = fields
  const basic = sequence(
    tbs,
    fields.algorithm,
    bitString(fields.signature(tbs)),
    ...(certificates.length === 0 ? [] : [explicit(0, sequence(...certificates))]),
    more.basic ?? NOTHING,
  )
  const octets = octetString(concat(basic, more.after ?? NOTHING))
  const bytes = sequence(oid(fields.responseType), octets, more.bytes ?? NOTHING)
  return sequence(enumerated(fields.responseStatus), explicit(0, bytes))
}

/** A response without content: the answer to a request that is refused. */
export const ocspFailure = (responseStatus: number): Bytes => sequence(enumerated(responseStatus))

/** A chain in the form of a device's, leaf first and root last. */
export function deviceChain384(root: Certificate384): Certificate384[] {
  const identity = issueAuthority('NVIDIA GH100 Identity', root)
  const ica = issueAuthority('NVIDIA GH100 Provisioner ICA 1', identity)
  const brom = issueAuthority('GH100 A01 GSP BROM', ica)
  const leaf = issueAuthority('GH100 A01 GSP FMC LF', brom, { extensions: SIGNING_EXTENSIONS })
  return [leaf, brom, ica, identity, root]
}

/** A chain in the form of a signer of reference values, leaf first and root last. */
export function rimChain384(root: Certificate384): Certificate384[] {
  const l2 = issueAuthority('NVIDIA Reference Value GH100 CA', root)
  const l3 = issueAuthority('NVIDIA Reference Value L3 GH100 002', l2)
  const l4 = issueAuthority('HCC RIM L4 Signer', l3, { extensions: SIGNING_EXTENSIONS })
  return [l4, l3, l2, root]
}

/** Certificates with their issuers, the leaf's first. */
export const pairs384 = (chain: readonly Certificate384[]): Pair384[] =>
  chain.slice(1).map((issuer, at) => ({ subject: chain[at] ?? issuer, issuer }))

/** A good response for every certificate of a chain but its root, each by a responder of its issuer. */
export const ocspResponses = (chain: readonly Certificate384[], at: UnixSeconds): Bytes[] =>
  pairs384(chain).map((pair) =>
    ocspResponse({ ...pair, responder: issueResponder(pair.issuer), at }),
  )
