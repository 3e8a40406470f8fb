import {
  AMD_ROOTS,
  parseSnpCertificateTable,
  testSnpRoots,
  verifyExtendedSnpReport,
  type ExtendedSnpInput,
  type GenuineSnpReport,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import {
  certificateTable,
  TABLE_GUID,
  vendorEntries,
  type TableEntry,
} from '../support/snp-table.ts'
import { createSnpVendor } from '../support/snp-vendor.ts'
import { hasVectors, vectorBytes, vectorCases, vectorText } from '../support/vectors.ts'

const vendor = createSnpVendor()
const derOf = (pem: string): Uint8Array =>
  Uint8Array.from(Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64'))
/** The root that the vendor's chains end in: a signature of its own makes every issued one another. */
const root = derOf(vendor.rootPem)
const good = (kind: 'vcek' | 'vlek' = 'vcek'): TableEntry[] =>
  vendorEntries(vendor, kind).map((entry) =>
    entry.guid === TABLE_GUID.ark ? { ...entry, content: root } : entry,
  )
/** All leaves of the recorded reports are valid then. */
const WITHIN_LEAVES = Date.parse('2026-06-01T00:00:00Z') / 1000
const roots = await testSnpRoots(vendor.rootPem)

const judge = (
  entries: readonly TableEntry[],
  overrides: Partial<ExtendedSnpInput> = {},
): Promise<GenuineSnpReport> =>
  verifyExtendedSnpReport({
    report: vendor.report(),
    certificates: certificateTable(entries),
    chain: null,
    crl: null,
    now: vendor.now,
    roots,
    ...overrides,
  })

test('a report is verified with the certificates that came with it', async () => {
  const crl = vendor.crl()
  const genuine = await judge(good(), { crl })
  expect(genuine).toMatchObject({ product: 'Genoa', root: 'test-pki', revocation: 'checked' })
})

test('a leaf alone is verified with the chain that the caller has', async () => {
  const leafAlone = good('vlek').slice(0, 1)
  const report = vendor.report({ keyInfo: '04000000' })
  const chain = vendor.chain('vlek')
  expect(await judge(leafAlone, { report, chain })).toMatchObject({ product: 'Genoa' })
  const without = judge(leafAlone, { report })
  await expect(without).rejects.toMatchObject({
    step: 'snp_chain',
    code: 'certificate_chain_length',
  })
})

test('the leaf is the one of the key that the report names', async () => {
  const vlek: TableEntry = { guid: TABLE_GUID.vlek, content: vendor.leaf('vlek') }
  expect(await judge([vlek, ...good()])).toMatchObject({ product: 'Genoa' })
})

test('what is no certificate is kept under its GUID, and does not disturb', async () => {
  const other: TableEntry = { guid: 'ec'.repeat(16), content: Uint8Array.of(1, 2, 3) }
  const table = parseSnpCertificateTable(certificateTable([other, ...good()]))
  expect(table.get('ec'.repeat(16))).toEqual(Uint8Array.of(1, 2, 3))
  expect(table.get(TABLE_GUID.ark)).toEqual(root)
  expect(await judge([other, ...good()])).toMatchObject({ product: 'Genoa' })
})

test('the host cannot bring a root of its own', async () => {
  await expect(judge(good(), { roots: AMD_ROOTS })).rejects.toMatchObject({
    step: 'snp_chain',
    code: 'certificate_root_untrusted',
  })
})

describe('a table is refused for', () => {
  const [leaf = { guid: '', content: root }, ...authorities] = good()
  const beyond = certificateTable([leaf]).length
  const entry = (guid: string): TableEntry => ({ guid, content: Uint8Array.of(1) })
  const REFUSALS: Record<string, [code: string, table: Uint8Array]> = {
    'no byte at all': ['snp_certificate_table_malformed', new Uint8Array()],
    'no end of its entries': [
      'snp_certificate_table_malformed',
      certificateTable([leaf]).subarray(0, 24),
    ],
    'content that begins after it': [
      'snp_certificate_table_malformed',
      certificateTable([{ ...leaf, offset: beyond + 1, length: 0 }]),
    ],
    'content that ends after it': [
      'snp_certificate_table_malformed',
      certificateTable([{ ...leaf, length: beyond }]),
    ],
    'content that begins in its entries': [
      'snp_certificate_table_malformed',
      certificateTable([{ ...leaf, offset: 47 }, ...authorities]),
    ],
    'a length that overflows 32 bits': [
      'snp_certificate_table_malformed',
      certificateTable([{ ...leaf, length: 0xffff_ffff }]),
    ],
    'the same GUID twice': ['snp_certificate_table_malformed', certificateTable([...good(), leaf])],
    'more entries than any host writes': [
      'snp_certificate_table_malformed',
      certificateTable(Array.from({ length: 33 }, (_, index) => entry(`${10 + index}`.repeat(16)))),
    ],
    'more than 64 KiB': ['snp_certificate_table_malformed', certificateTable(good(), 1 << 16)],
    'no leaf': ['certificate_chain_length', certificateTable(authorities)],
    'the leaf of the other kind of key': [
      'certificate_chain_length',
      certificateTable(good('vlek')),
    ],
    'no ASK': [
      'certificate_chain_length',
      certificateTable(good().filter(({ guid }) => guid !== TABLE_GUID.ask)),
    ],
    'no ARK': [
      'certificate_chain_length',
      certificateTable(good().filter(({ guid }) => guid !== TABLE_GUID.ark)),
    ],
    'another thing in the place of the leaf': [
      'certificate_malformed',
      certificateTable([{ ...leaf, content: Uint8Array.of(1) }, ...authorities]),
    ],
  }

  test.for(Object.entries(REFUSALS))('%s', async ([, [code, certificates]]) => {
    await expect(judge([], { certificates })).rejects.toMatchObject({ step: 'snp_chain', code })
  })

  test('32 entries and 64 KiB are read', () => {
    const entries = Array.from({ length: 32 }, (_, index) => entry(`${10 + index}`.repeat(16)))
    const size = certificateTable(entries, 0).length
    expect(parseSnpCertificateTable(certificateTable(entries, (1 << 16) - size)).size).toBe(32)
  })
})

test('every cut of a good table is refused by a code', async () => {
  const whole = certificateTable(good(), 0)
  for (let length = 0; length < whole.length; length += 61) {
    const cut = judge([], { certificates: whole.subarray(0, length) })
    await expect(cut).rejects.toMatchObject({ code: 'snp_certificate_table_malformed' })
  }
})

test.for(vectorCases('tdx', 'snp-teekit-gcp', ['report.bin', 'leaf.der']))(
  '%s, with a table of its certificates as Google Cloud lays them beside it',
  async (name) => {
    const chain = vectorText('tdx', '_trust-amd', 'ask_ark_milan.pem').split(
      /(?<=END CERTIFICATE-----\n)/,
    )
    const [ask = '', ark = ''] = chain
    const genuine = await verifyExtendedSnpReport({
      report: vectorBytes('tdx', name, 'report.bin'),
      certificates: certificateTable([
        { guid: TABLE_GUID.vcek, content: vectorBytes('tdx', name, 'leaf.der') },
        { guid: TABLE_GUID.ask, content: derOf(ask) },
        { guid: TABLE_GUID.ark, content: derOf(ark) },
      ]),
      chain: null,
      crl: null,
      now: WITHIN_LEAVES,
      roots: AMD_ROOTS,
    })
    expect(genuine).toMatchObject({ product: 'Milan', root: 'amd' })
  },
)

test.skipIf(!hasVectors)('three reports of Google Cloud were found', () => {
  expect(vectorCases('tdx', 'snp-teekit-gcp', ['report.bin', 'leaf.der'])).toHaveLength(3)
})
