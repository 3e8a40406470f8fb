import { toBase64, type JsonValue } from '@vouchgate/attestation'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { TEST_TIME } from '../support/clock.ts'
import type { CollateralOverrides } from '../support/collateral.ts'
import { sgxFields } from '../support/quote.ts'
import { amdName, createSnpVendor, type SnpReportFields } from '../support/snp-vendor.ts'
import { createTeeVendor, type QuoteFields } from '../support/tee-vendor.ts'
import { hasVectors, vectorCases, vectorJson, vectorText } from '../support/vectors.ts'
import { jsonOf, vouchgate, type Outcome } from './console.ts'

const [TDX, SEV] = ['verify-attestation-tdx', 'verify-attestation-sev']

const send = (stage: string, input: string, options: readonly string[] = []): Promise<Outcome> =>
  vouchgate(['conformance', stage, ...options], {
    stdin: () => Readable.from([Buffer.from(input)]),
  })

const answerSchema = z.strictObject({
  stage: z.string(),
  accepted: z.boolean(),
  outputs: z.record(z.string(), z.unknown()).optional(),
  rejection: z.strictObject({ code: z.string(), stage: z.string().optional() }).optional(),
})

async function judge(stage: string, input: unknown, options: readonly string[] = []) {
  const outcome = await send(stage, JSON.stringify(input), options)
  const answer = answerSchema.parse(jsonOf(outcome))
  expect(answer.stage).toBe(stage)
  expect(outcome.exit).toBe(answer.accepted ? 0 : 10)
  return { answer, code: answer.rejection?.code ?? null, err: outcome.err }
}

const expectedFile = z.object({
  accepted: z.boolean(),
  outputs: z.record(z.string(), z.unknown()).default({}),
  rejection: z.object({ code: z.union([z.string(), z.array(z.string())]) }).optional(),
})

const FOLDERS = [
  [TDX, 'conformance/attestation-tdx', 65],
  [SEV, 'conformance/attestation-sev', 26],
  ['verify-sigstore', 'conformance/sigstore', 53],
  ['verify-measurement', 'conformance/measurement', 17],
  ['verify-hardware-measurements', 'conformance/hardware-measurements', 11],
  ['verify-full', 'conformance/verify-full', 7],
] as const

const scratch = mkdtempSync(join(tmpdir(), 'vouchgate-conformance-'))
afterAll(() => rmSync(scratch, { recursive: true }))

function chainsFile(name: string, pems: readonly string[]): readonly string[] {
  const path = join(scratch, name)
  writeFileSync(path, pems.join('\n'))
  return ['--chains', path]
}

/** What Intel and AMD publish, both generations of Intel's TCB signing certificate. */
const PUBLISHED = [
  ...['milan', 'genoa', 'turin_vcek'].map((product) => `_trust-amd/ask_ark_${product}.pem`),
  'tdx4-dcapqvl-b0c06f-e19-uptodate-f1c865d6/tcb_signing_chain.pem',
  'sgx3-teepot-swh-00606a-e15-swh-ba712bb3/tcb_signing_chain.pem',
]

describe.skipIf(!hasVectors).for(FOLDERS)('%s', ([stage, folder, total]) => {
  const cases = vectorCases(folder, '', ['input.json', 'expected.json'])
  let chains: readonly string[] = []
  beforeAll(() => {
    chains = chainsFile(
      `${stage}.pem`,
      PUBLISHED.map((path) => vectorText('tdx', path)),
    )
  })

  test.for(cases)('%s', async (name) => {
    const want = expectedFile.parse(vectorJson(folder, name, 'expected.json'))
    const input = vectorJson(folder, name, 'input.json')
    const { answer, code } = await judge(stage, input, chains)
    expect(want.accepted ? [null] : [want.rejection?.code].flat()).toContain(code)
    expect(answer.outputs ?? {}).toMatchObject(want.outputs)
  })

  test(`${total} cases were found`, () => {
    expect(cases).toHaveLength(total)
  })
})

const vendor = createTeeVendor()

interface TdxCase {
  readonly quote?: Partial<QuoteFields>
  readonly collateral?: CollateralOverrides
  readonly policy?: Readonly<Record<string, JsonValue>>
  readonly input?: Readonly<Record<string, JsonValue>>
  readonly edit?: (quote: Uint8Array) => Uint8Array
}

