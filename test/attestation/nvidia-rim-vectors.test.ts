import {
  compareMeasurements,
  encodeUtf8,
  fromBase64,
  isVerificationError,
  matchRims,
  NVIDIA_ROOTS,
  parseSpdmReport,
  verifyRim,
  type GenuineRim,
  type GpuArch,
  type MeasuredDevice,
  type MeasurementComparison,
} from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { newRimVendor } from '../support/nvidia-rim.ts'
import { hasVectors, vectorBytes, vectorJson, vectorPath } from '../support/vectors.ts'

const FOLDER = 'nvidia'
const SETS = {
  hopper: '01-h100-550.90.07-complete-with-ocsp',
  engineering: '02-h100-545.00-engineering-rims',
  nvswitch: '03-ls10-switch-96.10.55.00.01-complete',
  blackwell: '05-blackwell-gb100-8gpu-mpt-590.48.01',
  genuine: '10-rims-genuine',
  negative: '11-rims-negative',
} as const

/** Documents below a set, as paths relative to it. */
function documentsOf(set: string, folder = ''): string[] {
  const root = vectorPath(FOLDER, set, folder)
  if (!hasVectors || !existsSync(root)) return []
  return readdirSync(root)
    .filter((name) => /\.(?:xml|swidtag)$/.test(name))
    .map((name) => (folder === '' ? name : `${folder}/${name}`))
}

const documentOf = (set: string, name: string): Uint8Array => vectorBytes(FOLDER, set, name)
const timeOf = (text: string): number => Date.parse(text) / 1000

/** A time at which every certificate of the chain is valid, found from the document alone. */
async function verifiedWithin(document: Uint8Array): Promise<GenuineRim> {
  const late = await verifyRim(document, {
    now: timeOf('2029-01-01T00:00:00Z'),
    roots: NVIDIA_ROOTS,
  })
  const now = Math.max(...late.chain.certificates.map(({ notBefore }) => notBefore)) + 3600
  return verifyRim(document, { now, roots: NVIDIA_ROOTS })
}

const genuineRows = z.record(
  z.string(),
  z.object({
    version: z.string(),
    product: z.string(),
    edition: z.string(),
    active: z.array(z.number()),
    signer: z.string(),
    signerValid: z.tuple([z.string(), z.string()]),
    chain: z.array(z.string()),
  }),
)

const setTen = [...documentsOf(SETS.genuine), ...documentsOf(SETS.genuine, 'nvtrust-samples')]

describe.skipIf(!hasVectors)(
  'genuine reference values say what was expected of them (32 of 32)',
  () => {
    test('there are 32', () => {
      expect(setTen).toHaveLength(32)
    })

    test.for(setTen)('%s', async (name) => {
      const want = genuineRows.parse(vectorJson(FOLDER, SETS.genuine, 'expected.json'))[name]
      const document = documentOf(SETS.genuine, name)
      const rim = await verifiedWithin(document)
      expect(rim).toMatchObject({
        root: 'nvidia',
        validity: 'valid',
        product: want?.product,
        edition: want?.edition,
        version: want?.version,
        slot: /driver/i.test(basename(name)) ? 'driver' : 'vbios',
        sha256: createHash('sha256').update(document).digest('hex'),
      })
      expect([...rim.golden.keys()]).toEqual(want?.active)
      expect(rim.chain.certificates.map(({ commonName }) => commonName)).toEqual(want?.chain)
      expect(rim.signer.commonName).toBe(want?.signer)
      expect([rim.signer.notBefore, rim.signer.notAfter]).toEqual(want?.signerValid.map(timeOf))
    })
  },
)

const others = [SETS.hopper, SETS.engineering, SETS.nvswitch, SETS.blackwell].flatMap((set) =>
  documentsOf(set).map((name) => [set, name] as const),
)

describe.skipIf(!hasVectors)('the reference values of complete sets are genuine (8 of 8)', () => {
  test('there are 8', () => {
    expect(others).toHaveLength(8)
  })

  test.for(others)('%s/%s', async ([set, name]) => {
    const rim = await verifiedWithin(documentOf(set, name))
    expect(rim).toMatchObject({ root: 'nvidia', validity: 'valid' })
  })
})

