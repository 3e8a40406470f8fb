import {
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  sha256,
  sha512,
  type Bytes,
} from '../bytes.ts'
import { DER, derContent, derElements } from '../der.ts'
import { EvidenceError } from '../errors.ts'
import { readCertificate, type CertificateBody } from '../x509.ts'
import { readDstackAttestation } from './dstack.ts'
import { gunzip } from './gunzip.ts'
import { checkClaims, readInteroperable } from './interoperable.ts'

/** A TLS certificate that carries the quote of the TD which holds its key. Nothing of it is verified. */
export interface EvidenceCertificate {
  readonly certificate: CertificateBody
  readonly form: 'dstack' | 'interoperable'
  readonly quote: Bytes
  /** JSON, as `parseDstackLog` reads it; null where none came along. */
  readonly eventLog: string | null
  /** What the report data commits to, as the form has it. Throws `ra_tls_key_not_bound`. */
  readonly checkBinding: (reportData: Bytes) => Promise<void>
}

const OID = {
  quote: '1.3.6.1.4.1.62397.1.1',
  eventLog: '1.3.6.1.4.1.62397.1.2',
  attestation: '1.3.6.1.4.1.62397.1.8',
  interoperable: '2.23.133.5.4.9',
} as const

const MAX_CERTIFICATE = 1 << 18
const MAX_EVENT_LOG = 1 << 20
const GZIP = Uint8Array.of(0x1f, 0x8b)
const DSTACK_LABEL = encodeUtf8('ratls-cert:')

/**
 * Reads the evidence of a leaf certificate in DER, in the forms of dstack (old and new) and of interoperable RA-TLS.
 * Where there are several, the first of that order counts: each would have to hold by itself.
 *
 * @throws EvidenceError `certificate_malformed`, `ra_tls_absent`, `ra_tls_malformed`, `ra_tls_tee_unsupported`
 */
export async function readEvidenceCertificate(der: Uint8Array): Promise<EvidenceCertificate> {
  if (der.length > MAX_CERTIFICATE) throw new EvidenceError('ra_tls_malformed')
  const certificate = readCertificate(der)
  const { spki, extension } = certificate
  const attestation = extension(OID.attestation)
  const dstack = {
    certificate,
    form: 'dstack',
    checkBinding: (reportData: Bytes) => checkDstack(reportData, spki),
  } as const
  if (attestation !== null) {
    const { quote, events } = readDstackAttestation(octets(attestation))
    return { ...dstack, quote, eventLog: JSON.stringify(events) }
  }
  const quote = extension(OID.quote)
  if (quote !== null) {
    const log = extension(OID.eventLog)
    const eventLog = log === null ? null : await unpacked(octets(log))
    return { ...dstack, quote: octets(quote), eventLog }
  }
  const evidence = extension(OID.interoperable)
  if (evidence === null) throw new EvidenceError('ra_tls_absent')
  const { quote: carried, claims } = readInteroperable(evidence)
  return {
    certificate,
    form: 'interoperable',
    quote: carried,
    eventLog: null,
    checkBinding: (reportData) => checkInteroperable(reportData, claims, spki),
  }
}

const octets = (der: Uint8Array): Bytes => {
  const [element, ...more] = derElements(der, 'ra_tls_malformed')
  if (more.length > 0) throw new EvidenceError('ra_tls_malformed')
  return Uint8Array.from(derContent(element, DER.octetString, 'ra_tls_malformed'))
}

const unpacked = async (log: Bytes): Promise<string> =>
  decodeUtf8(equalBytes(log.subarray(0, 2), GZIP) ? await gunzip(log, MAX_EVENT_LOG) : log)

async function checkDstack(reportData: Bytes, spki: Bytes): Promise<void> {
  const expected = await sha512(concatBytes(DSTACK_LABEL, spki))
  if (!equalBytes(reportData, expected)) throw new EvidenceError('ra_tls_key_not_bound')
}

/** The report data hashes the claims, and the claims name the key. */
async function checkInteroperable(reportData: Bytes, claims: Bytes, spki: Bytes): Promise<void> {
  const expected = concatBytes(await sha256(claims), new Uint8Array(32))
  if (!equalBytes(reportData, expected)) throw new EvidenceError('ra_tls_key_not_bound')
  await checkClaims(claims, spki)
}
