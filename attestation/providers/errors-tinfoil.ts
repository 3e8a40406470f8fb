const entry = (
  kind: 'malformed' | 'unsupported' | 'rejected',
  step: 'release' | 'binding' | 'freshness' | 'channel',
  message: string,
) => ({ kind, step, message })

/** Part of the table of `attestation/errors.ts`. */
export const TINFOIL_EVIDENCE_ERRORS = {
  tinfoil_document_malformed: entry(
    'malformed',
    'binding',
    'the attestation document is not one of version 3',
  ),
  tinfoil_document_unsupported: entry(
    'unsupported',
    'freshness',
    'the attestation document is of a version that answers no challenge',
  ),
  tinfoil_predicate_malformed: entry(
    'malformed',
    'release',
    'the release or the hardware list does not state measurements',
  ),
  tinfoil_release_mismatch: entry(
    'rejected',
    'release',
    'the enclave does not run the released image',
  ),
  tinfoil_rtmr3_extended: entry(
    'rejected',
    'release',
    'something was measured into RTMR3, which released images leave alone',
  ),
  tinfoil_td_configured: entry(
    'rejected',
    'release',
    'the host configured the TD with more than its image',
  ),
  tinfoil_hardware_unknown: entry(
    'rejected',
    'release',
    'the firmware and virtual hardware are of no released platform',
  ),
} as const