describe.skipIf(!hasVectors)('signers expire while their values stay in use', () => {
  const verifiedAt = (time: string): Promise<GenuineRim> =>
    verifyRim(documentOf(SETS.genuine, 'NV_GPU_DRIVER_GH100_580.95.05.xml'), {
      now: timeOf(time),
      roots: NVIDIA_ROOTS,
    })

  test('until the end of the intermediate, which is earlier than that of the signer', async () => {
    const rim = await verifiedAt('2027-04-30T00:00:00Z')
    expect(rim.validity).toBe('valid')
    expect(rim.expiresAt).toBe(timeOf('2027-04-30T23:59:59Z'))
    expect(rim.expiresAt).toBeLessThan(rim.signer.notAfter)
  })

  test('and after it', async () => {
    const rim = await verifiedAt('2027-05-01T00:00:00Z')
    expect(rim.validity).toBe('expired')
  })
})

test.skipIf(!hasVectors)(
  'two revisions of one document differ in digest, signer and one value',
  async () => {
    const [older, newer] = await Promise.all(
      [
        'nvtrust-samples/1010_0200_882_96005E0001_PROD.swidtag',
        'NV_GPU_VBIOS_1010_0200_882_96005E0001.revision-2023-12.xml',
      ].map((name) => verifiedWithin(documentOf(SETS.genuine, name))),
    )
    expect(older?.tagId).toBe(newer?.tagId)
    expect(older?.sha256).not.toBe(newer?.sha256)
    expect(older?.signer.notBefore).toBeLessThan(newer?.signer.notBefore ?? 0)
    const differing = [...(older?.golden ?? [])].filter(
      ([index, values]) => values.join() !== newer?.golden.get(index)?.join(),
    )
    expect(differing.map(([index]) => index)).toEqual([9])
  },
)

async function reason(document: Uint8Array, roots = NVIDIA_ROOTS): Promise<string> {
  try {
    await verifyRim(document, { now: timeOf('2026-03-01T00:00:00Z'), roots })
    return 'genuine'
  } catch (error) {
    // A crash is not a refusal.
    if (isVerificationError(error)) return `${error.step} ${error.code}`
    throw error
  }
}

const REASONS: Readonly<Record<string, string>> = {
  'NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml': 'rim_digest_mismatch',
  'NV_GPU_DRIVER_GH100_570.124.03_expired.xml': 'rim_digest_mismatch',
  'NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml': 'rim_digest_mismatch',
  'NV_SWITCH_BIOS_5612_0002_890_9610550001_measurement_mismatch.xml': 'rim_digest_mismatch',
  'incorrect_cert_chain_driver_rim.xml': 'certificate_root_untrusted',
  'incorrect_signature_driver_rim.xml': 'rim_signature_invalid',
}

describe.skipIf(!hasVectors)(
  'broken reference values are refused, each for its reason (6 of 6)',
  () => {
    test('there are 6', () => {
      expect(documentsOf(SETS.negative).toSorted()).toEqual(Object.keys(REASONS).toSorted())
    })

    test.for(Object.entries(REASONS))('%s', async ([name, code]) => {
      expect(await reason(documentOf(SETS.negative, name))).toBe(`rim ${code}`)
    })
  },
)