/** Only PKS, which the contract knows beside SEPT_VE_DISABLE. */
const ATTRIBUTES = '0000005000000000'
const fromHexToBase64 = (text: string): string => Buffer.from(text, 'hex').toString('base64')

async function tdxInput({ quote, collateral, policy = {}, input = {}, edit }: TdxCase) {
  const bytes = await vendor.quote({
    reportData: '0a'.repeat(64),
    tdAttributes: ATTRIBUTES,
    ...quote,
  })
  const parts = vendor.collateral(collateral)
  return {
    schema_version: '1',
    quote_b64: toBase64(edit?.(bytes) ?? bytes),
    collateral: {
      tcb_info_json: `{"tcbInfo":${parts.tcb_info},"signature":"${parts.tcb_info_signature}"}`,
      qe_identity_json: `{"enclaveIdentity":${parts.qe_identity},"signature":"${parts.qe_identity_signature}"}`,
      pck_crl_der_b64: fromHexToBase64(parts.pck_crl),
      root_crl_der_b64: fromHexToBase64(parts.root_ca_crl),
      intel_root_ca_pem: vendor.rootPem,
      tcb_info_issuer_chain_pem: parts.tcb_info_issuer_chain,
      qe_identity_issuer_chain_pem: parts.qe_identity_issuer_chain,
      pck_crl_issuer_chain_pem: parts.pck_crl_issuer_chain,
    },
    expiration_check_date_unix: TEST_TIME,
    policy,
    ...input,
  }
}

const judgeTdx = async (made: TdxCase) => judge(TDX, await tdxInput(made))

test('a good quote is accepted, and its root is said not to be Intel', async () => {
  const { answer, err } = await judgeTdx({ quote: { mrtd: 'ab'.repeat(48) } })
  expect(answer).toMatchObject({
    accepted: true,
    outputs: {
      qv_result: 'OK',
      tcb_status: 'UpToDate',
      collateral_expired: false,
      quote_version: 4,
      tee_type: 'TDX',
      header_fields: { attestation_key_type: 2 },
      body_fields: {
        mrtd_hex: 'ab'.repeat(48),
        td_attributes_decoded: {
          tud_debug: false,
          tud_reserved_nonzero: false,
          sec_reserved_lower_nonzero: false,
          sec_sept_ve_disable: true,
          sec_reserved_bit29: false,
          sec_pks: true,
          sec_kl: false,
          other_reserved_nonzero: false,
          other_perfmon: false,
        },
      },
    },
  })
  expect(err).toBe('judged under a root of the input, not under Intel\n')
})

const EXPIRED = { nextUpdate: TEST_TIME - 1 }
const NOT_REQUIRED = { tcb_evaluation_required: false }
const wrong = (bytes: number): string => 'ee'.repeat(bytes)

