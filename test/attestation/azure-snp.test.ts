import {
  acceptAzureSnp,
  AMD_ROOTS,
  parseHclReport,
  parseSnpPolicy,
  testSnpRoots,
  verifyAzureSnp,
  type GenuineAzureSnp,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  hclReport,
  NONCE,
  OTHER_RSA_KEY,
  PCRS,
  RUNTIME_KEYS,
  tpmQuote,
  type HclFields,
  type TpmFields,
} from '../support/azure-vm.ts'
import { createSnpVendor } from '../support/snp-vendor.ts'
import { hasVectors, vectorBytes, vectorCases, vectorJson, vectorText } from '../support/vectors.ts'

const vendor = createSnpVendor()
const roots = await testSnpRoots(vendor.rootPem)
const [leaf, chain] = [vendor.leaf('vcek'), vendor.chain('vcek')]
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')

interface Attempt {
  readonly hcl?: HclFields
  readonly tpm?: TpmFields
  readonly bytes?: (report: Uint8Array) => Uint8Array
  readonly nonce?: Uint8Array
}

async function attempt({ hcl, tpm, bytes, nonce }: Attempt): Promise<GenuineAzureSnp> {
  const report = hclReport(vendor, hcl)
  return verifyAzureSnp({
    hclReport: bytes?.(report) ?? report,
    leaf,
    chain,
    crl: null,
    now: vendor.now,
    roots,
    tpmQuote: tpmQuote(tpm),
    nonce: nonce ?? NONCE,
  })
}

const { AK, EK } = RUNTIME_KEYS
const keys = (...list: readonly unknown[]): Attempt => ({
  hcl: { runtime: (plain) => ({ ...plain, keys: list }) },
})

const REFUSALS: Record<string, [code: string, attempt: Attempt]> = {
  'a truncated report': ['hcl_malformed', { bytes: (bytes) => bytes.subarray(0, 1200) }],
  'another magic': ['hcl_malformed', { hcl: { magic: '48434c42' } }],
  'an unknown version': ['hcl_unsupported', { hcl: { version: 3 } }],
  'a failed request': ['hcl_malformed', { hcl: { status: 1 } }],
  'reserved bytes': ['hcl_malformed', { hcl: { reserved: '01'.padEnd(24, '0') } }],
  'a report size that is not the sum of its parts': [
    'hcl_malformed',
    { hcl: { reportSizeOff: 1 } },
  ],
  'a data size that is not the sum of its parts': ['hcl_malformed', { hcl: { dataSizeOff: 1 } }],
  'an unknown version of the runtime data': ['hcl_unsupported', { hcl: { dataVersion: 2 } }],
  'another hash': ['hcl_unsupported', { hcl: { hashType: 2 } }],
  'an unknown TEE': ['hcl_unsupported', { hcl: { teeType: 3 } }],
  'a TDX guest': ['hcl_unsupported', { hcl: { teeType: 4 } }],
  'bytes after the runtime data': ['hcl_malformed', { hcl: { padding: '0001' } }],
  'a hardware report that is not genuine': [
    'snp_signature_invalid',
    { bytes: (bytes) => bytes.map((byte, index) => (index === 32 + 0x90 ? byte ^ 1 : byte)) },
  ],
  'runtime data that the report does not commit to': [
    'hcl_runtime_data_mismatch',
    { hcl: { reportData: '11'.repeat(32) } },
  ],
  'report data that says more than the digest': [
    'hcl_runtime_data_mismatch',
    {
      hcl: {
        reportData: `${hex(parseHclReport(hclReport(vendor)).hardwareReport.subarray(0x50, 0x70))}01`,
      },
    },
  ],
  'runtime data that is no JSON': ['json_malformed', { hcl: { runtime: () => 'keys' } }],
  'runtime data without claims': ['hcl_malformed', { hcl: { runtime: () => ({}) } }],
  'no attestation key': ['hcl_malformed', keys(EK)],
  'two attestation keys': ['hcl_malformed', keys(AK, AK)],
  'an attestation key that is too weak': ['hcl_malformed', keys({ ...AK, n: 'AQAB' })],
  'a quote signed by another key': ['tpm_quote_signature_invalid', { tpm: { key: OTHER_RSA_KEY } }],
  'an attestation key that is none': [
    'tpm_quote_signature_invalid',
    keys({ ...AK, n: 'A'.repeat(342) }),
  ],
  'signed data that is no statement of a TPM': [
    'tpm_quote_malformed',
    { tpm: { magic: '005443478018' } },
  ],
  'a statement that is no quote': ['tpm_quote_malformed', { tpm: { magic: 'ff5443478017' } }],
  'two banks': ['tpm_quote_malformed', { tpm: { banks: '00000002000b' } }],
  'a SHA-1 bank': ['tpm_quote_malformed', { tpm: { banks: '000000010004' } }],
  'a selection that is too long': ['tpm_quote_malformed', { tpm: { select: '050000000000' } }],
  'bytes after the quote': ['tpm_quote_malformed', { tpm: { trailing: '00' } }],
  'another nonce': ['tpm_quote_nonce_mismatch', { nonce: NONCE.slice(1) }],
  'other PCR values': ['tpm_pcr_mismatch', { tpm: { shownPcrs: PCRS.toReversed() } }],
  'PCR values that are cut elsewhere': [
    'tpm_pcr_mismatch',
    { tpm: { shownPcrs: [Buffer.concat(PCRS), new Uint8Array(0), new Uint8Array(0)] } },
  ],
  'fewer PCR values than selected': ['tpm_pcr_mismatch', { tpm: { pcrs: PCRS.slice(1) } }],
}

