import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import type { Bytes, UnixSeconds } from '@vouchgate/attestation'
import {
  bitString,
  boolean,
  concat,
  enumerated,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts'

/**
 * Certificates and CRLs in the exact form of Intel's SGX PKI, and the self-signed certificate of a TLS server.
 *
 * SIMULATED ROOTS. The names are Intel's because verifiers check them; the keys are made here, so no policy
 * but one that names this very root accepts anything that these functions sign.
 */
export interface SigningKey {
  readonly privateKey: KeyObject
  readonly spki: Bytes
  /** x ‖ y */
  readonly point: Bytes
  /** RFC 5280 §4.2.1.2, method 1. */
  readonly keyId: Bytes
}

const SPKI_PREFIX_LENGTH = 27

/** A fresh ECDSA P-256 key. */
export function newSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = Uint8Array.from(publicKey.export({ type: 'spki', format: 'der' }))
  const point = spki.slice(SPKI_PREFIX_LENGTH)
  const keyId = Uint8Array.from(createHash('sha1').update(Uint8Array.of(4)).update(point).digest())
  return { privateKey, spki, point, keyId }
}

/** ECDSA P-256 / SHA-256 as raw r ‖ s, the form of quotes and of Intel's JSON documents. */
export const signRaw = (key: SigningKey, message: Uint8Array): Bytes =>
  Uint8Array.from(sign('sha256', message, { key: key.privateKey, dsaEncoding: 'ieee-p1363' }))

const signDer = (key: SigningKey, message: Uint8Array): Bytes =>
  Uint8Array.from(sign('sha256', message, { key: key.privateKey, dsaEncoding: 'der' }))

export const ECDSA_WITH_SHA256: Bytes = sequence(oid('1.2.840.10045.4.3.2'))

const attribute = (type: string, value: Bytes): Bytes => set(sequence(oid(type), value))

/** CN, O, L, ST, C in the order and the string types of Intel's certificates. */
export function intelName(commonName: string): Bytes {
  return sequence(
    attribute('2.5.4.3', utf8String(commonName)),
    attribute('2.5.4.10', utf8String('Intel Corporation')),
    attribute('2.5.4.7', utf8String('Santa Clara')),
    attribute('2.5.4.8', utf8String('CA')),
    attribute('2.5.4.6', printableString('US')),
  )
}

interface Extension {
  readonly oid: string
  readonly critical: boolean
  readonly value: Uint8Array
}

const encodeExtension = ({ oid: id, critical, value }: Extension): Bytes =>
  sequence(oid(id), ...(critical ? [boolean(true)] : []), octetString(value))

const authorityKeyIdentifier = (keyId: Uint8Array): Extension => ({
  oid: '2.5.29.35',
  critical: false,
  value: sequence(implicit(0, keyId)),
})

/** Bits of the first byte of keyUsage (RFC 5280 §4.2.1.3). */
export const KEY_USAGE = { signing: 0xc0, certifying: 0x06 } as const

/** Every field of a certificate; null leaves an extension out. */
export interface CertificateFields {
  /** DER names. */
  readonly subject: Uint8Array
  readonly issuer: Uint8Array
  /** Big-endian magnitude. */
  readonly serial: Uint8Array
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  readonly key: SigningKey
  readonly signer: SigningKey
  readonly innerAlgorithm: Uint8Array
  readonly outerAlgorithm: Uint8Array
  readonly authorityKeyId: Uint8Array | null
  readonly subjectKeyId: Uint8Array | null
  readonly crlUrl: string | null
  readonly keyUsage: number | null
  readonly constraints: { readonly ca: boolean; readonly pathLength: number | null } | null
  /** Value of extension 1.2.840.113741.1.13.1. */
  readonly sgxExtension: Uint8Array | null
  /** Appended after all others. */
  readonly extensions: readonly Extension[]
}

export interface IssuedCertificate {
  readonly der: Bytes
  /** Lines of 64, ends with a line feed. */
  readonly pem: string
  readonly serial: Uint8Array
  readonly subject: Uint8Array
  readonly key: SigningKey
}

export const SGX_EXTENSION_OID = '1.2.840.113741.1.13.1'

function certificateExtensions(fields: CertificateFields): Extension[] {
  const { authorityKeyId, subjectKeyId, crlUrl, keyUsage, constraints, sgxExtension } = fields
  const list: Extension[] = []
  const add = (id: string, critical: boolean, value: Uint8Array): void => {
    list.push({ oid: id, critical, value })
  }
  if (authorityKeyId !== null) list.push(authorityKeyIdentifier(authorityKeyId))
  if (crlUrl !== null) {
    const location = implicit(6, Buffer.from(crlUrl))
    add('2.5.29.31', false, sequence(sequence(explicit(0, explicit(0, location)))))
  }
  if (subjectKeyId !== null) add('2.5.29.14', false, octetString(subjectKeyId))
  if (keyUsage !== null) add('2.5.29.15', true, encodeKeyUsage(keyUsage))
  if (constraints !== null) {
    const { ca, pathLength } = constraints
    const parts = ca ? [boolean(true)] : []
    if (pathLength !== null) parts.push(integer(pathLength))
    add('2.5.29.19', true, sequence(...parts))
  }
  if (sgxExtension !== null) add(SGX_EXTENSION_OID, false, sgxExtension)
  return [...list, ...fields.extensions]
}