const TDX_REFUSALS: Readonly<Record<string, TdxCase>> = {
  QUOTE_FORMAT_UNSUPPORTED: { quote: { version: 6 } },
  WRONG_TEE_TYPE: { quote: sgxFields() },
  ATTESTATION_KEY_TYPE_UNSUPPORTED: { quote: { attestationKeyType: 3 } },
  QE_VENDOR_UNKNOWN: { quote: { qeVendorId: '00'.repeat(16) } },
  PCK_CHAIN_INCOMPLETE: { quote: { chain: '' } },
  PCK_CRL_EXPIRED: { collateral: { pckCrl: EXPIRED } },
  ROOT_CRL_EXPIRED: { collateral: { rootCrl: EXPIRED } },
  TCB_INFO_SIGNATURE_INVALID: { collateral: { tcbInfo: { signature: '11'.repeat(64) } } },
  TCB_INFO_EXPIRED: {
    collateral: { tcbInfo: { fields: { nextUpdate: '2026-11-19T00:00:00Z' } }, pckCrl: EXPIRED },
  },
  TCB_INFO_CHAIN_INVALID: { collateral: { tcbInfo: { chain: vendor.rootPem } } },
  QE_IDENTITY_SIGNATURE_INVALID: { collateral: { qeIdentity: { signature: '11'.repeat(64) } } },
  QE_IDENTITY_EXPIRED: {
    collateral: { qeIdentity: { fields: { nextUpdate: '2026-11-19T00:00:00Z' } }, pckCrl: EXPIRED },
  },
  QE_IDENTITY_FIELD_MISMATCH: { collateral: { qeIdentity: { fields: { isvprodid: 9 } } } },
  QE_IDENTITY_ID_INVALID: { collateral: { qeIdentity: { fields: { id: 'QE' } } } },
  QE_IDENTITY_VERSION_INVALID: { collateral: { qeIdentity: { fields: { version: 3 } } } },
  QV_RESULT_NOT_ACCEPTED_BY_POLICY: { collateral: { platformStatus: 'OutOfDate' } },
  TCB_REVOKED: { collateral: { platformStatus: 'Revoked' }, policy: NOT_REQUIRED },
  TCB_EVAL_DATA_NUMBER_TOO_LOW: { policy: { min_tcb_evaluation_data_number: 999 } },
  TD_ATTRIBUTES_DEBUG_SET: { quote: { tdAttributes: '0100001000000000' }, policy: NOT_REQUIRED },
  TD_ATTRIBUTES_RESERVED_BIT_SET: { quote: { tdAttributes: '0000003000000000' } },
  XFAM_REQUIRED_BIT_CLEAR: { quote: { xfam: '0200000000000000' } },
  XFAM_FORBIDDEN_BIT_SET: { quote: { xfam: '0300008000000000' } },
  PCK_FMSPC_MISMATCH: { policy: { expected_fmspc_hex: wrong(6) } },
  QE_VENDOR_ID_MISMATCH: { policy: { expected_qe_vendor_id_hex: wrong(16) } },
  TD_ATTRIBUTES_MISMATCH: { policy: { expected_td_attributes_hex: wrong(8) } },
  XFAM_MISMATCH: { policy: { expected_xfam_hex: wrong(8) } },
  MR_SIGNER_SEAM_MISMATCH: { policy: { expected_mr_signer_seam_hex: wrong(48) } },
  SEAM_ATTRIBUTES_MISMATCH: { policy: { expected_seam_attributes_hex: wrong(8) } },
  MR_SEAM_NOT_ALLOWED: { policy: { expected_mrseam_allowlist: [] } },
  MRTD_MISMATCH: { policy: { expected_mrtd_hex: wrong(48) } },
  MR_CONFIG_ID_MISMATCH: { policy: { expected_mr_config_id_hex: wrong(48) } },
  MR_OWNER_MISMATCH: { policy: { expected_mr_owner_hex: wrong(48) } },
  MR_OWNER_CONFIG_MISMATCH: { policy: { expected_mr_owner_config_hex: wrong(48) } },
  RTMR3_NONZERO: { policy: { expected_rtmr3_hex: wrong(48) } },
  REPORT_DATA_MISMATCH: { policy: { expected_report_data_hex: wrong(64) } },
  TEE_TCB_SVN_BELOW_MINIMUM: { policy: { min_tee_tcb_svn_hex: 'ff'.repeat(16) } },
}

test.for(Object.entries(TDX_REFUSALS))('TDX: %s', async ([code, made]) => {
  expect(await judgeTdx(made)).toMatchObject({ code })
})

test('a date that is none does not hide which CRL has expired', async () => {
  const collateral = { tcbInfo: { fields: { nextUpdate: 'soon' } }, pckCrl: EXPIRED }
  expect((await judgeTdx({ collateral })).code).toBe('PCK_CRL_EXPIRED')
})

test('every accepted pin at once', async () => {
  const policy = {
    expected_td_attributes_hex: ATTRIBUTES,
    expected_report_data_hex: '0A'.repeat(64),
    expected_fmspc_hex: vendor.platform.fmspc,
    min_tee_tcb_svn_hex: '00'.repeat(16),
  }
  expect((await judgeTdx({ policy })).code).toBeNull()
})

test('a status is accepted by default or by name', async () => {
  const hardening = { collateral: { platformStatus: 'SWHardeningNeeded' } }
  expect((await judgeTdx(hardening)).answer.outputs).toMatchObject({
    qv_result: 'SW_HARDENING_NEEDED',
  })
  const strict = await judgeTdx({ ...hardening, policy: { accepted_qv_results: ['OK'] } })
  expect(strict.code).toBe('QV_RESULT_NOT_ACCEPTED_BY_POLICY')
  const old = { collateral: { platformStatus: 'OutOfDate' } }
  const named = await judgeTdx({ ...old, policy: { accepted_qv_results: ['OUT_OF_DATE'] } })
  expect(named.answer.outputs).toMatchObject({ qv_result: 'OUT_OF_DATE' })
})

