const entry = (kind: 'malformed' | 'unsupported' | 'rejected', message: string) => ({
  kind,
  step: 'azure_vtpm' as const,
  message,
})

/** Part of the table of `attestation/errors.ts`. */
export const AZURE_EVIDENCE_ERRORS = {
  hcl_malformed: entry('malformed', 'the HCL report or its runtime data is malformed'),
  hcl_unsupported: entry('unsupported', 'the HCL report is of another version, hash or TEE'),
  hcl_runtime_data_mismatch: entry(
    'rejected',
    'the hardware report does not commit to the runtime data',
  ),
  tpm_quote_malformed: entry('malformed', 'the TPM quote is not a quote over SHA-256 PCRs'),
  tpm_quote_signature_invalid: entry(
    'rejected',
    'the TPM quote is not signed by the attestation key',
  ),
  tpm_quote_nonce_mismatch: entry('rejected', 'the TPM quote does not answer this nonce'),
  tpm_pcr_mismatch: entry('rejected', 'the PCR values are not the quoted ones'),
} as const