test('evidence of the simulated VM is genuine', async () => {
  const genuine = await attempt({})
  expect(genuine.snp.product).toBe('Genoa')
  expect(genuine.runtime.vmConfiguration).toEqual({ 'secure-boot': true })
  expect(genuine.runtime.userData).toBe('00'.repeat(64))
  expect([...genuine.pcrs]).toEqual([
    [0, hex(PCRS[0])],
    [4, hex(PCRS[1])],
    [9, hex(PCRS[2])],
  ])
})

describe('an Azure VM is refused for', () => {
  test.for(Object.entries(REFUSALS))('%s', async ([, [code, given]]) => {
    await expect(attempt(given)).rejects.toMatchObject({ name: 'EvidenceError', code })
  })
})

describe('the policy', () => {
  const policy = parseSnpPolicy({ min_tcb: 'any', measurement: 'any', revocation: 'any' })

  test('pins PCRs, which the measurement of the paravisor says nothing about', async () => {
    const genuine = await attempt({})
    expect(acceptAzureSnp(genuine, policy, new Map([[4, [hex(PCRS[1])]]])).workload).toBe('any')
    expect(acceptAzureSnp(genuine, policy, 'any')).toBeDefined()
    for (const [number, seen] of [
      [0, `PCR 0: ${hex(PCRS[0])}`],
      [7, 'PCR 7: not quoted'],
    ] as const) {
      expect(() => acceptAzureSnp(genuine, policy, new Map([[number, [hex(PCRS[1])]]]))).toThrow(
        expect.objectContaining({ code: 'azure_pcr_not_expected', seen }),
      )
    }
  })

  test('judges the hardware report too', async () => {
    const genuine = await attempt({})
    const strict = parseSnpPolicy({ min_tcb: 'any', measurement: 'any' })
    expect(() => acceptAzureSnp(genuine, strict, 'any')).toThrow(
      expect.objectContaining({ code: 'snp_revocation_unknown' }),
    )
  })

  test('accepts nothing that nobody verified', () => {
    const lookAlike = JSON.parse('{"snp":{},"pcrs":{}}')
    expect(() => acceptAzureSnp(lookAlike, policy, 'any')).toThrow('not a GenuineAzureSnp')
  })
})

const FILES = ['hcl_report.bin', 'leaf.der', 'tpm_quote.msg', 'tpm_quote.sig', 'expected.json']
const azure = vectorCases('tdx', 'azure-snp-', FILES)
const pcrValues = z.array(z.union([z.string(), z.array(z.number())]))
const evidence = z.union([
  z.object({ quote: z.object({ pcrs: pcrValues }) }).transform(({ quote }) => quote.pcrs),
  z.object({ tpm_quote: z.object({ pcrs: pcrValues }) }).transform((found) => found.tpm_quote.pcrs),
  z
    .object({ evidence: z.object({ tpm_quote: z.object({ pcrs: pcrValues }) }) })
    .transform((found) => found.evidence.tpm_quote.pcrs),
])
const expectation = z.object({
  expected: z.object({ ask_chain: z.string(), nonce: z.string(), user_data: z.string() }),
})

async function verifyReal(name: string, flipAt?: number): Promise<GenuineAzureSnp> {
  const { expected } = expectation.parse(vectorJson('tdx', name, 'expected.json'))
  const report = vectorBytes('tdx', name, 'hcl_report.bin')
  const pcrs = evidence.parse(vectorJson('tdx', name, 'asgiven.evidence.json'))
  return verifyAzureSnp({
    hclReport: report.map((byte, index) => (index === flipAt ? byte ^ 1 : byte)),
    leaf: vectorBytes('tdx', name, 'leaf.der'),
    chain: vectorText('tdx', '_trust-amd', `ask_ark_${expected.ask_chain}.pem`),
    crl: null,
    now: 1_780_272_000,
    roots: AMD_ROOTS,
    tpmQuote: {
      message: vectorBytes('tdx', name, 'tpm_quote.msg'),
      signature: vectorBytes('tdx', name, 'tpm_quote.sig'),
      pcrs: pcrs.map((value) =>
        typeof value === 'string' ? Buffer.from(value, 'hex') : Uint8Array.from(value),
      ),
    },
    nonce: Buffer.from(expected.nonce, 'hex'),
  })
}

describe.skipIf(!hasVectors)('real Azure evidence holds together (6 of 6)', () => {
  test.for(azure)('%s', async (name) => {
    const { expected } = expectation.parse(vectorJson('tdx', name, 'expected.json'))
    const genuine = await verifyReal(name)
    expect(genuine.pcrs.size).toBe(24)
    expect(genuine.runtime.userData).toBe(expected.user_data.toLowerCase())
    // One bit of the runtime data.
    await expect(verifyReal(name, 1300)).rejects.toMatchObject({
      code: 'hcl_runtime_data_mismatch',
    })
  })

  test('and every case was found', () => {
    expect(azure).toHaveLength(6)
  })
})