test('without TCB evaluation the status is not judged, and that is said', async () => {
  const made = { collateral: { platformStatus: 'OutOfDate' }, policy: NOT_REQUIRED }
  const { answer, err } = await judgeTdx(made)
  expect(answer.outputs).toMatchObject({ qv_result: 'OUT_OF_DATE', tcb_status: 'OutOfDate' })
  expect(err).toContain('accepted whatever the TCB status')
})

test.for([4, 5])('text after a quote v%i is left out, and that is said', async (version) => {
  const edit = (quote: Uint8Array): Uint8Array => Buffer.concat([quote, Buffer.from('text')])
  const quote = version === 5 ? { version, bodyType: 2 } : { version }
  const { code, err } = await judgeTdx({ quote, edit })
  expect(code).toBeNull()
  expect(err).toContain('left out 4 bytes after the quote')
})

test('text after an SGX quote changes nothing', async () => {
  const edit = (quote: Uint8Array): Uint8Array => Buffer.concat([quote, Buffer.from('text')])
  const { code, err } = await judgeTdx({ quote: sgxFields(), edit })
  expect(code).toBe('WRONG_TEE_TYPE')
  expect(err).toContain('left out 4 bytes after the quote')
})

test('without TCB evaluation the rest of the policy still holds', async () => {
  const quote = { version: 5, mrServiceTd: 'ee'.repeat(48) }
  expect((await judgeTdx({ quote, policy: NOT_REQUIRED })).code).toBe(
    'QV_RESULT_TERMINAL_UNSPECIFIED',
  )
})

test('without issuer chains and certificates for them nothing is accepted', async () => {
  const made = await tdxInput({})
  const { tcb_info_issuer_chain_pem: _chain, ...collateral } = made.collateral
  const { code, err } = await judge(TDX, { ...made, collateral })
  expect(code).toBe('TCB_INFO_CHAIN_INVALID')
  expect(err).toContain('the input brings no issuer chain')
  expect((await judge(TDX, made)).err).not.toContain('no issuer chain')
})

const snp = createSnpVendor()

interface SevCase {
  readonly report?: SnpReportFields
  readonly policy?: Readonly<Record<string, JsonValue>>
  readonly input?: Readonly<Record<string, JsonValue>>
  readonly edit?: (report: Uint8Array) => Uint8Array
}

function sevInput({ report, policy = {}, input = {}, edit }: SevCase) {
  const bytes = snp.report(report)
  const [ask] = snp.chain('vcek').split(snp.rootPem)
  return {
    schema_version: '1',
    attestation_doc_b64: toBase64(gzipSync(edit?.(bytes) ?? bytes)),
    vcek_der_b64: toBase64(snp.leaf('vcek')),
    amd_root_ca_pem: snp.rootPem,
    ask_pem: ask,
    expiration_check_date_unix: TEST_TIME,
    policy,
    ...input,
  }
}

const judgeSev = (made: SevCase) => judge(SEV, sevInput(made))

test('a good SNP report is accepted, and its root is said not to be AMD', async () => {
  const { answer, err } = await judgeSev({ report: { measurement: 'cd'.repeat(48) } })
  expect(answer).toMatchObject({
    accepted: true,
    outputs: {
      measurement: { registers: ['cd'.repeat(48)] },
      body_fields: { version: 5, vmpl: 0, policy_decoded: { smt: true, debug: false } },
    },
  })
  expect(err).toBe('judged under a root of the input, not under AMD\n')
})

