import {
  equalBytes,
  isVerificationError,
  parseQuote,
  type Bytes,
  type Quote,
} from '@vouchgate/attestation'

const ENCLAVE_ERRORS = {
  quote_unavailable: 'no quote could be obtained from the platform',
  quote_timeout: 'the quoting service did not answer in time',
  quote_busy: 'too many quotes are being made at this moment',
  quote_interference: 'another writer changed a request for a quote',
  quote_provider_unsupported: 'the platform does not make TDX quotes',
  quote_malformed: 'the platform answered with something that is not a TDX quote',
  quote_mismatch: 'the quote is not for the report data that was asked for',
  keyset_expired: 'the keyset has expired and has not been replaced',
} as const satisfies Record<string, string>

export type EnclaveErrorCode = keyof typeof ENCLAVE_ERRORS

/** What the platform could not do for us. The message comes from the table. */
export class EnclaveError extends Error {
  override readonly name = 'EnclaveError'
  readonly code: EnclaveErrorCode
  /** When to ask again; null where waiting does not help. */
  readonly retryAfterSeconds: number | null

  constructor(code: EnclaveErrorCode, retryAfterSeconds: number | null = null) {
    super(ENCLAVE_ERRORS[code])
    this.code = code
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** What the platform says about this TD. */
export interface TeeEvidence {
  readonly quote: Bytes
  /** JSON text of the RTMR events, where the platform keeps them (dstack). */
  readonly eventLog: string | null
  /** JSON text of the VM's shape, from which RTMR0 is computed (dstack). */
  readonly vmConfig: string | null
}

/** One way of asking the platform for a quote. */
export interface QuoteSource {
  readonly kind: 'configfs-tsm' | 'dstack' | 'test'
  /** `reportData` is 64 bytes (TypeError otherwise). Rejects with `EnclaveError`. */
  quote(reportData: Bytes): Promise<TeeEvidence>
}

/** The size of the slot in a TD report. */
export const REPORT_DATA_LENGTH = 64

/** A copy, so that a caller who reuses the buffer cannot change what is quoted. */
export function copyReportData(reportData: Uint8Array): Bytes {
  if (reportData.length !== REPORT_DATA_LENGTH) throw new TypeError('report data is 64 bytes')
  return Uint8Array.from(reportData)
}

/**
 * Throws `quote_malformed` or `quote_mismatch`.
 *
 * A quote for other report data would bind someone else's keys: a stale answer, or one that another
 * process asked for. Clients would refuse it; refusing it here keeps it from being published at all.
 */
export function requireBoundQuote(quote: Bytes, reportData: Bytes): void {
  const { body } = readQuote(quote)
  if (body.tee !== 'tdx') throw new EnclaveError('quote_malformed')
  if (!equalBytes(body.report.reportData, reportData)) throw new EnclaveError('quote_mismatch')
}

function readQuote(quote: Bytes): Quote {
  try {
    return parseQuote(quote)
  } catch (error) {
    if (isVerificationError(error)) throw new EnclaveError('quote_malformed')
    throw error
  }
}
