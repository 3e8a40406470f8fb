/** Part of the table of `attestation/errors.ts`. */
export const RIM_EVIDENCE_ERRORS = {} as const
