import { AZURE_EVIDENCE_ERRORS } from './azure/errors.ts'
import { NVIDIA_EVIDENCE_ERRORS, NVIDIA_POLICY_ERRORS } from './nvidia/errors.ts'
import { RELEASE_EVIDENCE_ERRORS } from './providers/errors-release.ts'
import { TINFOIL_EVIDENCE_ERRORS } from './providers/errors-tinfoil.ts'
import { RA_TLS_EVIDENCE_ERRORS } from './ra-tls/errors.ts'
import { PROVIDER_EVIDENCE_ERRORS, PROVIDER_POLICY_ERRORS } from './providers/errors.ts'
import { SNP_EVIDENCE_ERRORS, SNP_POLICY_ERRORS } from './sev-snp/errors.ts'

/**
 * What went wrong: `malformed` evidence cannot be read, `unsupported` evidence is of a kind this library
 * does not judge, `rejected` evidence was read and does not hold.
 */
export type ErrorKind = 'malformed' | 'unsupported' | 'rejected'

/** The numbered step of `verify.ts`, `tdx/verify.ts` or of a document check that refused. */
export type Step =
  | 'parse'
  | 'pck_chain'
  | 'crl'
  | 'pck_crl_chain'
  | 'tcb_signing_chain'
  | 'collateral'
  | 'tcb_info'
  | 'qe_identity'
  | 'qe_report'
  | 'quote_signature'
  | 'tdx_module'
  | 'snp_report'
  | 'snp_chain'
  | 'snp_endorsement'
  | 'snp_signature'
  | 'azure_vtpm'
  | 'gpu_evidence'
  | 'gpu_report'
  | 'gpu_chain'
  | 'gpu_identity'
  | 'gpu_signature'
  | 'gpu_platform'
  | 'gpu_binding'
  | 'gpu_revocation'
  | 'rim'
  | 'nras'
  | 'event_log'
  | 'release'
  | 'provider'
  | 'launch'
  | 'policy'
  | 'binding'
  | 'freshness'
  | 'expiry'
  | 'channel'
  | 'session'
  | 'receipt'

interface Entry {
  readonly kind: ErrorKind
  readonly step: Step
  readonly message: string
}

const malformed = (step: Step, message: string): Entry => ({ kind: 'malformed', step, message })
const unsupported = (message: string): Entry => ({ kind: 'unsupported', step: 'parse', message })
const rejected = (step: Step, message: string): Entry => ({ kind: 'rejected', step, message })

