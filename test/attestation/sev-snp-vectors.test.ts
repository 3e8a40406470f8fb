import {
  acceptSnpReport,
  AMD_ROOTS,
  isVerificationError,
  parseSnpPolicy,
  parseSnpReport,
  testSnpRoots,
  verifySnpReport,
  type GenuineSnpReport,
} from '@vouchgate/attestation'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { hasVectors, vectorBytes, vectorCases, vectorJson, vectorText } from '../support/vectors.ts'

const DAY = 86_400

const realCase = z.object({
  report: z.object({
    version: z.number(),
    debug: z.boolean(),
    vmpl: z.number(),
    report_data: z.string(),
    measurement: z.string(),
    reported_tcb: z.string(),
    signing_key: z.string(),
  }),
  expected: z.object({
    leaf_issuer_cn: z.string(),
    leaf_valid: z.tuple([z.string(), z.string()]),
    report_signature_ok: z.boolean(),
    chain_ok: z.boolean(),
  }),
})

/** `SEV-VLEK-Milan` → `ask_ark_milan_vlek.pem`. */
const amdChain = (issuer: string): string =>
  vectorText(
    'tdx',
    '_trust-amd',
    `ask_ark_${issuer.replace(/^SEV-(VLEK-)?/, '').toLowerCase()}${issuer.includes('VLEK') ? '_vlek' : ''}.pem`,
  )

