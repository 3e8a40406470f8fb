/** Part of the table of `attestation/errors.ts`. */
export const NRAS_EVIDENCE_ERRORS = {} as const