/** A named bit list: trailing zero bits are not written (X.690 §11.2.2). */
function encodeKeyUsage(bits: number): Bytes {
  if (bits === 0) return bitString(new Uint8Array(0))
  return bitString(Uint8Array.of(bits), Math.log2(bits & -bits))
}

export function issueCertificate(fields: CertificateFields): IssuedCertificate {
  const { subject, serial, key } = fields
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(serial),
    fields.innerAlgorithm,
    fields.issuer,
    sequence(time(fields.notBefore), time(fields.notAfter)),
    subject,
    key.spki,
    explicit(3, sequence(...certificateExtensions(fields).map(encodeExtension))),
  )
  const der = sequence(tbs, fields.outerAlgorithm, bitString(signDer(fields.signer, tbs)))
  return { der, pem: toPem(der, 'CERTIFICATE'), serial, subject, key }
}

export function toPem(der: Uint8Array, label: string): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

/** Every field of a CRL; null leaves it out. */
export interface CrlFields {
  readonly issuer: Uint8Array
  readonly signer: SigningKey
  readonly thisUpdate: UnixSeconds
  readonly nextUpdate: UnixSeconds | null
  /** Serials as big-endian magnitudes. */
  readonly revoked: readonly Uint8Array[]
  readonly crlNumber: number | null
  readonly authorityKeyId: Uint8Array | null
  /** Appended to the CRL's own extensions. */
  readonly extensions: readonly Extension[]
  /** Appended to the extensions of every entry. */
  readonly entryExtensions: readonly Extension[]
  readonly innerAlgorithm: Uint8Array
  readonly outerAlgorithm: Uint8Array
}

const KEY_COMPROMISE: Extension = { oid: '2.5.29.21', critical: false, value: enumerated(1) }

export function issueCrl(fields: CrlFields): Bytes {
  const { crlNumber, authorityKeyId, revoked, nextUpdate } = fields
  const extensions = [...fields.extensions]
  if (authorityKeyId !== null) extensions.unshift(authorityKeyIdentifier(authorityKeyId))
  if (crlNumber !== null) {
    extensions.unshift({ oid: '2.5.29.20', critical: false, value: integer(crlNumber) })
  }
  const reasons = sequence(...[KEY_COMPROMISE, ...fields.entryExtensions].map(encodeExtension))
  const entries = revoked.map((serial) =>
    sequence(integer(serial), time(fields.thisUpdate), reasons),
  )
  const tbs = sequence(
    integer(1),
    fields.innerAlgorithm,
    fields.issuer,
    time(fields.thisUpdate),
    ...(nextUpdate === null ? [] : [time(nextUpdate)]),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    ...(extensions.length === 0 ? [] : [explicit(0, sequence(...extensions.map(encodeExtension)))]),
  )
  return sequence(tbs, fields.outerAlgorithm, bitString(signDer(fields.signer, tbs)))
}

export interface TlsIdentity {
  /** PEM, PKCS #8. */
  readonly key: string
  readonly cert: string
  /** Hex of SHA-256 over the SubjectPublicKeyInfo. */
  readonly spkiSha256: string
}

const FOREVER = { notBefore: 1_514_764_800, notAfter: 2_493_072_000 } as const

/** A certificate for no more than the key that signed it, of P-256, valid for decades. */
export const selfSigned = (
  key: SigningKey,
  { subject, ...fields }: Pick<CertificateFields, 'subject'> & Partial<CertificateFields>,
): IssuedCertificate =>
  issueCertificate({
    ...FOREVER,
    subject,
    issuer: subject,
    serial: key.keyId,
    key,
    signer: key,
    innerAlgorithm: ECDSA_WITH_SHA256,
    outerAlgorithm: ECDSA_WITH_SHA256,
    authorityKeyId: null,
    subjectKeyId: key.keyId,
    crlUrl: null,
    keyUsage: KEY_USAGE.signing,
    constraints: { ca: false, pathLength: null },
    sgxExtension: null,
    extensions: [],
    ...fields,
  })

/** A fresh self-signed TLS certificate for 127.0.0.1 and localhost; only its key ever matters. */
export function newTlsIdentity(): TlsIdentity {
  const key = newSigningKey()
  const name = sequence(attribute('2.5.4.3', utf8String('localhost')))
  const alternatives = sequence(
    implicit(2, Buffer.from('localhost')),
    implicit(7, Uint8Array.of(127, 0, 0, 1)),
  )
  const { pem } = selfSigned(key, {
    subject: name,
    extensions: [{ oid: '2.5.29.17', critical: false, value: alternatives }],
  })
  return {
    key: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: pem,
    spkiSha256: createHash('sha256').update(key.spki).digest('hex'),
  }
}
