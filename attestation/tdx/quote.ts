import { concatBytes, isZero, Reader, toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { SignedMessage } from '../signature.ts'
import { parseEnclaveReport, parseTdReport, type EnclaveReport, type TdReport } from './body.ts'

export type TeeType = 'sgx' | 'tdx'

/** The measured state a quote signs. */
export type QuoteBody =
  | { readonly tee: 'tdx'; readonly report: TdReport }
  | { readonly tee: 'sgx'; readonly report: EnclaveReport }

/** A quote that has been read, and nothing more: no signature has been looked at. */
export interface Quote {
  readonly version: 3 | 4 | 5
  readonly body: QuoteBody
  /** Header, body descriptor and body: exactly the bytes the attestation key signs. */
  readonly signed: SignedMessage
  /** x ‖ y, P-256. */
  readonly attestationKey: Bytes
  readonly qeReport: EnclaveReport
  /** The bytes of the QE report, which the PCK key signs. */
  readonly qeReportSigned: SignedMessage
  readonly qeAuthData: Bytes
  readonly certification: Certification
  /** Zero bytes after the quote, as many platforms append them. */
  readonly padding: number
}

/** How the quote says which PCK certificate signed the QE report (tdx.md §1.2). */
type Certification =
  | { readonly type: 'pck-chain'; readonly pem: string }
  | { readonly type: 'pck-leaf'; readonly pem: string }
  /** Types 1 to 3: the platform by its PPID, plain or encrypted; whoever verifies brings the chain. */
  | { readonly type: 'ppid' }

const MAX_QUOTE_LENGTH = 1 << 16
const INTEL_QE_VENDOR = '939a7233f79c4ca9940a0db3957f0607'
const TEE_TYPES = new Map<number, TeeType>([
  [0x00, 'sgx'],
  [0x81, 'tdx'],
])
/** Certification data of types 1 to 3: PPID (16, 256 or 384), CPUSVN 16, PCESVN 2, PCEID 2. */
const PPID_LENGTHS = new Map([
  [1, 16 + 20],
  [2, 256 + 20],
  [3, 384 + 20],
])
const PCK_LEAF = 4
const PCK_CHAIN = 5
const QE_REPORT_CERTIFICATION = 6
const ENCLAVE_REPORT_LENGTH = 384

/** v5 body descriptor types (tdx.md §1.1): TEE type and exact size. */
const BODY_TYPES = new Map<number, readonly [TeeType, number]>([
  [1, ['sgx', ENCLAVE_REPORT_LENGTH]],
  [2, ['tdx', 584]],
  [3, ['tdx', 648]],
  [4, ['tdx', 885]],
])

/**
 * Reads an Intel quote: v3 (SGX), v4 and v5 (SGX or TDX), at most 64 KiB.
 *
 * Zero padding after the signature data is what platforms append and is accepted; anything else there is
 * `quote_trailing_bytes`. Errors: `quote_malformed`, `quote_*_unsupported`, `qe_vendor_unknown`.
 */
export function parseQuote(bytes: Uint8Array): Quote {
  if (bytes.length > MAX_QUOTE_LENGTH) throw new EvidenceError('quote_malformed')
  const reader = new Reader(bytes, 'quote_malformed')
  const { version, tee } = parseHeader(reader)
  const body = parseBody(reader, version, tee)
  const signedRegion = Uint8Array.from(bytes.subarray(0, reader.offset))
  const authData = reader.window(reader.u32())
  const padding = reader.remaining
  if (!isZero(reader.take(padding))) throw new EvidenceError('quote_trailing_bytes')
  const { signature, ...auth } = parseAuthData(authData, version)
  return { version, body, signed: new SignedMessage(signature, signedRegion), padding, ...auth }
}

function parseHeader(reader: Reader): { version: 3 | 4 | 5; tee: TeeType } {
  const version = reader.u16()
  if (version !== 3 && version !== 4 && version !== 5) {
    throw new EvidenceError('quote_version_unsupported')
  }
  if (reader.u16() !== 2) throw new EvidenceError('quote_key_type_unsupported')
  // In v3 these four bytes are reserved and zero, so the type reads as SGX.
  const tee = TEE_TYPES.get(reader.u32())
  if (tee === undefined || (version === 3 && tee !== 'sgx')) {
    throw new EvidenceError('quote_tee_type_unsupported')
  }
  reader.take(4)
  if (toHex(reader.take(16)) !== INTEL_QE_VENDOR) throw new EvidenceError('qe_vendor_unknown')
  reader.take(20)
  return { version, tee }
}

function parseBody(reader: Reader, version: 3 | 4 | 5, tee: TeeType): QuoteBody {
  const type = version === 5 ? reader.u16() : tee === 'sgx' ? 1 : 2
  const [bodyTee, size] = BODY_TYPES.get(type) ?? []
  if (bodyTee !== tee || size === undefined || (version === 5 && reader.u32() !== size)) {
    throw new EvidenceError('quote_body_unsupported')
  }
  const bytes = reader.take(size)
  return tee === 'sgx'
    ? { tee, report: parseEnclaveReport(bytes) }
    : { tee, report: parseTdReport(bytes) }
}

function parseAuthData(reader: Reader, version: 3 | 4 | 5) {
  const signature = reader.take(64)
  const attestationKey = reader.take(64)
  const inner = version === 3 ? reader : qeCertification(reader)
  const qeReport = inner.take(ENCLAVE_REPORT_LENGTH)
  const qeReportSignature = inner.take(64)
  const qeAuthData = inner.take(inner.u16())
  const certification = parseCertification(inner.u16(), inner.take(inner.u32()))
  inner.end()
  reader.end()
  return {
    signature,
    attestationKey,
    qeReport: parseEnclaveReport(qeReport),
    qeReportSigned: new SignedMessage(qeReportSignature, qeReport),
    qeAuthData,
    certification,
  }
}

/** v4 and v5 wrap the QE report in certification data of type 6, which must fill the auth data exactly. */
function qeCertification(reader: Reader): Reader {
  if (reader.u16() !== QE_REPORT_CERTIFICATION) throw new EvidenceError('quote_malformed')
  return reader.window(reader.u32())
}

function parseCertification(type: number, data: Bytes): Certification {
  if (type === PCK_CHAIN) return { type: 'pck-chain', pem: asciiText(data) }
  if (type === PCK_LEAF) return { type: 'pck-leaf', pem: asciiText(data) }
  const length = PPID_LENGTHS.get(type)
  if (length === undefined) throw new EvidenceError('certification_data_unsupported')
  if (data.length !== length) throw new EvidenceError('quote_malformed')
  return { type: 'ppid' }
}

/** PEM text; some quoting libraries end it with one NUL. */
function asciiText(data: Bytes): string {
  const text = data.at(-1) === 0 ? data.subarray(0, -1) : data
  for (const byte of text) {
    if (byte === 0 || byte >= 0x80) throw new EvidenceError('quote_malformed')
  }
  return new TextDecoder().decode(text)
}

/** The bytes whose hash the QE report must carry: it vouches for the attestation key. */
export const qeBoundBytes = (quote: Quote): Bytes =>
  concatBytes(quote.attestationKey, quote.qeAuthData)
