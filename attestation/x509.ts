import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509Crl,
} from '@peculiar/x509'
import {
  equalBytes,
  fromBase64,
  fromHex,
  sha256,
  toHex,
  type Bytes,
  type UnixSeconds,
} from './bytes.ts'
import { DER, derContent, derElements } from './der.ts'
import { EvidenceError, type EvidenceErrorCode } from './errors.ts'

/**
 * The only file that knows the X.509 library. It parses and checks single signatures; which certificate
 * may stand where is decided in `tdx/chain.ts`, because the library's chain builder looks at neither
 * roles nor CRLs.
 */
export interface Certificate {
  readonly der: Bytes
  readonly sha256: string
  readonly commonName: string | null
  /** DER of the names, for byte comparison. */
  readonly subject: Bytes
  readonly issuer: Bytes
  /** Hex without leading zeros. */
  readonly serial: string
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  readonly ca: boolean
  /** Infinity where a CA states none. */
  readonly pathLength: number
  readonly mayCertify: boolean
  readonly maySignData: boolean
  readonly unknownCritical: boolean
  readonly subjectKeyId: string | null
  readonly authorityKeyId: string | null
  /** x ‖ y of an ECDSA P-256 key, or null for any other key. */
  readonly p256: Bytes | null
  readonly extension: (oid: string) => Bytes | null
  readonly isSignedBy: (issuer: Certificate) => Promise<boolean>
}

export interface Crl {
  readonly issuer: Bytes
  readonly thisUpdate: UnixSeconds
  /** Null where the CRL states none, so that it never goes stale; the caller refuses that. */
  readonly nextUpdate: UnixSeconds | null
  readonly authorityKeyId: string | null
  readonly hasNumber: boolean
  readonly unknownCritical: boolean
  readonly revokedSerials: ReadonlySet<string>
  readonly isSignedBy: (issuer: Certificate) => Promise<boolean>
}

const P256_SPKI_PREFIX = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004')
const ECDSA_WITH_SHA256 = '300a06082a8648ce3d040302'
const KNOWN_CRITICAL = new Set(['2.5.29.15', '2.5.29.19'])
const CRL_NUMBER = '2.5.29.20'
const PEM = /-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----\s*/y
const MAX_CHAIN = 8

const seconds = (date: Date): UnixSeconds => Math.floor(date.getTime() / 1000)
const plainSerial = (hex: string): string => hex.toLowerCase().replace(/^(?:00)+(?=.)/, '')

function p256Point(spki: Bytes): Bytes | null {
  const prefix = spki.subarray(0, P256_SPKI_PREFIX.length)
  const fits = spki.length === P256_SPKI_PREFIX.length + 64 && equalBytes(prefix, P256_SPKI_PREFIX)
  return fits ? spki.slice(P256_SPKI_PREFIX.length) : null
}

/**
 * The signature algorithm stands inside and outside the signed part; only the inside is protected, so both
 * must be ecdsa-with-SHA256 (RFC 5280 §4.1.1.2).
 */
function isEcdsaSha256(der: Uint8Array, index: number, code: EvidenceErrorCode): boolean {
  const [outer] = derElements(der, code)
  const [tbs, outerAlgorithm] = derElements(derContent(outer, DER.sequence, code), code)
  const inner = derElements(derContent(tbs, DER.sequence, code), code)[index]
  const oids = [outerAlgorithm, inner].map((element) =>
    toHex(derContent(element, DER.sequence, code)),
  )
  return oids.every((oid) => ECDSA_WITH_SHA256.endsWith(oid) && oid.length === 20)
}

async function signatureHolds(
  subject: X509Certificate | X509Crl,
  issuer: Certificate,
): Promise<boolean> {
  try {
    const publicKey = await new X509Certificate(issuer.der).publicKey.export()
    return subject instanceof X509Crl
      ? await subject.verify({ publicKey })
      : await subject.verify({ publicKey, signatureOnly: true })
  } catch {
    return false
  }
}

