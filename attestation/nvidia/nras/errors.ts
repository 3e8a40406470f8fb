type Kind = 'malformed' | 'unsupported' | 'rejected'

const entry = (kind: Kind, message: string) => ({ kind, step: 'nras', message }) as const
const malformed = (message: string) => entry('malformed', message)
const rejected = (message: string) => entry('rejected', message)

/** Part of the table of `attestation/errors.ts`. */
export const NRAS_EVIDENCE_ERRORS = {
  nras_response_malformed: malformed(
    'the response of NRAS is not an overall token with its device tokens',
  ),
  nras_token_malformed: malformed('a token of NRAS cannot be read'),
  nras_jwks_malformed: malformed('the key set of NRAS cannot be read'),
  nras_header_unexpected: rejected(
    'the header of a token of NRAS is not exactly a key id and an algorithm',
  ),
  nras_algorithm_unsupported: entry('unsupported', 'a token of NRAS is not signed with ES384'),
  nras_kid_not_accepted: rejected('a token of NRAS names a key of another environment'),
  nras_key_unknown: rejected('a token of NRAS names a key that is not in the key set'),
  nras_signature_invalid: rejected('a token of NRAS is not signed by the key it names'),
  nras_key_unpinned: rejected('a key of NRAS is not certified by a pinned authority'),
  nras_issuer_mismatch: rejected('a token of NRAS is by another issuer'),
  nras_token_not_valid_now: rejected('a token of NRAS is not valid at this time'),
  nras_token_too_old: rejected('a token of NRAS is older than the policy accepts'),
  nras_lifetime_implausible: rejected('a token of NRAS lives longer than one hour'),
  nras_subject_mismatch: rejected('the overall token of NRAS is not about a platform'),
  nras_claims_version_unsupported: entry(
    'unsupported',
    'the claims of NRAS are of a version other than 2.0 and 3.0',
  ),
  nras_submods_mismatch: rejected('NRAS did not judge exactly the devices of the evidence'),
  nras_digest_unsupported: entry(
    'unsupported',
    'the digest of a device token is not a SHA-256 in the form NRAS writes',
  ),
  nras_digest_mismatch: rejected('a device token is not the one the overall token was made for'),
  nras_nonce_mismatch: rejected('a token of NRAS is for another nonce than the evidence'),
  nras_attestation_failed: rejected('NRAS says that the attestation failed'),
  nras_device_failed: rejected('NRAS refused the evidence of a device'),
  nras_measurements_failed: rejected(
    'NRAS says that the measurements are not the reference values',
  ),
  nras_check_failed: rejected('NRAS does not say that every check of a device held'),
  nras_certificate_not_good: rejected(
    'NRAS does not say that a certificate chain is valid and not revoked',
  ),
  nras_rim_signer_expired: rejected('NRAS says that the signer of reference values has expired'),
  nras_debug_enabled: rejected(
    'NRAS does not say that a device is in secure boot without debugging',
  ),
  nras_warning: rejected('NRAS warns about a device'),
  nras_device_mismatch: rejected('NRAS judged another device than the one of the evidence'),
  nras_firmware_mismatch: rejected('NRAS judged other firmware than the evidence reports'),
} as const