/** Unsigned fragments: what refuses each, and where it has resources, what does once somebody signs them. */
const FRAGMENTS: readonly (readonly [name: string, code: string, signed: string | null])[] = [
  ['failure_duplicate_index', 'rim_signature_missing', 'rim_size_unsupported'],
  ['failure_empty_payload', 'rim_signature_missing', 'rim_nothing_active'],
  ['failure_hash_empty_namespace', 'rim_signature_missing', 'rim_alternatives_mismatch'],
  ['failure_invalid_alternatives', 'rim_signature_missing', 'rim_size_unsupported'],
  ['failure_invalid_base64_cert', 'rim_root_unexpected', null],
  ['failure_invalid_cert_bytes', 'rim_root_unexpected', null],
  ['failure_invalid_index', 'rim_signature_missing', 'rim_index_malformed'],
  ['failure_invalid_pem_data', 'rim_root_unexpected', null],
  ['failure_invalid_size', 'rim_signature_missing', 'rim_size_unsupported'],
  ['failure_missing_alternatives', 'rim_signature_missing', 'rim_size_unsupported'],
  ['failure_missing_colloquial_version', 'rim_root_unexpected', null],
  ['failure_missing_hash', 'rim_signature_missing', 'rim_size_unsupported'],
  ['failure_missing_index', 'rim_signature_missing', 'rim_index_malformed'],
  ['failure_missing_meta', 'rim_root_unexpected', null],
  ['failure_missing_size', 'rim_signature_missing', 'rim_size_unsupported'],
  ['failure_missing_x509_certificate', 'rim_root_unexpected', null],
  ['failure_missing_x509_data', 'rim_root_unexpected', null],
  ['failure_no_payload', 'rim_signature_missing', null],
  ['success_payload_multiple_alternatives', 'rim_signature_missing', 'genuine'],
  ['success_payload_multiple_measurements', 'rim_signature_missing', 'rim_size_unsupported'],
  ['success_payload_single_measurement', 'rim_signature_missing', 'genuine'],
  ['valid_signed_xml', 'rim_root_unexpected', null],
]

/** In canonical order: attributes by name, those of a namespace last. */
const canonicalResource = (element: string): string => {
  const attributes = [...element.matchAll(/ (\S+)="([^"]*)"/g)].map(([whole]) => whole)
  const isPrefixed = (attribute: string): boolean => attribute.includes(':')
  const plain = attributes.filter((attribute) => !isPrefixed(attribute)).toSorted()
  return `<ns0:Resource${[...plain, ...attributes.filter(isPrefixed)].join('')}></ns0:Resource>`
}

describe.skipIf(!hasVectors)('fragments of another test suite (22 of 22)', () => {
  const vendor = newRimVendor()

  test('there are 22, and a document', async () => {
    const names = FRAGMENTS.map(([name]) => `google-parse/${name}.xml`)
    const all = [...names, 'google-parse/success_valid_rim.xml'].toSorted()
    expect(documentsOf(SETS.negative, 'google-parse').toSorted()).toEqual(all)
    const rim = await verifiedWithin(documentOf(SETS.negative, all.at(-2) ?? ''))
    expect(rim).toMatchObject({ version: '96.00.6D.00.29', validity: 'valid' })
  })

  test.for(FRAGMENTS)('%s', async ([name, code, signed]) => {
    const document = documentOf(SETS.negative, `google-parse/${name}.xml`)
    expect(await reason(document)).toBe(`rim ${code}`)
    if (signed === null) return
    const elements =
      Buffer.from(document)
        .toString()
        .match(/<ns0:Resource [^>]*>/g) ?? []
    const resigned = vendor.rim({ fields: { resources: elements.map(canonicalResource) } })
    const want = signed === 'genuine' ? signed : `rim ${signed}`
    expect(await reason(encodeUtf8(resigned), vendor.pki.roots)).toBe(want)
  })
})

interface Compared {
  readonly device: MeasuredDevice
  readonly rims: readonly GenuineRim[]
  readonly result: MeasurementComparison
}

function deviceOf(report: Uint8Array, arch: GpuArch): MeasuredDevice {
  const { measurements, opaque } = parseSpdmReport(report)
  const NVDEC0_STATUS = 11
  const kind = arch === 'LS10' ? 'switch' : 'gpu'
  return { arch, kind, measurements, nvdec0: opaque.get(NVDEC0_STATUS)?.[0] ?? null }
}

async function compared(
  report: Uint8Array,
  arch: GpuArch,
  documents: readonly Uint8Array[],
): Promise<Compared> {
  const device = deviceOf(report, arch)
  const rims = await Promise.all(documents.map(verifiedWithin))
  return { device, rims, result: compareMeasurements(device, rims) }
}

const comparison = z.object({
  checked: z.number(),
  matched: z.number(),
  mismatches: z.array(z.object({ goldenIndex: z.number(), spdmBlock: z.number() })),
  nvdecIndex35Skipped: z.boolean(),
  alternativeUsedByGoldenIndex: z.record(z.string(), z.number()),
})
type Expected = z.output<typeof comparison>

