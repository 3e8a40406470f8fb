import 'reflect-metadata'
import { randomBytes } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import {
  concatBytes,
  encodeUtf8,
  sha512,
  type Bytes,
  type UnixSeconds,
} from '@vouchgate/attestation'
import type { ServerKey } from './keys.ts'
import type { TeeEvidence } from './quote-source.ts'

/** dstack's RA-TLS extensions; the values are DER OCTET STRINGs. */
export const QUOTE_OID = '1.3.6.1.4.1.62397.1.1'
export const EVENT_LOG_OID = '1.3.6.1.4.1.62397.1.2'

/** Verifiers of these extensions refuse longer logs, and the whole log is in the attestation report. */
const MAX_EVENT_LOG = 1 << 14
/** For clients whose clock is behind. */
const BACKDATED_SECONDS = 300
const SERIAL_LENGTH = 16

/** What the quote of a certificate binds: SHA-512("ratls-cert:" ‖ SPKI). 64 bytes. */
export const certificateReportData = (spki: Uint8Array): Promise<Bytes> =>
  sha512(concatBytes(encodeUtf8('ratls-cert:'), spki))

export interface CertificateInput {
  readonly key: ServerKey
  /** Its report data is `certificateReportData(key.spki)`. */
  readonly evidence: TeeEvidence
  readonly domain: string | null
  readonly now: UnixSeconds
  readonly notAfter: UnixSeconds
}

/**
 * The self-signed server certificate with the quote inside (RA-TLS), as PEM.
 *
 * The quote in it carries no nonce and may be replayed, so it proves nothing on its own: it is for RA-TLS
 * clients of other makes. Ours pin the key that the attestation report over a fresh nonce names.
 */
export async function createCertificate(input: CertificateInput): Promise<string> {
  const { key, evidence, domain, now, notAfter } = input
  const signingKey = key.certificateSigner()
  const name = `CN=${domain ?? 'vouchgate'}`
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: name,
    issuer: name,
    notBefore: new Date((now - BACKDATED_SECONDS) * 1000),
    notAfter: new Date(notAfter * 1000),
    publicKey: key.spki,
    signingKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension([
        ...(domain === null ? [] : [{ type: 'dns' as const, value: domain }]),
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ]),
      ...evidenceExtensions(evidence),
    ],
  })
  return certificate.toString('pem')
}

function evidenceExtensions({ quote, eventLog }: TeeEvidence): Extension[] {
  const log = encodeUtf8(eventLog ?? '')
  const fits = log.length > 0 && log.length <= MAX_EVENT_LOG
  return [
    new Extension(QUOTE_OID, false, octetString(quote)),
    ...(fits ? [new Extension(EVENT_LOG_OID, false, octetString(log))] : []),
  ]
}

/** A positive INTEGER of 16 bytes that needs no padding (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const serial = randomBytes(SERIAL_LENGTH)
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40
  return serial.toString('hex')
}

/** DER (X.690 §8.7, §10.1). */
function octetString(content: Bytes): Bytes {
  const length: number[] = []
  for (let rest = content.length; rest > 0; rest >>= 8) length.unshift(rest & 0xff)
  const header = content.length < 0x80 ? [content.length] : [0x80 | length.length, ...length]
  return concatBytes(Uint8Array.of(0x04, ...header), content)
}