const EVIDENCE_ERRORS = {
  encoding_malformed: malformed('parse', 'text is not the hex, base64 or UTF-8 it should be'),
  json_malformed: malformed(
    'parse',
    'a JSON document is malformed, too deep or has duplicate members',
  ),
  time_malformed: malformed('parse', 'a time is not of the form YYYY-MM-DDTHH:MM:SSZ'),
  policy_malformed: malformed('parse', 'the policy document is not valid'),
  collateral_malformed: malformed('parse', 'the collateral document is not valid'),
  collateral_rolled_back: rejected(
    'collateral',
    'the collateral is older than what was held, which has expired',
  ),
  quote_malformed: malformed('parse', 'the quote does not have the lengths its format demands'),
  quote_trailing_bytes: malformed('parse', 'bytes other than zero padding follow the quote'),
  quote_version_unsupported: unsupported('the quote version is not 3, 4 or 5'),
  quote_key_type_unsupported: unsupported('the attestation key is not ECDSA P-256'),
  quote_tee_type_unsupported: unsupported('the TEE type is neither SGX nor TDX'),
  quote_body_unsupported: unsupported('the quote body does not fit its version and TEE type'),
  certification_data_unsupported: unsupported(
    'the quote carries no PCK chain and none was brought',
  ),
  qe_vendor_unknown: rejected('parse', 'the quoting enclave is not by Intel'),
  certificate_malformed: malformed('pck_chain', 'a certificate cannot be parsed'),
  certificate_chain_length: rejected(
    'pck_chain',
    'a chain does not have the expected certificates',
  ),
  certificate_chain_mismatch: rejected(
    'pck_chain',
    'the chain brought along is not for this quote',
  ),
  certificate_root_untrusted: rejected('pck_chain', 'a chain does not end in the trusted root'),
  certificate_name_mismatch: rejected('pck_chain', 'a certificate does not have the expected name'),
  certificate_role_invalid: rejected('pck_chain', 'a certificate may not be used in its place'),
  certificate_signature_invalid: rejected('pck_chain', 'a certificate is not signed by its issuer'),
  certificate_not_valid_now: rejected('pck_chain', 'a certificate is not valid at this time'),
  certificate_critical_extension: rejected(
    'pck_chain',
    'a certificate has an unknown critical extension',
  ),
  pck_extension_malformed: malformed(
    'pck_chain',
    'the SGX extension of the PCK certificate is malformed',
  ),
  crl_malformed: malformed('crl', 'a CRL cannot be parsed'),
  crl_issuer_mismatch: rejected('crl', 'a CRL is not by the issuer it must be by'),
  crl_signature_invalid: rejected('crl', 'a CRL is not signed by its issuer'),
  crl_not_valid_now: rejected('crl', 'a CRL is not valid at this time'),
  crl_extension_unsupported: rejected('crl', 'a CRL lacks or adds a critical extension'),
  certificate_revoked: rejected('crl', 'a certificate is revoked'),
  tcb_info_malformed: malformed('tcb_info', 'the TCB info is not a valid document'),
  tcb_info_signature_invalid: rejected('tcb_info', 'the TCB info signature does not hold'),
  tcb_info_not_valid_now: rejected('tcb_info', 'the TCB info is not valid at this time'),
  tcb_info_wrong_tee: rejected('tcb_info', 'the TCB info is for another TEE or version'),
  tcb_info_wrong_platform: rejected('tcb_info', 'the TCB info is for another platform'),
  qe_identity_malformed: malformed('qe_identity', 'the QE identity is not a valid document'),
  qe_identity_signature_invalid: rejected('qe_identity', 'the QE identity signature does not hold'),
  qe_identity_not_valid_now: rejected('qe_identity', 'the QE identity is not valid at this time'),
  qe_identity_wrong_enclave: rejected(
    'qe_identity',
    'the QE identity is for another enclave or version',
  ),
  qe_report_signature_invalid: rejected(
    'qe_report',
    'the QE report is not signed by the PCK certificate',
  ),
  qe_report_mismatch: rejected('qe_report', 'the QE report does not have the signed identity'),
  qe_key_binding_invalid: rejected('qe_report', 'the QE report does not bind the attestation key'),
  quote_signature_invalid: rejected(
    'quote_signature',
    'the quote is not signed by the attestation key',
  ),
  tdx_module_mismatch: rejected('tdx_module', 'the TDX module is not one the TCB info knows'),
  ...SNP_EVIDENCE_ERRORS,
  ...AZURE_EVIDENCE_ERRORS,
  ...NVIDIA_EVIDENCE_ERRORS,
  ...RELEASE_EVIDENCE_ERRORS,
  ...TINFOIL_EVIDENCE_ERRORS,
  ...RA_TLS_EVIDENCE_ERRORS,
  ...PROVIDER_EVIDENCE_ERRORS,
  report_malformed: malformed('binding', 'the attestation report is not an aci/1 report'),
  evidence_malformed: malformed('binding', 'the evidence bundle is not valid'),
  keyset_digest_mismatch: rejected('binding', 'the keyset does not hash to the digest beside it'),
  report_data_mismatch: rejected('binding', 'the quote does not bind this keyset and nonce'),
  boot_document_mismatch: rejected('binding', 'the boot document is not the one the keyset names'),
  nonce_mismatch: rejected('freshness', 'the evidence does not answer this challenge'),
  keyset_expired: rejected('expiry', 'the keyset has expired'),
  keyset_lifetime_implausible: rejected('expiry', 'the keyset expires more than seven days ahead'),
  channel_not_attested: rejected('channel', 'the key of the connection is not in the keyset'),
  eventlog_malformed: malformed('event_log', 'the event log does not have the form it should have'),
  eventlog_too_large: malformed('event_log', 'the event log has too many bytes or events'),
  eventlog_trailing_bytes: malformed('event_log', 'bytes other than padding follow the event log'),
  eventlog_algorithm_unknown: malformed(
    'event_log',
    'an event has a digest of an algorithm that the log does not declare',
  ),
  eventlog_register_unknown: malformed('event_log', 'an event is for a register that is none'),
  eventlog_version_unsupported: {
    kind: 'unsupported',
    step: 'event_log',
    message: 'a runtime event is of a version other than 1 and 2',
  },
  eventlog_event_unsupported: {
    kind: 'unsupported',
    step: 'event_log',
    message: 'RTMR3 has an event that is no runtime event',
  },
  eventlog_digest_mismatch: rejected('event_log', 'an event does not hash to the digest beside it'),
  eventlog_rtmr_mismatch: rejected(
    'event_log',
    'the event log does not replay to the registers of the quote',
  ),
  launch_event_malformed: malformed(
    'event_log',
    'a launch event does not hold what it is named for',
  ),
  launch_event_duplicate: rejected('event_log', 'a launch event occurs more than once'),
  app_compose_mismatch: rejected('event_log', 'the app compose is not the one that was launched'),
  config_id_mismatch: rejected('event_log', 'MRCONFIGID is for another configuration'),
  session_malformed: malformed('session', 'the session is not an aci/1 session'),
  session_evidence_mismatch: rejected(
    'session',
    'the session evidence does not hash to its digest',
  ),
  session_claim_mismatch: rejected('session', 'the session states what its evidence does not show'),
  receipt_malformed: malformed('receipt', 'the receipt is not an aci/1 receipt'),
  receipt_key_unknown: rejected('receipt', 'the receipt names a key that is not in the keyset'),
  receipt_keyset_mismatch: rejected('receipt', 'the receipt is for another keyset'),
  receipt_signature_invalid: rejected('receipt', 'the receipt signature does not hold'),
  receipt_request_mismatch: rejected('receipt', 'the receipt is not for this request body'),
  receipt_response_mismatch: rejected('receipt', 'the receipt is not for this response body'),
  receipt_session_mismatch: rejected('receipt', 'the receipt does not cite this session'),
} as const satisfies Record<string, Entry>