function expectSame({ result, device }: Compared, want: Expected): void {
  expect(result.checked).toBe(want.checked)
  expect(result.matched).toBe(want.matched)
  expect(result.mismatches.map(({ index }) => [index, index + 1])).toEqual(
    want.mismatches.map(({ goldenIndex, spdmBlock }) => [goldenIndex, spdmBlock]),
  )
  expect(result.skipped).toEqual(want.nvdecIndex35Skipped ? [35] : [])
  expect(Object.fromEntries(result.alternatives)).toEqual(want.alternativeUsedByGoldenIndex)
  expect(result.unchecked).toBe(device.measurements.size - want.checked - result.skipped.length)
}

const expectedOf = (set: string, member: string): Expected =>
  comparison.parse(
    z.record(z.string(), z.unknown()).parse(vectorJson(FOLDER, set, 'expected.json'))[member],
  )

describe.skipIf(!hasVectors)('real reports compared with genuine reference values (5 of 5)', () => {
  const reportOf = (set: string): Uint8Array => documentOf(set, 'report.bin')

  test('an H100 equals them', async () => {
    const documents = documentsOf(SETS.hopper).map((name) => documentOf(SETS.hopper, name))
    const found = await compared(reportOf(SETS.hopper), 'HOPPER', documents)
    expectSame(found, expectedOf(SETS.hopper, 'comparison'))
    const subject = { kind: 'gpu', chip: 'GH100', driver: '550.90.07' } as const
    matchRims({ ...subject, vbios: '96.00.9F.00.01' }, found.rims)
    expect(() => matchRims({ ...subject, vbios: '96.00.9F.00.02' }, found.rims)).toThrow(
      expect.objectContaining({ code: 'rim_version_mismatch' }),
    )
  })

  test.for([
    ['1010_0200_882_96005E0001_test_no_gpu.swidtag', 'comparisonTestRims'],
    ['1010_0200_882_96005E0001_PROD.swidtag', 'comparisonProdVbios'],
  ] as const)('an engineering H100 and %s', async ([vbios, member]) => {
    const documents = ['Driver_RIM_test_no_gpu.swidtag', vbios]
    const found = await compared(
      reportOf(SETS.engineering),
      'HOPPER',
      documents.map((name) => documentOf(SETS.engineering, name)),
    )
    expectSame(found, expectedOf(SETS.engineering, member))
    for (const { source } of found.result.mismatches) expect(source).toBe('vbios')
  })

  test('a switch equals them', async () => {
    const documents = documentsOf(SETS.nvswitch).map((name) => documentOf(SETS.nvswitch, name))
    const found = await compared(reportOf(SETS.nvswitch), 'LS10', documents)
    expectSame(found, expectedOf(SETS.nvswitch, 'comparison'))
    expect(found.result).toMatchObject({ checked: 31, unchecked: 0 })
  })

  test('eight B200s have other versions than these, and other measurements', async () => {
    const list = z
      .array(z.object({ evidence: z.string() }))
      .parse(vectorJson(FOLDER, SETS.blackwell, 'evidence_list.json'))
    const documents = documentsOf(SETS.blackwell).map((name) => documentOf(SETS.blackwell, name))
    const found = await Promise.all(
      list.map(({ evidence }) => compared(fromBase64(evidence), 'BLACKWELL', documents)),
    )
    expect(found).toHaveLength(8)
    for (const { result, rims } of found) {
      expect(result).toMatchObject({ checked: 38, skipped: [] })
      expect([17, 18]).toContain(result.matched)
      const running = { driver: '590.48.01', vbios: '97.00.D9.00.35' }
      expect(() => matchRims({ kind: 'gpu', chip: 'GB100', ...running }, rims)).toThrow(
        expect.objectContaining({ code: 'rim_version_mismatch' }),
      )
    }
    // A decoder that is off measures zeros, which are an alternative of the reference value.
    const offAt61 = found.filter(({ result }) => result.alternatives.has(61))
    expect(offAt61.map(({ device }) => device.nvdec0)).toEqual(offAt61.map(() => 0x55))
    expect(offAt61.length).toBeGreaterThan(0)
  })
})
