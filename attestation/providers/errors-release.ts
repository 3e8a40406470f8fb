const entry = (kind: 'malformed' | 'unsupported' | 'rejected', message: string) => ({
  kind,
  step: 'release' as const,
  message,
})

/** Part of the table of `attestation/errors.ts`. */
export const RELEASE_EVIDENCE_ERRORS = {
  release_verifier_absent: entry(
    'unsupported',
    'nothing here can verify the provenance of a release',
  ),
  sigstore_bundle_malformed: entry(
    'malformed',
    'the Sigstore bundle or its statement is malformed',
  ),
  sigstore_trust_root_malformed: entry('malformed', 'the Sigstore trust root is malformed'),
  sigstore_log_entry_absent: entry('rejected', 'the bundle has no entry of a transparency log'),
  sigstore_log_entry_invalid: entry(
    'rejected',
    'an entry of the transparency log is not signed by a trusted log or is about something else',
  ),
  sigstore_timestamp_absent: entry('rejected', 'no trusted clock saw the signature'),
  sigstore_timestamp_implausible: entry(
    'rejected',
    'the signature was logged after it was fetched',
  ),
  sigstore_certificate_untrusted: entry(
    'rejected',
    'the signing certificate is not by a trusted authority',
  ),
  sigstore_certificate_expired: entry(
    'rejected',
    'the signing certificate was not valid when the signature was logged',
  ),
  sigstore_sct_invalid: entry(
    'rejected',
    'the signing certificate is not in a trusted certificate log',
  ),
  sigstore_sct_duplicate: entry('rejected', 'one certificate log vouches for a certificate twice'),
  sigstore_signature_invalid: entry(
    'rejected',
    'the statement is not signed by the key of its certificate',
  ),
  sigstore_issuer_mismatch: entry('rejected', 'the signer was not identified by the CI service'),
  sigstore_repository_mismatch: entry('rejected', 'the signer is a workflow of another repository'),
  sigstore_workflow_mismatch: entry('rejected', 'the signer is not a workflow of the repository'),
  sigstore_ref_mismatch: entry('rejected', 'the workflow did not run for a release tag'),
  sigstore_payload_unexpected: entry('rejected', 'the signed payload is not an in-toto statement'),
  sigstore_statement_unexpected: entry(
    'rejected',
    'the in-toto statement is of a version that is not accepted',
  ),
  sigstore_predicate_unexpected: entry(
    'rejected',
    'the statement is of another kind than it must be',
  ),
  sigstore_subject_absent: entry('rejected', 'the statement names no artifact'),
  sigstore_subject_mismatch: entry('rejected', 'the statement is about another artifact'),
} as const
