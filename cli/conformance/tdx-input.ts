import {
  assembleCollateral,
  encodeUtf8,
  parsePolicy,
  type Collateral,
  type Policy,
  type TcbStatus,
} from '@vouchgate/attestation'
import { z } from 'zod'
import type { Published } from './published.ts'
import { base64, hex, pem } from './stage.ts'

/** Intel's results (QVL, appendix B.1), the worst last, and the statuses that they stand for. */
export const QV_RESULTS = {
  OK: 'UpToDate',
  SW_HARDENING_NEEDED: 'SWHardeningNeeded',
  CONFIG_NEEDED: 'ConfigurationNeeded',
  CONFIG_AND_SW_HARDENING_NEEDED: 'ConfigurationAndSWHardeningNeeded',
  TD_RELAUNCH_ADVISED: 'RelaunchAdvised',
  TD_RELAUNCH_ADVISED_CONFIG_NEEDED: 'RelaunchAdvisedConfigurationNeeded',
  OUT_OF_DATE_CONFIG_NEEDED: 'OutOfDateConfigurationNeeded',
  OUT_OF_DATE: 'OutOfDate',
} as const satisfies Record<string, TcbStatus>

const qvResult = z
  .string()
  .refine((name): name is keyof typeof QV_RESULTS => Object.hasOwn(QV_RESULTS, name))

const policySchema = z.strictObject({
  accepted_qv_results: z.array(qvResult).min(1).optional(),
  expected_fmspc_hex: hex(6).optional(),
  tcb_evaluation_required: z.boolean().default(true),
  expected_td_attributes_hex: hex(8).optional(),
  expected_xfam_hex: hex(8).optional(),
  expected_mr_signer_seam_hex: hex(48).optional(),
  expected_seam_attributes_hex: hex(8).optional(),
  expected_mrseam_allowlist: z.array(hex(48)).optional(),
  expected_mrtd_hex: hex(48).optional(),
  expected_mr_config_id_hex: hex(48).optional(),
  expected_mr_owner_hex: hex(48).optional(),
  expected_mr_owner_config_hex: hex(48).optional(),
  expected_rtmr3_hex: hex(48).optional(),
  expected_report_data_hex: hex(64).optional(),
  min_tee_tcb_svn_hex: hex(16).optional(),
  min_tcb_evaluation_data_number: z.number().int().min(0).optional(),
  expected_qe_vendor_id_hex: hex(16).optional(),
  enforce_spec_defaults: z.boolean().optional(),
})

export const tdxInputSchema = z.strictObject({
  schema_version: z.literal('1'),
  /** Both mean the same here: there is no other verifier than the public one. */
  execution_mode: z.enum(['adapter', 'public_api']).optional(),
  quote_b64: base64,
  collateral: z.strictObject({
    tcb_info_json: z.string(),
    qe_identity_json: z.string(),
    pck_crl_der_b64: base64,
    root_crl_der_b64: base64,
    intel_root_ca_pem: pem.optional(),
    tcb_info_issuer_chain_pem: pem.optional(),
    qe_identity_issuer_chain_pem: pem.optional(),
    pck_crl_issuer_chain_pem: pem.optional(),
  }),
  expiration_check_date_unix: z.number().int().min(0),
  policy: policySchema.prefault({}),
})

export type TdxInput = z.output<typeof tdxInputSchema>
export type TdxPins = TdxInput['policy']

/** The subject of the certificate that signs TCB info and QE identity (Intel's PCK certificate profile). */
const TCB_SIGNING = 'CN=Intel SGX TCB Signing\nO=Intel Corporation\nL=Santa Clara\nST=CA\nC=US'

/** Without its issuer chain the PCK CRL is judged by the CA of the quote's own chain, which it always is. */
export function collateralOf(
  { collateral, expiration_check_date_unix: now }: TdxInput,
  { chainFrom }: Published,
): Collateral {
  const header = (chain: string): string => encodeURIComponent(chain)
  const published = chainFrom(TCB_SIGNING, now)
  return assembleCollateral({
    tcb: {
      body: encodeUtf8(collateral.tcb_info_json),
      issuerChain: header(collateral.tcb_info_issuer_chain_pem ?? published),
    },
    qeIdentity: {
      body: encodeUtf8(collateral.qe_identity_json),
      issuerChain: header(collateral.qe_identity_issuer_chain_pem ?? published),
    },
    pckCrl: {
      body: collateral.pck_crl_der_b64,
      issuerChain: header(collateral.pck_crl_issuer_chain_pem ?? ''),
    },
    rootCrl: collateral.root_crl_der_b64,
  })
}

/** What the contract accepts where a document names no results (its clause 4.7.7). */
const DEFAULT_RESULTS = [
  'OK',
  'SW_HARDENING_NEEDED',
  'CONFIG_NEEDED',
  'CONFIG_AND_SW_HARDENING_NEEDED',
] as const

/**
 * Our strictest policy but for what the contract decides otherwise: statuses are accepted by name with
 * whatever advisories they carry, SEPT_VE_DISABLE is asked for only by a pin on the attributes, and a
 * document without pins asks for genuineness alone.
 */
export function policyOf({ policy }: TdxInput): Policy {
  const results = policy.accepted_qv_results ?? DEFAULT_RESULTS
  const named = results.map((name) => QV_RESULTS[name])
  return parsePolicy({
    tcb: {
      accept: policy.tcb_evaluation_required ? named : Object.values(QV_RESULTS),
      tolerated_advisories: 'any',
      min_evaluation_data_number: policy.min_tcb_evaluation_data_number ?? 'any',
    },
    tee: { sept_ve_disable: 'any' },
    workload: 'any',
  })
}
