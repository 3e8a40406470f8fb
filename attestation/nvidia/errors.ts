import { NRAS_EVIDENCE_ERRORS } from './nras/errors.ts'
import { OCSP_EVIDENCE_ERRORS } from './ocsp/errors.ts'
import { RIM_EVIDENCE_ERRORS } from './rim/errors.ts'

type Kind = 'malformed' | 'unsupported' | 'rejected'
type GpuStep = 'gpu_evidence' | 'gpu_report' | 'gpu_identity' | 'gpu_signature' | 'gpu_platform'

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
  ...RIM_EVIDENCE_ERRORS,
  ...OCSP_EVIDENCE_ERRORS,
  ...NRAS_EVIDENCE_ERRORS,
} as const
