import {
  acceptSnpReport,
  AMD_ROOTS,
  parseSnpPolicy,
  testSnpRoots,
  verifySnpReport,
  type EvidenceErrorCode,
  type JsonValue,
  type PolicyErrorCode,
  type SnpPolicy,
} from '@vouchgate/attestation'
import { gunzipSync } from 'node:zlib'
import { z } from 'zod'
import { issuerOf, NO_CHAIN, type Published } from './published.ts'
import { sevOutputs } from './sev-outputs.ts'
import {
  base64,
  hex,
  judged,
  pem,
  readInput,
  rejection,
  UNSPECIFIED,
  type Beside,
  type Stage,
} from './stage.ts'

const level = z.number().int().min(0).max(255).optional()

const inputSchema = z.strictObject({
  schema_version: z.literal('1'),
  attestation_doc_b64: base64,
  vcek_der_b64: base64,
  amd_root_ca_pem: pem.optional(),
  ask_pem: pem.optional(),
  // Ours to require: without a moment no certificate could be judged.
  expiration_check_date_unix: z.number().int().min(0),
  policy: z
    .strictObject({
      expected_measurement_hex: hex(48).optional(),
      expected_host_data_hex: hex(32).optional(),
      expected_report_data_hex: hex(64).optional(),
      expected_id_key_digest_hex: hex(48).optional(),
      expected_author_key_digest_hex: hex(48).optional(),
      min_tcb_bl_spl: level,
      min_tcb_tee_spl: level,
      min_tcb_snp_spl: level,
      min_tcb_ucode_spl: level,
      enforce_spec_defaults: z.boolean().optional(),
    })
    .prefault({}),
})

type Input = z.output<typeof inputSchema>

/** What our refusals are called by the contract; anything else is {@link UNSPECIFIED}. */
const REJECTIONS: Partial<Record<EvidenceErrorCode | PolicyErrorCode, string>> = {
  snp_report_malformed: 'REPORT_FORMAT_UNSUPPORTED',
  snp_algorithm_unsupported: 'REPORT_FORMAT_UNSUPPORTED',
  snp_report_version_unsupported: 'WRONG_REPORT_VERSION',
  snp_policy_reserved: 'GUEST_POLICY_RESERVED_BIT_SET',
  snp_report_unsigned: 'SIGNER_INFO_INVALID',
  snp_signing_key_mismatch: 'SIGNER_INFO_INVALID',
  certificate_malformed: 'VCEK_CHAIN_INVALID',
  certificate_chain_length: 'VCEK_CHAIN_INVALID',
  certificate_name_mismatch: 'VCEK_CHAIN_INVALID',
  certificate_role_invalid: 'VCEK_CHAIN_INVALID',
  certificate_signature_invalid: 'VCEK_CHAIN_INVALID',
  certificate_critical_extension: 'VCEK_CHAIN_INVALID',
  snp_extension_malformed: 'VCEK_CHAIN_INVALID',
  snp_product_mismatch: 'VCEK_CHAIN_INVALID',
  certificate_not_valid_now: 'VCEK_EXPIRED',
  certificate_root_untrusted: 'ARK_UNTRUSTED',
  snp_product_unknown: 'ARK_UNTRUSTED',
  snp_chip_mismatch: 'VCEK_HWID_MISMATCH',
  snp_tcb_mismatch: 'VCEK_TCB_MISMATCH',
  snp_signature_invalid: 'REPORT_SIGNATURE_INVALID',
  debug_enabled: 'GUEST_POLICY_DEBUG_SET',
  snp_migration_agent: 'GUEST_POLICY_MIGRATE_MA_SET',
  snp_aliases_unchecked: 'PLATFORM_INFO_INVALID',
  snp_tcb_below_minimum: 'TCB_OUT_OF_DATE',
  snp_launch_tcb_below_minimum: 'TCB_OUT_OF_DATE',
  snp_tcb_inconsistent: 'TCB_OUT_OF_DATE',
  snp_measurement_not_expected: 'MEASUREMENT_MISMATCH',
  snp_host_data_not_expected: 'HOST_DATA_MISMATCH',
  snp_report_data_not_expected: 'REPORT_DATA_MISMATCH',
  snp_id_key_not_expected: 'ID_KEY_DIGEST_MISMATCH',
  snp_author_key_not_expected: 'AUTHOR_KEY_DIGEST_MISMATCH',
}

