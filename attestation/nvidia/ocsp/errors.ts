type Kind = 'malformed' | 'unsupported' | 'rejected'

const entry = (kind: Kind, message: string) => ({ kind, step: 'gpu_revocation', message }) as const
const rejected = (message: string) => entry('rejected', message)

/** Part of the table of `attestation/errors.ts`. */
export const OCSP_EVIDENCE_ERRORS = {
  ocsp_malformed: entry('malformed', 'the OCSP response cannot be read'),
  ocsp_signature_malformed: entry(
    'malformed',
    'the signature of the OCSP response is not in the one DER form',
  ),
  ocsp_type_unsupported: entry('unsupported', 'the OCSP response is not a basic one'),
  ocsp_algorithm_unsupported: entry(
    'unsupported',
    'the OCSP response is not signed with ECDSA P-384',
  ),
  ocsp_status_unsuccessful: rejected('the OCSP responder failed'),
  ocsp_try_later: rejected('the OCSP responder asks to be asked later'),
  ocsp_unauthorized: rejected('the OCSP responder does not answer for this certificate'),
  ocsp_answer_count: rejected('the OCSP response does not hold exactly one answer'),
  ocsp_certificate_mismatch: rejected('the OCSP response is about another certificate'),
  ocsp_responder_unknown: rejected('the OCSP response does not bring the responder it names'),
  ocsp_responder_untrusted: rejected(
    'the OCSP responder is not authorised by the issuer of the certificate',
  ),
  ocsp_responder_role_invalid: rejected('the OCSP responder may not sign OCSP responses'),
  ocsp_responder_not_valid: rejected(
    'the OCSP responder was not valid when it answered, or is not now',
  ),
  ocsp_signature_invalid: rejected('the OCSP response is not signed by its responder'),
  ocsp_extension_unsupported: rejected('the OCSP response has an unknown critical extension'),
  ocsp_next_update_missing: rejected('the OCSP response does not say how long it holds'),
  ocsp_not_valid_now: rejected('the OCSP response is not valid at this time'),
  ocsp_nonce_mismatch: rejected('the OCSP response does not answer this request'),
  ocsp_status_unknown: rejected('the OCSP responder does not know the certificate'),
  ocsp_missing: rejected('there is no OCSP response for a certificate'),
  ocsp_ambiguous: rejected('there is more than one OCSP response for a certificate'),
} as const
