import {
  equalBytes,
  fromBase64,
  fromHex,
  sha256,
  toHex,
  type Bytes,
  type UnixSeconds,
} from './bytes.ts'
import { DER, derContent, derElements, derOid, derUnsigned, type DerElement } from './der.ts'
import { EvidenceError } from './errors.ts'
import { Memo } from './memo.ts'
import { parseTime } from './time.ts'
import {
  derTime,
  explicit,
  extensionList,
  serialNumber,
  signedFrame,
  signedParts,
} from './x509-signed.ts'

/** What a certificate says, whatever it is signed with. */
export interface CertificateBody {
  readonly der: Uint8Array
  /** SHA-256 of the DER, hex. */
  readonly fingerprint: () => Promise<string>
  /** The only common name of the subject. */
  readonly commonName: string | null
  /** DER of the names, for byte comparison. */
  readonly subject: Bytes
  readonly issuer: Bytes
  /** Hex without leading zeros. */
  readonly serial: string
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  /** Null where the certificate does not say whether it is a CA. */
  readonly constraints: BasicConstraints | null
  readonly mayCertify: boolean
  readonly maySignData: boolean
  /** Whether one is critical beside key usage and basic constraints. */
  readonly unknownCritical: boolean
  /** OIDs of the extensions marked critical. */
  readonly critical: ReadonlySet<string>
  readonly subjectKeyId: string | null
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Bytes
  readonly extension: (oid: string) => Uint8Array | null
}

/** A certificate that has been read; which one may stand where is decided in `tdx/chain.ts`. */
export interface Certificate extends CertificateBody {
  /** x ‖ y of an ECDSA P-256 key, or null for any other key. */
  readonly p256: Bytes | null
  readonly isSignedBy: (p256: Bytes | null) => Promise<boolean>
}

interface BasicConstraints {
  readonly ca: boolean
  /** Infinity where a CA states none. */
  readonly pathLength: number
}

const CODE = 'certificate_malformed'
const OID = {
  commonName: '2.5.4.3',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
} as const
const KNOWN_CRITICAL: ReadonlySet<string> = new Set([OID.keyUsage, OID.basicConstraints])
const P256_SPKI_PREFIX = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004')
const P384_SPKI_PREFIX = fromHex('3076301006072a8648ce3d020106052b81040022036200')
const P384_POINT_LENGTH = 97
const V3 = fromHex('a003020102')
const KEY_USAGE = { digitalSignature: 0x80, keyCertSign: 0x04 } as const
const PEM = /-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----\s*/y
const MAX_CHAIN = 8

/** An X.509 v3 certificate in DER (RFC 5280 §4.1). Throws `certificate_malformed`. */
export function parseCertificate(der: Uint8Array): Certificate {
  const frame = signedFrame(der, 2, CODE)
  const body = certificateBody(der, frame.fields)
  return { ...body, p256: p256Point(body.spki), isSignedBy: frame.isSignedBy }
}

/**
 * What a certificate says whose signature nobody looks at, whatever signed it: another proof names its key. Throws
 * `certificate_malformed`.
 */
export const readCertificate = (der: Uint8Array): CertificateBody =>
  certificateBody(der, signedParts(der, 2, CODE).fields)

/** `fields` are the elements of the signed part of `der`. Throws `certificate_malformed`. */
export function certificateBody(der: Uint8Array, fields: readonly DerElement[]): CertificateBody {
  const [version, serial, , issuer, validity, subject, spki, tagged, ...rest] = fields
  const complete =
    version !== undefined && issuer !== undefined && subject !== undefined && spki !== undefined
  if (!complete || rest.length > 0 || !equalBytes(version.bytes, V3)) throw new EvidenceError(CODE)
  const [notBefore, notAfter] = derElements(derContent(validity, DER.sequence, CODE), CODE)
  const extensions = extensionList(explicit(tagged, DER.context3, CODE), CODE)
  const extension = (oid: string) => extensions.find((found) => found.oid === oid)?.value ?? null
  const keyId = extension(OID.subjectKeyId)
  const critical = new Set(extensions.filter((found) => found.critical).map(({ oid }) => oid))
  return {
    der,
    fingerprint: fingerprintOf(der),
    commonName: commonName(subject),
    subject: Uint8Array.from(subject.bytes),
    issuer: Uint8Array.from(issuer.bytes),
    serial: serialNumber(serial, CODE),
    notBefore: parseTime(derTime(notBefore, CODE)),
    notAfter: parseTime(derTime(notAfter, CODE)),
    constraints: basicConstraints(extension(OID.basicConstraints)),
    ...keyUsage(extension(OID.keyUsage)),
    unknownCritical: [...critical].some((oid) => !KNOWN_CRITICAL.has(oid)),
    critical,
    subjectKeyId: keyId === null ? null : toHex(octets(keyId)),
    spki: Uint8Array.from(spki.bytes),
    extension,
  }
}

