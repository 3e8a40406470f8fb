import { NRAS_EVIDENCE_ERRORS } from './nras/errors.ts'
import { OCSP_EVIDENCE_ERRORS } from './ocsp/errors.ts'
import { RIM_EVIDENCE_ERRORS } from './rim/errors.ts'

/** Part of the table of `attestation/errors.ts`. */
export const NVIDIA_EVIDENCE_ERRORS = {
  ...RIM_EVIDENCE_ERRORS,
  ...OCSP_EVIDENCE_ERRORS,
  ...NRAS_EVIDENCE_ERRORS,
} as const
