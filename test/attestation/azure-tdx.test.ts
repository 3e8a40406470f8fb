import {
  acceptAzureTdx,
  INTEL_SGX_ROOT,
  parseCollateral,
  parseHclReport,
  parsePolicy,
  sha256,
  testPkiRoot,
  toHex,
  verifyAzureTdx,
  type GenuineAzureTdx,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  hclReport,
  NONCE,
  OTHER_RSA_KEY,
  PCRS,
  tpmQuote,
  type HclFields,
  type TpmFields,
} from '../support/azure-vm.ts'
import { createTeeVendor, type QuoteFields } from '../support/tee-vendor.ts'
import { hasVectors, vectorBytes, vectorCases, vectorJson } from '../support/vectors.ts'

const vendor = createTeeVendor()
const trustedRoot = await testPkiRoot(vendor.rootPem)
/** A TDREPORT is local to its machine, so its content does not matter. */
const TD = { report: () => new Uint8Array(1184) }

interface Attempt {
  readonly hcl?: HclFields
  readonly tpm?: TpmFields
  readonly quote?: Partial<QuoteFields>
  readonly nonce?: Uint8Array
}

async function attempt({ hcl, tpm, quote, nonce }: Attempt): Promise<GenuineAzureTdx> {
  const report = hclReport(TD, { teeType: 4, ...hcl })
  // What a genuine TD binds: the runtime data as the unaltered report has it.
  const { runtimeData } = parseHclReport(hclReport(TD, { teeType: 4 }))
  const reportData = toHex(await sha256(runtimeData)) + '00'.repeat(32)
  return verifyAzureTdx({
    quote: await vendor.quote({ reportData, ...quote }),
    collateral: vendor.collateral(),
    now: vendor.now,
    trustedRoot,
    hclReport: report,
    tpmQuote: tpmQuote(tpm),
    nonce: nonce ?? NONCE,
  })
}

test('evidence of the simulated TD is genuine, and its PCRs are known', async () => {
  const genuine = await attempt({})
  expect(genuine.quote.tcb.status).toBe('UpToDate')
  expect(genuine.runtime.userData).toBe('00'.repeat(64))
  expect([...genuine.pcrs.keys()]).toEqual([0, 4, 9])
})

describe('an Azure TD is refused for', () => {
  const REFUSALS: Record<string, [code: string, attempt: Attempt]> = {
    'a report about an SNP guest': ['hcl_unsupported', { hcl: { teeType: 2 } }],
    'a quote that is not genuine': [
      'qe_key_binding_invalid',
      { quote: { qe: { reportData: '22'.repeat(64) } } },
    ],
    'a quote that binds other runtime data': [
      'hcl_runtime_data_mismatch',
      { hcl: { runtime: (plain) => ({ ...plain, 'user-data': '01'.repeat(64) }) } },
    ],
    'report data with a tail': [
      'hcl_runtime_data_mismatch',
      { quote: { reportData: '33'.repeat(64) } },
    ],
    'a TPM quote by another key': ['tpm_quote_signature_invalid', { tpm: { key: OTHER_RSA_KEY } }],
    'another nonce': ['tpm_quote_nonce_mismatch', { nonce: NONCE.slice(1) }],
    'other PCR values': ['tpm_pcr_mismatch', { tpm: { shownPcrs: PCRS.toReversed() } }],
  }

  test.for(Object.entries(REFUSALS))('%s', async ([, [code, given]]) => {
    await expect(attempt(given)).rejects.toMatchObject({ name: 'EvidenceError', code })
  })
})

describe('the policy', () => {
  const policy = parsePolicy({ workload: 'any' })

  test('judges the quote and pins PCRs', async () => {
    const genuine = await attempt({})
    const value = toHex(PCRS[1] ?? new Uint8Array())
    expect(acceptAzureTdx(genuine, policy, new Map([[4, [value]]])).workload).toBe('any')
    expect(acceptAzureTdx(genuine, policy, 'any').workload).toBe('any')
    expect(() => acceptAzureTdx(genuine, policy, new Map([[0, [value]]]))).toThrow(
      expect.objectContaining({ code: 'azure_pcr_not_expected' }),
    )
    const debug = await attempt({ quote: { tdAttributes: '0100001000000000' } })
    expect(() => acceptAzureTdx(debug, policy, 'any')).toThrow(
      expect.objectContaining({ code: 'debug_enabled' }),
    )
  })

  test('accepts nothing that nobody verified', () => {
    const lookAlike = JSON.parse('{"quote":{},"pcrs":{}}')
    expect(() => acceptAzureTdx(lookAlike, policy, 'any')).toThrow('not a GenuineAzureTdx')
  })
})

const FILES = ['hcl_report.bin', 'quote.bin', 'tpm_quote.msg', 'tpm_quote.sig']
const azure = vectorCases('tdx', 'azure-tdx-', FILES)
const pcrValues = z.array(z.union([z.string(), z.array(z.number())]))
const tpm = z.object({ tpm_quote: z.object({ pcrs: pcrValues }) })
const evidence = z.union([tpm, z.object({ evidence: tpm }).transform((found) => found.evidence)])
const expectation = z.object({ expected: z.object({ nonce: z.string(), user_data: z.string() }) })
const COLLATERAL = ['collateral.json', 'quote.bin', 'expected.json']
const times = z.object({ verification_time: z.number() })

/** No Azure vector brings collateral; that of another quote of its platform does, where there is one. */
const donors = vectorCases('tdx', 'tdx4-', COLLATERAL)

async function verifyReal(name: string): Promise<GenuineAzureTdx> {
  const { expected } = expectation.parse(vectorJson('tdx', name, 'expected.json'))
  const { pcrs } = evidence.parse(vectorJson('tdx', name, 'asgiven.evidence.json')).tpm_quote
  const input = {
    quote: vectorBytes('tdx', name, 'quote.bin'),
    trustedRoot: INTEL_SGX_ROOT,
    hclReport: vectorBytes('tdx', name, 'hcl_report.bin'),
    tpmQuote: {
      message: vectorBytes('tdx', name, 'tpm_quote.msg'),
      signature: vectorBytes('tdx', name, 'tpm_quote.sig'),
      pcrs: pcrs.map((value) =>
        typeof value === 'string' ? Buffer.from(value, 'hex') : Uint8Array.from(value),
      ),
    },
    nonce: Buffer.from(expected.nonce, 'hex'),
  }
  let last: unknown = null
  for (const donor of donors) {
    try {
      return await verifyAzureTdx({
        ...input,
        collateral: parseCollateral(vectorJson('tdx', donor, 'collateral.json')),
        now: times.parse(vectorJson('tdx', donor, 'expected.json')).verification_time,
      })
    } catch (error) {
      last = error
    }
  }
  throw last
}

describe.skipIf(!hasVectors)('real Azure evidence holds together', () => {
  test.for(azure)('%s', async (name) => {
    const { expected } = expectation.parse(vectorJson('tdx', name, 'expected.json'))
    const genuine = await verifyReal(name)
    expect(genuine.pcrs.size).toBe(24)
    expect(genuine.runtime.userData).toBe(expected.user_data.toLowerCase())
  })

  test('and every case with a TPM quote was found', () => {
    expect(azure).toHaveLength(3)
  })
})