export type EvidenceErrorCode = keyof typeof EVIDENCE_ERRORS

/** Evidence that is not genuine, or not readable. The message comes from the table, never from the input. */
export class EvidenceError extends Error {
  override readonly name = 'EvidenceError'
  readonly code: EvidenceErrorCode
  readonly kind: ErrorKind
  readonly step: Step

  /** `step` is given where one kind of mistake can happen in several steps, as with certificates. */
  constructor(code: EvidenceErrorCode, step: Step = EVIDENCE_ERRORS[code].step) {
    super(EVIDENCE_ERRORS[code].message)
    this.code = code
    this.kind = EVIDENCE_ERRORS[code].kind
    this.step = step
  }
}

const POLICY_ERRORS = {
  tcb_status_not_accepted: 'the TCB status is not accepted',
  tcb_info_retired: 'the TCB info is of the retired version 2',
  advisory_not_tolerated: 'an advisory applies that is not tolerated by name',
  platform_not_expected: 'the platform is not in the expected list',
  tee_tcb_svn_too_low: 'a component of the TEE TCB SVN is below the minimum',
  seam_not_expected: 'the TDX module is not in the expected list',
  attributes_not_expected: 'the TD attributes are not the expected ones',
  xfam_not_expected: 'the XFAM is not the expected one',
  report_data_not_expected: 'the report data is not the expected one',
  tcb_evaluation_too_old: 'the collateral is of an older TCB evaluation than required',
  debug_enabled: 'the TEE can be debugged',
  sept_ve_not_disabled: 'SEPT_VE_DISABLE is not set',
  migratable: 'the TD can be migrated',
  attributes_unknown: 'a TD attribute outside the known ones is set',
  xfam_unknown: 'an XFAM bit outside the known ones is set, or a required one is not',
  service_td_present: 'a service TD is bound to the TD',
  workload_not_expected: 'the measurements are not in the expected list',
  ...SNP_POLICY_ERRORS,
  ...NVIDIA_POLICY_ERRORS,
  ...PROVIDER_POLICY_ERRORS,
  azure_pcr_not_expected: 'a PCR of the vTPM does not have an expected value',
} as const satisfies Record<string, string>

export type PolicyErrorCode = keyof typeof POLICY_ERRORS

/** Genuine evidence that the policy does not want. `seen` and `wanted` are measurements and names, never content. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError'
  readonly code: PolicyErrorCode
  readonly step: Step = 'policy'
  readonly seen: string
  readonly wanted: string

  constructor(code: PolicyErrorCode, seen: string, wanted: string) {
    super(POLICY_ERRORS[code])
    this.code = code
    this.seen = seen
    this.wanted = wanted
  }
}

export const isVerificationError = (error: unknown): error is EvidenceError | PolicyError =>
  error instanceof EvidenceError || error instanceof PolicyError
