/** Part of the table of `attestation/errors.ts`. */
export const OCSP_EVIDENCE_ERRORS = {} as const
