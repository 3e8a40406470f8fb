import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { toHex, type Bytes, type NvidiaRoots, type UnixSeconds } from '@vouchgate/attestation'
import {
  bitString,
  boolean,
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
import { toPem } from './pki.ts'

/**
 * Certificates in the form of NVIDIA's hierarchies: ECDSA P-384 / SHA-384 throughout.
 *
 * SIMULATED ROOTS. Policies that trust NVIDIA pin NVIDIA's root certificates, so nothing here is accepted by them.
 */
export interface P384Key {
  readonly privateKey: KeyObject
  readonly spki: Bytes
  /** Uncompressed, 97 bytes. */
  readonly point: Bytes
}

const POINT_LENGTH = 97

export function newP384Key(namedCurve = 'P-384'): P384Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve })
  const spki = Uint8Array.from(publicKey.export({ type: 'spki', format: 'der' }))
  return { privateKey, spki, point: spki.slice(-POINT_LENGTH) }
}

/** ECDSA P-384 / SHA-384 as raw r ‖ s, the form of device reports and XML signatures. */
export const signRaw384 = ({ privateKey }: P384Key, message: Uint8Array): Bytes =>
  Uint8Array.from(sign('sha384', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }))

/** The same as DER, the form of certificates and OCSP responses. */
export const signDer384 = ({ privateKey }: P384Key, message: Uint8Array): Bytes =>
  Uint8Array.from(sign('sha384', message, { key: privateKey, dsaEncoding: 'der' }))

export const ECDSA_WITH_SHA384: Bytes = sequence(oid('1.2.840.10045.4.3.3'))

const attribute = (type: string, value: Bytes): Bytes => set(sequence(oid(type), value))

/** CN, O, and before them the serial number of a device where one is given. */
export const nvidiaName = (commonName: string, serialNumber?: string): Bytes =>
  sequence(
    ...(serialNumber === undefined ? [] : [attribute('2.5.4.5', printableString(serialNumber))]),
    attribute('2.5.4.3', utf8String(commonName)),
    attribute('2.5.4.10', utf8String('NVIDIA Corporation')),
  )

export interface Extension384 {
  readonly id: string
  readonly critical?: boolean
  readonly value: Uint8Array
}

export const encodeExtension = ({ id, critical, value }: Extension384): Bytes =>
  sequence(oid(id), ...(critical === true ? [boolean(true)] : []), octetString(value))

/** keyCertSign and cRLSign. */
export const caExtensions = (pathLength: number | null = null): Extension384[] => [
  {
    id: '2.5.29.19',
    critical: true,
    value: sequence(boolean(true), ...(pathLength === null ? [] : [integer(pathLength)])),
  },
  { id: '2.5.29.15', critical: true, value: bitString(Uint8Array.of(0x06), 1) },
]

/** digitalSignature, and no basicConstraints, as device leaves have it. */
export const SIGNING_EXTENSIONS: readonly Extension384[] = [
  { id: '2.5.29.15', critical: true, value: bitString(Uint8Array.of(0x80), 7) },
]

export interface CertificateFields384 {
  readonly subject: Uint8Array
  readonly issuer: Uint8Array
  /** Big-endian magnitude. */
  readonly serial: Uint8Array
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  readonly key: P384Key
  readonly signer: P384Key
  readonly innerAlgorithm?: Uint8Array
  readonly outerAlgorithm?: Uint8Array
  readonly extensions: readonly Extension384[]
}

export interface Certificate384 {
  readonly der: Bytes
  readonly pem: string
  readonly subject: Uint8Array
  readonly serial: Uint8Array
  readonly key: P384Key
}

export function issueCertificate384(fields: CertificateFields384): Certificate384 {
  const { subject, serial, key } = fields
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(serial),
    fields.innerAlgorithm ?? ECDSA_WITH_SHA384,
    fields.issuer,
    sequence(time(fields.notBefore), time(fields.notAfter)),
    subject,
    key.spki,
    explicit(3, sequence(...fields.extensions.map(encodeExtension))),
  )
  const signature = signDer384(fields.signer, tbs)
  const der = sequence(tbs, fields.outerAlgorithm ?? ECDSA_WITH_SHA384, bitString(signature))
  return { der, pem: toPem(der, 'CERTIFICATE'), subject, serial, key }
}

/** 2021-01-01 to 9999-12-31, as device certificates have it. */
export const LONG: { readonly notBefore: UnixSeconds; readonly notAfter: UnixSeconds } = {
  notBefore: 1_609_459_200,
  notAfter: 253_402_300_799,
}

let issued = 0
/** A serial number not given before. */
export const nextSerial = (): Bytes => Uint8Array.of(0x4e, ++issued >> 8, issued & 0xff)

/** An authority under `issuer`, or a root where there is none. */
export function issueAuthority(
  commonName: string,
  issuer: Certificate384 | null,
  changes: Partial<CertificateFields384> = {},
): Certificate384 {
  const key = newP384Key()
  const subject = nvidiaName(commonName)
  return issueCertificate384({
    ...LONG,
    subject,
    issuer: issuer?.subject ?? subject,
    serial: nextSerial(),
    key,
    signer: issuer?.key ?? key,
    extensions: caExtensions(),
    ...changes,
  })
}

/** The two roots, and the anchors that trust them. */
export interface NvidiaPki {
  readonly deviceRoot: Certificate384
  readonly rimRoot: Certificate384
  readonly roots: NvidiaRoots
}

export function newNvidiaPki(): NvidiaPki {
  const deviceRoot = issueAuthority('NVIDIA Device Identity CA', null)
  const rimRoot = issueAuthority('NVIDIA CoRIM signing Root CA', null)
  const sha256 = ({ der }: Certificate384): string =>
    toHex(createHash('sha256').update(der).digest())
  return {
    deviceRoot,
    rimRoot,
    roots: { kind: 'test-pki', device: sha256(deviceRoot), rim: sha256(rimRoot) },
  }
}

/** subjectAltName otherName, as device leaves carry it. */
export const deviceAltName = (text: string): Extension384 => ({
  id: '2.5.29.17',
  value: sequence(
    explicit(
      0,
      Uint8Array.from([...oid('1.3.6.1.4.1.412.274.1'), ...explicit(0, utf8String(text))]),
    ),
  ),
})

/** SHA-1 of the key bits: the subject key id, and how OCSP responders name themselves. */
export const keyIdOf = ({ point }: P384Key): Bytes =>
  Uint8Array.from(createHash('sha1').update(point).digest())

export const subjectKeyId = (key: P384Key): Extension384 => ({
  id: '2.5.29.14',
  value: octetString(keyIdOf(key)),
})

export const authorityKeyId = (key: P384Key): Extension384 => ({
  id: '2.5.29.35',
  value: sequence(implicit(0, keyIdOf(key))),
})
