import type { ErrorKind } from '../errors.ts'

type Step = 'provider' | 'binding'

export interface RaTlsErrorEntry {
  readonly kind: ErrorKind
  readonly step: Step
  readonly message: string
}

const entry = (kind: ErrorKind, step: Step, message: string): RaTlsErrorEntry => ({
  kind,
  step,
  message,
})

/** What can be wrong with evidence in a TLS certificate. */
export const RA_TLS_EVIDENCE_ERRORS = {
  ra_tls_absent: entry('rejected', 'provider', 'the certificate carries no evidence'),
  ra_tls_malformed: entry(
    'malformed',
    'provider',
    'the evidence of the certificate cannot be read',
  ),
  ra_tls_tee_unsupported: entry(
    'unsupported',
    'provider',
    'the evidence of the certificate is of another TEE',
  ),
  ra_tls_key_not_bound: entry(
    'rejected',
    'binding',
    'the quote does not commit to the key of the certificate',
  ),
  ra_tls_certificate_expired: entry(
    'rejected',
    'provider',
    'the certificate with the evidence is not valid at this time',
  ),
} as const satisfies Record<string, RaTlsErrorEntry>