/** Throws `certificate_malformed`. */
export async function parseCertificate(der: Bytes): Promise<Certificate> {
  try {
    return read(new X509Certificate(der), der, toHex(await sha256(der)))
  } catch {
    throw new EvidenceError('certificate_malformed')
  }
}

function read(x509: X509Certificate, der: Bytes, fingerprint: string): Certificate {
  const constraints = x509.getExtension(BasicConstraintsExtension)
  const usages = x509.getExtension(KeyUsagesExtension)?.usages ?? 0
  // version [0], serial, signature
  const ecdsa = isEcdsaSha256(der, 2, 'certificate_malformed')
  return {
    der,
    sha256: fingerprint,
    commonName: x509.subjectName.getField('CN')[0] ?? null,
    subject: new Uint8Array(x509.subjectName.toArrayBuffer()),
    issuer: new Uint8Array(x509.issuerName.toArrayBuffer()),
    serial: plainSerial(x509.serialNumber),
    notBefore: seconds(x509.notBefore),
    notAfter: seconds(x509.notAfter),
    ca: constraints?.ca ?? false,
    pathLength: constraints?.pathLength ?? Number.POSITIVE_INFINITY,
    mayCertify: (usages & KeyUsageFlags.keyCertSign) !== 0,
    maySignData: (usages & KeyUsageFlags.digitalSignature) !== 0,
    unknownCritical: x509.extensions.some(
      (extension) => extension.critical && !KNOWN_CRITICAL.has(extension.type),
    ),
    subjectKeyId: x509.getExtension(SubjectKeyIdentifierExtension)?.keyId ?? null,
    authorityKeyId: x509.getExtension(AuthorityKeyIdentifierExtension)?.keyId ?? null,
    p256: p256Point(new Uint8Array(x509.publicKey.rawData)),
    extension: (oid) => {
      const found = x509.getExtensions(oid)
      if (found.length > 1) throw new EvidenceError('certificate_malformed')
      return found[0] === undefined ? null : new Uint8Array(found[0].value)
    },
    isSignedBy: async (issuer) => ecdsa && (await signatureHolds(x509, issuer)),
  }
}

/** Certificates in PEM, back to back with nothing but white space between. Throws `certificate_malformed`. */
export async function parsePemChain(pem: string): Promise<Certificate[]> {
  const chain: Certificate[] = []
  PEM.lastIndex = 0
  let at = 0
  while (at < pem.length) {
    PEM.lastIndex = at
    const body = PEM.exec(pem)?.[1]
    if (body === undefined || chain.length === MAX_CHAIN) {
      throw new EvidenceError('certificate_malformed')
    }
    at = PEM.lastIndex
    chain.push(await parseCertificate(fromBase64(body.replaceAll(/\s/g, ''))))
  }
  return chain
}

/** Throws `crl_malformed`. */
export function parseCrl(der: Bytes): Crl {
  try {
    return readCrl(new X509Crl(der), der)
  } catch {
    throw new EvidenceError('crl_malformed')
  }
}

function readCrl(crl: X509Crl, der: Bytes): Crl {
  // version, signature
  const ecdsa = isEcdsaSha256(der, 1, 'crl_malformed')
  const entryExtensions = crl.entries.flatMap((entry) => entry.extensions)
  return {
    issuer: new Uint8Array(crl.issuerName.toArrayBuffer()),
    thisUpdate: seconds(crl.thisUpdate),
    nextUpdate: crl.nextUpdate === undefined ? null : seconds(crl.nextUpdate),
    authorityKeyId: crl.getExtension(AuthorityKeyIdentifierExtension)?.keyId ?? null,
    hasNumber: crl.getExtension(CRL_NUMBER) !== null,
    unknownCritical: [...crl.extensions, ...entryExtensions].some(({ critical }) => critical),
    revokedSerials: new Set(crl.entries.map((entry) => plainSerial(entry.serialNumber))),
    isSignedBy: async (issuer) => ecdsa && (await signatureHolds(crl, issuer)),
  }
}
