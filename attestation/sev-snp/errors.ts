type Kind = 'malformed' | 'unsupported' | 'rejected'
type SnpStep = 'snp_report' | 'snp_chain' | 'snp_endorsement' | 'snp_signature'

const entry = (kind: Kind, step: SnpStep, message: string) => ({ kind, step, message })

/** Part of the table of `attestation/errors.ts`. */
export const SNP_EVIDENCE_ERRORS = {
  snp_report_malformed: entry(
    'malformed',
    'snp_report',
    'the SNP report does not have the length or the zero bytes its version demands',
  ),
  snp_report_version_unsupported: entry(
    'unsupported',
    'snp_report',
    'the SNP report version is not 2, 3, 4 or 5',
  ),
  snp_algorithm_unsupported: entry(
    'unsupported',
    'snp_report',
    'the SNP report is not signed with ECDSA P-384',
  ),
  snp_policy_reserved: entry(
    'malformed',
    'snp_report',
    'a reserved bit of the SNP guest policy has the wrong value',
  ),
  snp_report_unsigned: entry(
    'rejected',
    'snp_report',
    'the SNP report says that no endorsement key signed it',
  ),
  snp_certificate_table_malformed: entry(
    'malformed',
    'snp_chain',
    'the certificate table does not have the entries and lengths its format demands',
  ),
  snp_product_unknown: entry(
    'rejected',
    'snp_chain',
    'the AMD product is not one this library knows',
  ),
  snp_extension_malformed: entry(
    'malformed',
    'snp_endorsement',
    'an AMD extension of the endorsement certificate is malformed',
  ),
  snp_product_mismatch: entry(
    'rejected',
    'snp_endorsement',
    'report, endorsement certificate and chain are not of one product',
  ),
  snp_signing_key_mismatch: entry(
    'rejected',
    'snp_endorsement',
    'the SNP report names another kind of endorsement key',
  ),
  snp_chip_mismatch: entry('rejected', 'snp_endorsement', 'the endorsement key is of another chip'),
  snp_tcb_mismatch: entry('rejected', 'snp_endorsement', 'the endorsement key is for another TCB'),
  snp_signature_invalid: entry(
    'rejected',
    'snp_signature',
    'the SNP report is not signed by the endorsement key',
  ),
} as const

/** Part of the table of `attestation/errors.ts`. */
export const SNP_POLICY_ERRORS = {
  snp_tcb_below_minimum: 'the reported SNP TCB is below the minimum',
  snp_launch_tcb_below_minimum: 'the guest was launched on a TCB below the minimum',
  snp_tcb_inconsistent: 'the TCB is not reported <= committed <= current',
  snp_firmware_provisional: 'the current firmware is not committed and could be rolled back',
  snp_revocation_unknown: 'no CRL was given, so revocation is unknown',
  snp_migration_agent: 'a migration agent may export the guest',
  snp_smt_allowed: 'the guest may run on threads that share a core',
  snp_several_sockets: 'the guest may run on more than one socket',
  snp_cxl_allowed: 'the guest memory may be on CXL devices',
  snp_aliases_unchecked: 'the platform has not checked its memory for aliases',
  snp_vmpl_not_accepted: 'the report was not requested at an accepted VMPL',
  snp_guest_svn_too_low: 'the guest SVN is below the minimum',
  snp_measurement_not_expected: 'the launch measurement is not an expected one',
  snp_host_data_not_expected: 'the host data is not an expected one',
  snp_report_data_not_expected: 'the report data is not an expected one',
  snp_id_key_not_expected: 'the ID key digest is not an expected one',
  snp_author_key_not_expected: 'the author key digest is not an expected one',
  snp_chip_not_expected: 'the chip is not an expected one',
} as const