function verifyReal(name: string, reportFile: string, issuer: string, now: number) {
  return verifySnpReport({
    report: vectorBytes('tdx', name, reportFile),
    leaf: vectorBytes('tdx', name, 'leaf.der'),
    chain: amdChain(issuer),
    crl: null,
    now,
    roots: AMD_ROOTS,
  })
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function verdict(accept: () => unknown): string {
  try {
    accept()
    return 'accepted'
  } catch (error) {
    // A crash is not a rejection.
    if (isVerificationError(error)) return error.code
    throw error
  }
}

const real = vectorCases('tdx', 'snp-', ['report.bin', 'leaf.der', 'expected.json'])
const isBad = (name: string): boolean => name.includes('badvcek')
const good = real.filter((name) => !isBad(name))
const bad = real.filter(isBad)

describe.skipIf(!hasVectors)(
  'real reports under the pinned AMD roots are genuine (13 of 13)',
  () => {
    test.for(good)('%s', async (name) => {
      const want = realCase.parse(vectorJson('tdx', name, 'expected.json'))
      const now = Date.parse(want.expected.leaf_valid[0]) / 1000 + DAY
      const genuine = await verifyReal(name, 'report.bin', want.expected.leaf_issuer_cn, now)
      const { report, tcb } = genuine
      expect(want.expected.report_signature_ok).toBe(true)
      expect(want.expected.leaf_issuer_cn.endsWith(genuine.product)).toBe(true)
      expect(report).toMatchObject({ version: want.report.version, vmpl: want.report.vmpl })
      expect(report.signingKey.toUpperCase()).toBe(want.report.signing_key)
      expect(genuine.debug).toBe(want.report.debug)
      expect(genuine.measurements['measurement']).toBe(want.report.measurement)
      expect(hex(genuine.reportData)).toBe(want.report.report_data)
      // Milan and Genoa: u64 with the microcode in its highest byte.
      const { microcode, snp, tee, bootloader } = tcb.reported
      expect(hex(Uint8Array.of(bootloader, tee, 0, 0, 0, 0, snp, microcode))).toBe(
        want.report.reported_tcb,
      )
    })
  },
)

test.skipIf(!hasVectors)(
  'of the real guests, the one that can be debugged is not wanted',
  async () => {
    const policy = parseSnpPolicy({
      min_tcb: 'any',
      measurement: 'any',
      revocation: 'any',
      alias_check: 'any',
      provisional_firmware: 'allow',
      vmpl: [0, 1],
    })
    const verdicts = new Map<string, string>()
    for (const name of good) {
      const { expected } = realCase.parse(vectorJson('tdx', name, 'expected.json'))
      const now = Date.parse(expected.leaf_valid[0]) / 1000 + DAY
      const genuine = await verifyReal(name, 'report.bin', expected.leaf_issuer_cn, now)
      verdicts.set(
        name,
        verdict(() => acceptSnpReport(genuine, policy)),
      )
    }
    expect([...verdicts].filter(([, code]) => code !== 'accepted')).toEqual([
      ['snp-gosevguest-milan', 'debug_enabled'],
    ])
  },
)

describe.skipIf(!hasVectors)('reports with the VCEK of other evidence are refused (2 of 2)', () => {
  test.for(bad)('%s', async (name) => {
    const want = realCase.parse(vectorJson('tdx', name, 'expected.json'))
    const now = Date.parse(want.expected.leaf_valid[0]) / 1000 + DAY
    await expect(
      verifyReal(name, 'report.bin', want.expected.leaf_issuer_cn, now),
    ).rejects.toMatchObject({ code: 'certificate_signature_invalid', step: 'snp_chain' })
  })
})

test.skipIf(!hasVectors)('a report published without a leaf is parsed (1 of 1)', () => {
  const report = parseSnpReport(vectorBytes('tdx', 'snp-secretvm-noleaf', 'report.bin'))
  expect(report).toMatchObject({ version: 3, vmpl: 1, cpuid: { family: 0x19, model: 0x11 } })
})

const azure = vectorCases('tdx', 'azure-snp-', ['hw_report.bin', 'leaf.der'])

describe.skipIf(!hasVectors)('the reports inside Azure evidence are genuine (6 of 6)', () => {
  test.for(azure)('%s', async (name) => {
    const issuer = name.includes('genoa') ? 'SEV-Genoa' : 'SEV-Milan'
    const genuine = await verifyReal(name, 'hw_report.bin', issuer, 1_780_272_000)
    expect(genuine.product).toBe(issuer.slice('SEV-'.length))
  })
})

const conformanceInput = z.object({
  attestation_doc_b64: z.string(),
  vcek_der_b64: z.string(),
  amd_root_ca_pem: z.string().optional(),
  ask_pem: z.string().optional(),
  expiration_check_date_unix: z.number(),
  policy: z
    .object({
      expected_measurement_hex: z.string(),
      expected_host_data_hex: z.string(),
      expected_report_data_hex: z.string(),
      expected_id_key_digest_hex: z.string(),
      expected_author_key_digest_hex: z.string(),
      min_tcb_bl_spl: z.number(),
      min_tcb_ucode_spl: z.number(),
    })
    .partial()
    .default({}),
})
type ConformanceInput = z.output<typeof conformanceInput>

const pin = (value: string | undefined): 'any' | string[] => (value === undefined ? 'any' : [value])

function conformancePolicy({ policy }: ConformanceInput) {
  const minimum = {
    bootloader: policy.min_tcb_bl_spl ?? 'any',
    tee: 'any',
    snp: 'any',
    microcode: policy.min_tcb_ucode_spl ?? 'any',
  }
  return parseSnpPolicy({
    min_tcb: { Genoa: minimum },
    revocation: 'any',
    measurement: pin(policy.expected_measurement_hex),
    host_data: pin(policy.expected_host_data_hex),
    report_data: pin(policy.expected_report_data_hex),
    id_key_digest: pin(policy.expected_id_key_digest_hex),
    author_key_digest: pin(policy.expected_author_key_digest_hex),
  })
}

async function verifyConformance(given: ConformanceInput): Promise<GenuineSnpReport> {
  const { amd_root_ca_pem: root, ask_pem: ask } = given
  const own = root !== undefined && ask !== undefined
  return verifySnpReport({
    report: gunzipSync(Buffer.from(given.attestation_doc_b64, 'base64')),
    leaf: Buffer.from(given.vcek_der_b64, 'base64'),
    chain: own ? ask + root : amdChain('SEV-Genoa'),
    crl: null,
    now: given.expiration_check_date_unix,
    roots: own ? await testSnpRoots(root) : AMD_ROOTS,
  })
}

async function conformanceAnswer(given: ConformanceInput): Promise<string> {
  try {
    const genuine = await verifyConformance(given)
    return verdict(() => acceptSnpReport(genuine, conformancePolicy(given)))
  } catch (error) {
    if (isVerificationError(error)) return error.code
    throw error
  }
}

/** The code of ours that says what the suite's code says. */
const CONFORMANCE: Record<string, string> = {
  '200': 'accepted',
  '210': 'snp_report_malformed',
  '211': 'snp_report_malformed',
  '220': 'snp_signature_invalid',
  '221': 'snp_signature_invalid',
  '230': 'certificate_malformed',
  '231': 'certificate_signature_invalid',
  '240': 'certificate_not_valid_now',
  '400': 'snp_measurement_not_expected',
  '410': 'snp_host_data_not_expected',
  '420': 'snp_report_data_not_expected',
  '430': 'snp_id_key_not_expected',
  '440': 'snp_author_key_not_expected',
  '450': 'snp_tcb_below_minimum',
  '451': 'snp_tcb_below_minimum',
  '460': 'accepted',
  '461': 'accepted',
  '600': 'debug_enabled',
  '601': 'snp_policy_reserved',
  '602': 'snp_policy_reserved',
  '603': 'snp_migration_agent',
  '604': 'accepted',
  '700': 'snp_chip_mismatch',
  '701': 'snp_tcb_mismatch',
  '702': 'snp_tcb_mismatch',
  '703': 'snp_chip_mismatch',
}
const conformance = vectorCases('tdx', 'confsev-', ['asgiven.input.json', 'expected.json'])

describe.skipIf(!hasVectors)('conformance cases get the demanded answer (26 of 26)', () => {
  test.for(conformance)('%s', async (name) => {
    const given = conformanceInput.parse(vectorJson('tdx', name, 'asgiven.input.json'))
    const { expected } = z
      .object({ expected: z.object({ accepted: z.boolean() }) })
      .parse(vectorJson('tdx', name, 'expected.json'))
    const answer = await conformanceAnswer(given)
    expect(answer).toBe(CONFORMANCE[name.slice('confsev-'.length, 'confsev-'.length + 3)])
    expect(answer === 'accepted').toBe(expected.accepted)
  })
})

test.skipIf(!hasVectors)('every case of each family was found', () => {
  expect([good.length, bad.length, azure.length, conformance.length]).toEqual([13, 2, 6, 26])
})
