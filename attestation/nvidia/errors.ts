import { NRAS_EVIDENCE_ERRORS } from './nras/errors.ts'
import { OCSP_EVIDENCE_ERRORS } from './ocsp/errors.ts'
import { RIM_EVIDENCE_ERRORS } from './rim/errors.ts'

type Kind = 'malformed' | 'unsupported' | 'rejected'
type GpuStep =
  | 'gpu_evidence'
  | 'gpu_report'
  | 'gpu_identity'
  | 'gpu_signature'
  | 'gpu_platform'
  | 'gpu_binding'

const entry = (kind: Kind, step: GpuStep, message: string) => ({ kind, step, message })

/** Part of the table of `attestation/errors.ts`. */
export const NVIDIA_EVIDENCE_ERRORS = {
  gpu_evidence_malformed: entry(
    'malformed',
    'gpu_evidence',
    'the GPU evidence is not of a form this library reads',
  ),
  gpu_evidence_count: entry('malformed', 'gpu_evidence', 'the GPU evidence is not 1 to 64 items'),
  gpu_evidence_size: entry(
    'malformed',
    'gpu_evidence',
    'a device report or its certificates are too short or too long',
  ),
  gpu_nonce_malformed: entry('malformed', 'gpu_evidence', 'a nonce is not 32 bytes in hex'),
  gpu_nonce_conflict: entry(
    'rejected',
    'gpu_evidence',
    'an item of the GPU evidence states another nonce than the whole',
  ),
  gpu_arch_conflict: entry(
    'rejected',
    'gpu_evidence',
    'an item of the GPU evidence states another architecture than the whole',
  ),
  gpu_arch_unsupported: entry(
    'unsupported',
    'gpu_evidence',
    'the stated architecture is not HOPPER, BLACKWELL or LS10',
  ),
  spdm_malformed: entry(
    'malformed',
    'gpu_report',
    'the device report does not have the lengths its format demands',
  ),
  spdm_trailing_bytes: entry('malformed', 'gpu_report', 'bytes follow the device report'),
  spdm_message_unexpected: entry(
    'malformed',
    'gpu_report',
    'the device report is not a signed SPDM 1.1 report of all measurements',
  ),
  spdm_measurement_malformed: entry(
    'malformed',
    'gpu_report',
    'a measurement block is not a SHA-384 sized DMTF measurement',
  ),
  spdm_measurement_order: entry(
    'malformed',
    'gpu_report',
    'the measurement blocks are not numbered from 1 without a gap',
  ),
  spdm_opaque_malformed: entry(
    'malformed',
    'gpu_report',
    'the opaque data of the device report is malformed',
  ),
  spdm_opaque_duplicate: entry(
    'malformed',
    'gpu_report',
    'an opaque field of the device report occurs more than once',
  ),
  spdm_opaque_invalid: entry(
    'rejected',
    'gpu_report',
    'the device marked an opaque field of its report as invalid',
  ),
  spdm_opaque_version_unsupported: entry(
    'unsupported',
    'gpu_report',
    'the opaque data of the device report is of an unknown version',
  ),
  gpu_field_missing: entry(
    'malformed',
    'gpu_report',
    'the device report lacks a field that its kind of device always reports',
  ),
  gpu_field_malformed: entry(
    'malformed',
    'gpu_report',
    'a field of the device report does not have the form it should have',
  ),
  gpu_chip_unknown: entry(
    'rejected',
    'gpu_identity',
    'the certificates are not those of one known NVIDIA chip',
  ),
  gpu_arch_mismatch: entry(
    'rejected',
    'gpu_identity',
    'the stated architecture is not the one of the certificates',
  ),
  gpu_signature_invalid: entry(
    'rejected',
    'gpu_signature',
    'the device report is not signed by its certificate',
  ),
  gpu_fwid_malformed: entry(
    'malformed',
    'gpu_identity',
    'the firmware id extension of a device certificate is missing or malformed',
  ),
  gpu_fwid_issuer_mismatch: entry(
    'rejected',
    'gpu_identity',
    'the firmware id is vouched for by another key than the boot ROM',
  ),
  gpu_fwid_mismatch: entry(
    'rejected',
    'gpu_identity',
    'the reported firmware id is not the certified one',
  ),
  gpu_device_duplicate: entry('rejected', 'gpu_platform', 'one device occurs more than once'),
  gpu_platform_mixed: entry(
    'rejected',
    'gpu_platform',
    'the GPUs are not of one chip, driver and mode',
  ),
  gpu_switch_names_differ: entry(
    'rejected',
    'gpu_platform',
    'the GPUs do not name the switches that their mode demands',
  ),
  gpu_switch_pdi_mismatch: entry(
    'rejected',
    'gpu_platform',
    'a switch reports another identity than its certificate has',
  ),
  gpu_switch_unlocked: entry(
    'rejected',
    'gpu_platform',
    'the configuration of a switch is not locked',
  ),
  gpu_switch_topology_mismatch: entry(
    'rejected',
    'gpu_platform',
    'GPUs and switches do not name each other',
  ),
  gpu_binding_mismatch: entry(
    'rejected',
    'gpu_binding',
    'the GPU evidence is not bound to the CPU TEE in the way that was demanded',
  ),
  ...RIM_EVIDENCE_ERRORS,
  ...OCSP_EVIDENCE_ERRORS,
  ...NRAS_EVIDENCE_ERRORS,
} as const

/** Part of the table of `attestation/errors.ts`. */
export const NVIDIA_POLICY_ERRORS = {
  gpu_count_not_expected: 'there are not as many GPUs as expected',
  gpu_arch_not_accepted: 'the architecture of a GPU is not accepted',
  gpu_driver_too_old: 'the driver is below the minimum',
  gpu_vbios_too_old: 'the firmware of a device is below the minimum',
  gpu_firmware_id_not_reported: 'a GPU does not report the id of its firmware',
  gpu_switch_evidence_absent: 'the switches between the GPUs did not prove themselves',
  gpu_rim_unavailable: 'there are no reference values for the firmware of a device',
  gpu_rim_signer_expired: 'the signer of reference values has expired',
  gpu_measurement_mismatch: 'a measurement is not the reference value',
  gpu_nras_verdict_missing: 'NRAS does not vouch for every device now',
  gpu_certificate_on_hold: 'a certificate is on hold',
} as const