function fingerprintOf(der: Uint8Array): () => Promise<string> {
  let known: Promise<string> | null = null
  return () => (known ??= sha256(der).then(toHex))
}

const octets = (der: Uint8Array): Uint8Array =>
  derContent(derElements(der, CODE)[0], DER.octetString, CODE)

/** Null where there is none or more than one: two readers could heed different ones. */
function commonName(name: DerElement): string | null {
  const names = derElements(derContent(name, DER.sequence, CODE), CODE)
    .flatMap((set) => derElements(set.content, CODE))
    .map((attribute) => derElements(derContent(attribute, DER.sequence, CODE), CODE))
    .filter(([type]) => derOid(derContent(type, DER.oid, CODE), CODE) === OID.commonName)
  const value = names.length === 1 ? names[0]?.[1] : undefined
  return value === undefined ? null : new TextDecoder().decode(value.content)
}

function basicConstraints(der: Uint8Array | null): BasicConstraints | null {
  if (der === null) return null
  const [flag, length] = derElements(
    derContent(derElements(der, CODE)[0], DER.sequence, CODE),
    CODE,
  )
  return {
    ca: flag?.tag === DER.boolean && flag.content[0] === 0xff,
    pathLength:
      length === undefined
        ? Number.POSITIVE_INFINITY
        : derUnsigned(derContent(length, DER.integer, CODE), 255, CODE),
  }
}

function keyUsage(der: Uint8Array | null): { mayCertify: boolean; maySignData: boolean } {
  const bits =
    der === null ? 0 : (derContent(derElements(der, CODE)[0], DER.bitString, CODE)[1] ?? 0)
  return {
    mayCertify: (bits & KEY_USAGE.keyCertSign) !== 0,
    maySignData: (bits & KEY_USAGE.digitalSignature) !== 0,
  }
}

function p256Point(bytes: Bytes): Bytes | null {
  const prefix = bytes.subarray(0, P256_SPKI_PREFIX.length)
  const fits = bytes.length === P256_SPKI_PREFIX.length + 64 && equalBytes(prefix, P256_SPKI_PREFIX)
  return fits ? Uint8Array.from(bytes.subarray(P256_SPKI_PREFIX.length)) : null
}

/** Uncompressed point of an ECDSA P-384 key (97 bytes), or null for any other key. */
export function p384Point(spki: Bytes): Bytes | null {
  const prefix = spki.subarray(0, P384_SPKI_PREFIX.length)
  const fits =
    spki.length === P384_SPKI_PREFIX.length + P384_POINT_LENGTH &&
    equalBytes(prefix, P384_SPKI_PREFIX)
  return fits ? spki.slice(P384_SPKI_PREFIX.length) : null
}

/** Authorities and platforms recur in every chain; a certificate is read once. */
const certificates = new Memo<Certificate>(256)
const chains = new Memo<readonly Certificate[]>(64)

/** Certificates in PEM, back to back with nothing but white space between. Throws `certificate_malformed`. */
export const parsePemChain = (pem: string): readonly Certificate[] =>
  chains.get(pem, () =>
    pemBodies(pem).map((body) => certificates.get(body, () => parseCertificate(fromBase64(body)))),
  )

/** The DER of each PEM certificate. Throws `certificate_malformed`. */
export const pemBlocks = (pem: string): Bytes[] => pemBodies(pem).map(fromBase64)

function pemBodies(pem: string): string[] {
  const chain: string[] = []
  let at = 0
  while (at < pem.length) {
    PEM.lastIndex = at
    const body = PEM.exec(pem)?.[1]
    if (body === undefined || chain.length === MAX_CHAIN) throw new EvidenceError(CODE)
    at = PEM.lastIndex
    chain.push(body.replaceAll(/\s/g, ''))
  }
  return chain
}