const SEV_REFUSALS: Readonly<Record<string, SevCase>> = {
  REPORT_TRUNCATED: { edit: (report) => report.subarray(1) },
  REPORT_FORMAT_UNSUPPORTED: { input: { attestation_doc_b64: toBase64(new Uint8Array(64)) } },
  WRONG_REPORT_VERSION: { report: { version: '06000000' } },
  GUEST_POLICY_RESERVED_BIT_SET: { report: { policy: '0000010000000000' } },
  GUEST_POLICY_DEBUG_SET: { report: { policy: '00000b0000000000' } },
  GUEST_POLICY_MIGRATE_MA_SET: { report: { policy: '0000070000000000' } },
  PLATFORM_INFO_INVALID: { report: { platformInfo: '0500000000000000' } },
  SIGNER_INFO_INVALID: { report: { keyInfo: '04000000' } },
  VCEK_CHAIN_INVALID: { input: { vcek_der_b64: toBase64(Uint8Array.of(1, 2, 3)) } },
  VCEK_EXPIRED: { input: { expiration_check_date_unix: TEST_TIME + 366 * 86_400 } },
  ARK_UNTRUSTED: {
    input: { amd_root_ca_pem: toPemOf(snp.root({ subject: amdName('ARK-Rome') })) },
  },
  VCEK_HWID_MISMATCH: { report: { chipId: 'ee'.repeat(64) } },
  VCEK_TCB_MISMATCH: { report: { reportedTcb: '0100000000000000' } },
  REPORT_SIGNATURE_INVALID: {
    edit: (report) => report.map((byte, index) => (index === 0x90 ? byte ^ 1 : byte)),
  },
  TCB_OUT_OF_DATE: { policy: { min_tcb_bl_spl: 255 } },
  MEASUREMENT_MISMATCH: { policy: { expected_measurement_hex: wrong(48) } },
  HOST_DATA_MISMATCH: { policy: { expected_host_data_hex: wrong(32) } },
  REPORT_DATA_MISMATCH: { policy: { expected_report_data_hex: wrong(64) } },
  ID_KEY_DIGEST_MISMATCH: { policy: { expected_id_key_digest_hex: wrong(48) } },
  AUTHOR_KEY_DIGEST_MISMATCH: { policy: { expected_author_key_digest_hex: wrong(48) } },
}

function toPemOf(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`
}

test.for(Object.entries(SEV_REFUSALS))('SEV: %s', async ([code, made]) => {
  expect(await judgeSev(made)).toMatchObject({ code })
})

test('a document that the schema does not allow is malformed input', async () => {
  const good = await tdxInput({})
  const bad = [
    '',
    '[]',
    '{"a":1,"a":2}',
    JSON.stringify({ ...good, more: 1 }),
    JSON.stringify({ ...good, quote_b64: '*' }),
    JSON.stringify({ ...good, collateral: { ...good.collateral, intel_root_ca_pem: '\uD800' } }),
    JSON.stringify({ ...good, policy: { accepted_qv_results: ['REVOKED'] } }),
  ]
  for (const input of bad) expect(await send(TDX, input)).toMatchObject({ exit: 30 })
  expect(await send(SEV, JSON.stringify(good))).toMatchObject({ exit: 30 })
  expect(jsonOf(await send(TDX, '[]'))).toMatchObject({
    ok: false,
    error: { code: 'conformance_input_malformed' },
  })
})

test('a report whose ASK and ARK are among the published ones needs none in its input', async () => {
  const { ask_pem: _ask, ...input } = sevInput({})
  const alone = await judge(SEV, input)
  expect(alone.code).toBe('VCEK_CHAIN_INVALID')
  expect(alone.err).toBe(
    'the input brings no issuer chain; --chains FILE names certificates for it\n',
  )
  const chains = chainsFile('amd.pem', [snp.chain('vcek')])
  expect((await judge(SEV, input, chains)).code).toBeNull()
})

test('a file of certificates that holds another thing is malformed', async () => {
  const broken = toPemOf(Uint8Array.of(1, 2, 3))
  const outcome = await send(TDX, '[]', chainsFile('broken.pem', [broken]))
  expect(outcome.exit).toBe(30)
  expect(jsonOf(outcome)).toMatchObject({ error: { code: 'chains_malformed' } })
})

test('more than 4 MiB are not read', async () => {
  const outcome = await send(TDX, ' '.repeat((4 << 20) + 1))
  expect(outcome.exit).toBe(30)
  expect(jsonOf(outcome)).toMatchObject({ error: { code: 'file_too_large' } })
})

test('another stage of the contract is not supported, and none is wrong usage', async () => {
  const outcome = await send('verify-nothing', '{}')
  expect(outcome.exit).toBe(20)
  expect(jsonOf(outcome)).toMatchObject({ error: { code: 'stage_unsupported' } })
  expect((await vouchgate(['conformance'])).exit).toBe(2)
})