const NAMES: ReadonlyMap<string, string> = new Map(Object.entries(REJECTIONS))

/**
 * Our strictest policy, whether or not `enforce_spec_defaults` asks for it, but for two rules that the
 * contract has no input for: it carries no CRL, so revocation stays unknown, and a document without pins
 * asks for genuineness alone. A minimum holds for the reported and the launch TCB, which bound the current
 * one that the contract names from below.
 */
function policyOf({ policy }: Input): SnpPolicy {
  const minimum = {
    bootloader: policy.min_tcb_bl_spl ?? 'any',
    tee: policy.min_tcb_tee_spl ?? 'any',
    snp: policy.min_tcb_snp_spl ?? 'any',
    microcode: policy.min_tcb_ucode_spl ?? 'any',
  }
  return parseSnpPolicy({
    revocation: 'any',
    min_tcb: { Milan: minimum, Genoa: minimum, Turin: minimum },
    measurement: pin(policy.expected_measurement_hex),
    host_data: pin(policy.expected_host_data_hex),
    report_data: pin(policy.expected_report_data_hex),
    id_key_digest: pin(policy.expected_id_key_digest_hex),
    author_key_digest: pin(policy.expected_author_key_digest_hex),
  })
}

const pin = (value: string | undefined) => (value === undefined ? 'any' : [value])

const REPORT_LENGTH = 1184

/** Null where the bytes are not gzip, or more than a report by far: they may expand to anything. */
function gunzip(bytes: Uint8Array): Uint8Array | null {
  try {
    return gunzipSync(bytes, { maxOutputLength: 8 * REPORT_LENGTH })
  } catch {
    return null
  }
}

export const SEV: Stage = {
  name: 'verify-attestation-sev',
  judge: (document: JsonValue, beside) => {
    const input = readInput(inputSchema, document)
    const report = gunzip(input.attestation_doc_b64)
    if (report === null) return Promise.resolve(rejection('REPORT_FORMAT_UNSUPPORTED'))
    if (report.length < REPORT_LENGTH) return Promise.resolve(rejection('REPORT_TRUNCATED'))
    return judged(
      async () => {
        const { accepted, raw } = await accept(input, report, beside)
        return { accepted: true, outputs: sevOutputs(accepted, raw) }
      },
      ({ code }) => NAMES.get(code) ?? UNSPECIFIED,
    )
  },
}

async function accept(input: Input, raw: Uint8Array, { note, published }: Beside) {
  const chain = chainOf(input, published)
  if (chain === null) note(NO_CHAIN)
  const genuine = await verifySnpReport({
    report: raw,
    leaf: input.vcek_der_b64,
    chain: chain ?? '',
    crl: null,
    now: input.expiration_check_date_unix,
    roots:
      input.amd_root_ca_pem === undefined ? AMD_ROOTS : await testSnpRoots(input.amd_root_ca_pem),
  })
  if (genuine.root !== 'amd') note('judged under a root of the input, not under AMD')
  return { accepted: acceptSnpReport(genuine, policyOf(input)), raw }
}

/** What the input brings takes the place of what AMD publishes, one by one; null where that is not both. */
function chainOf(input: Input, { chainFrom }: Published): string | null {
  const published = chainFrom(issuerOf(input.vcek_der_b64), input.expiration_check_date_unix)
  const second = Math.max(0, published.indexOf('-----BEGIN', 1))
  const ask = input.ask_pem ?? published.slice(0, second)
  const ark = input.amd_root_ca_pem ?? published.slice(second)
  return ask === '' || ark === '' ? null : `${ask.trimEnd()}\n${ark}`
}
