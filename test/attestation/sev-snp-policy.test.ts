import {
  acceptSnpReport,
  parseSnpPolicy,
  testSnpRoots,
  verifySnpReport,
  type GenuineSnpReport,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { createSnpVendor, PLATFORMS, type SnpReportFields } from '../support/snp-vendor.ts'

const vendor = createSnpVendor()
const roots = await testSnpRoots(vendor.rootPem)
const [leaf, chain, crl] = [vendor.leaf('vcek'), vendor.chain('vcek'), vendor.crl()]

const genuine = (fields: SnpReportFields = {}, withCrl = true): Promise<GenuineSnpReport> =>
  verifySnpReport({
    report: vendor.report(fields),
    leaf,
    chain,
    crl: withCrl ? crl : null,
    now: vendor.now,
    roots,
  })

const LEVELS = { bootloader: 10, tee: 0, snp: 23, microcode: 84 }
const strict = { min_tcb: { Genoa: LEVELS }, measurement: ['00'.repeat(48)] }
const OTHER = 'ab'

describe('the strict policy', () => {
  test('accepts a production guest on a current platform', async () => {
    const accepted = acceptSnpReport(await genuine(), parseSnpPolicy(strict))
    expect(accepted).toMatchObject({ workload: 'pinned', product: 'Genoa', debug: false })
    expect(accepted.measurements['host_data']).toBe('00'.repeat(32))
  })

  test('says so where no measurement was expected', async () => {
    const policy = parseSnpPolicy({ ...strict, measurement: 'any' })
    expect(acceptSnpReport(await genuine(), policy).workload).toBe('any')
  })
})

describe('a genuine report is not wanted, and is once the rule is weakened by name:', () => {
  const RULES: Record<string, [code: string, fields: SnpReportFields, weaker: object]> = {
    debug: ['debug_enabled', { policy: '00000b0000000000' }, { debug: 'allow' }],
    'a migration agent': [
      'snp_migration_agent',
      { policy: '0000070000000000' },
      { migration_agent: 'allow' },
    ],
    'memory on CXL': ['snp_cxl_allowed', { policy: '0000230000000000' }, { cxl: 'allow' }],
    'memory aliases that were not looked for': [
      'snp_aliases_unchecked',
      { platformInfo: '0500000000000000' },
      { alias_check: 'any' },
    ],
    'a firmware that is not committed': [
      'snp_firmware_provisional',
      { committedFirmware: '223701' },
      { provisional_firmware: 'allow' },
    ],
    'a TCB that is not committed': [
      'snp_firmware_provisional',
      { currentTcb: '0a00000000001755' },
      { provisional_firmware: 'allow' },
    ],
    'another VMPL': ['snp_vmpl_not_accepted', { vmpl: '01' }, { vmpl: [0, 1] }],
    'an old launch TCB': [
      'snp_launch_tcb_below_minimum',
      { launchTcb: '0a00000000001753' },
      { min_tcb: 'any' },
    ],
    'an unexpected measurement': [
      'snp_measurement_not_expected',
      { measurement: OTHER },
      { measurement: 'any' },
    ],
  }

  test.for(Object.entries(RULES))('%s', async ([, [code, fields, weaker]]) => {
    const report = await genuine(fields)
    expect(() => acceptSnpReport(report, parseSnpPolicy(strict))).toThrow(
      expect.objectContaining({ name: 'PolicyError', code }),
    )
    expect(acceptSnpReport(report, parseSnpPolicy({ ...strict, ...weaker }))).toBeDefined()
  })

  test('an absent CRL', async () => {
    const report = await genuine({}, false)
    expect(() => acceptSnpReport(report, parseSnpPolicy(strict))).toThrow(
      expect.objectContaining({ code: 'snp_revocation_unknown', seen: 'unknown' }),
    )
    expect(acceptSnpReport(report, parseSnpPolicy({ ...strict, revocation: 'any' }))).toBeDefined()
  })
})

test('a report that the host asked for is never accepted', async () => {
  const report = await genuine({ vmpl: 'ffffffff' })
  expect(() => acceptSnpReport(report, parseSnpPolicy({ ...strict, vmpl: [0, 1, 2, 3] }))).toThrow(
    expect.objectContaining({ code: 'snp_vmpl_not_accepted' }),
  )
})

describe('a rule that is off by default rejects once it is named:', () => {
  const RULES: Record<string, [code: string, rule: object, passes: SnpReportFields]> = {
    'shared cores': ['snp_smt_allowed', { smt: 'reject' }, { policy: '0000020000000000' }],
    'several sockets': [
      'snp_several_sockets',
      { single_socket: 'require' },
      { policy: '0000130000000000' },
    ],
    'an old guest': ['snp_guest_svn_too_low', { min_guest_svn: 2 }, { guestSvn: '02' }],
    'other host data': [
      'snp_host_data_not_expected',
      { host_data: [OTHER.repeat(32)] },
      { hostData: OTHER.repeat(32) },
    ],
    'other report data': [
      'snp_report_data_not_expected',
      { report_data: [OTHER.repeat(64)] },
      { reportData: OTHER.repeat(64) },
    ],
    'another ID key': [
      'snp_id_key_not_expected',
      { id_key_digest: [OTHER.repeat(48).toUpperCase()] },
      { idKeyDigest: OTHER.repeat(48) },
    ],
    'another author key': [
      'snp_author_key_not_expected',
      { author_key_digest: [OTHER.repeat(48)] },
      { authorKeyDigest: OTHER.repeat(48) },
    ],
  }

  test.for(Object.entries(RULES))('%s', async ([, [code, rule, passes]]) => {
    const policy = parseSnpPolicy({ ...strict, ...rule })
    const plain = await genuine()
    expect(() => acceptSnpReport(plain, policy)).toThrow(expect.objectContaining({ code }))
    expect(acceptSnpReport(await genuine(passes), policy)).toBeDefined()
  })

  test('another chip', async () => {
    const report = await genuine()
    const { chipId } = PLATFORMS.Genoa
    const listed = parseSnpPolicy({ ...strict, chip_id: ['00'.repeat(64), chipId] })
    expect(acceptSnpReport(report, listed)).toBeDefined()
    const unlisted = parseSnpPolicy({ ...strict, chip_id: ['00'.repeat(64)] })
    expect(() => acceptSnpReport(report, unlisted)).toThrow(
      expect.objectContaining({ code: 'snp_chip_not_expected', seen: chipId }),
    )
  })
})

describe('the minimum TCB', () => {
  test.for(Object.entries(LEVELS))('counts %s', async ([name, level]) => {
    const minimum = { ...LEVELS, [name]: level + 1 }
    const report = await genuine()
    expect(() =>
      acceptSnpReport(report, parseSnpPolicy({ ...strict, min_tcb: { Genoa: minimum } })),
    ).toThrow(
      expect.objectContaining({
        code: 'snp_tcb_below_minimum',
        seen: 'bootloader 10, tee 0, snp 23, microcode 84',
      }),
    )
  })

  test('of one product admits no other', async () => {
    const report = await genuine()
    expect(() =>
      acceptSnpReport(report, parseSnpPolicy({ ...strict, min_tcb: { Milan: 'any' } })),
    ).toThrow(expect.objectContaining({ code: 'snp_tcb_below_minimum', seen: 'Genoa' }))
    const named = parseSnpPolicy({ ...strict, min_tcb: { Genoa: 'any' } })
    expect(acceptSnpReport(report, named)).toBeDefined()
  })

  test('counts the FMC where the product has one', async () => {
    const turin = createSnpVendor('Turin')
    const report = await verifySnpReport({
      report: turin.report(),
      leaf: turin.leaf('vcek'),
      chain: turin.chain('vcek'),
      crl: turin.crl(),
      now: turin.now,
      roots: await testSnpRoots(turin.rootPem),
    })
    const wanting = (fmc: number) =>
      parseSnpPolicy({ ...strict, min_tcb: { Turin: { ...LEVELS, fmc } } })
    expect(acceptSnpReport(report, wanting(1))).toBeDefined()
    expect(() => acceptSnpReport(report, wanting(2))).toThrow(
      expect.objectContaining({ code: 'snp_tcb_below_minimum' }),
    )
  })
})

test.for([
  ['committed below reported', { committedTcb: '0a00000000001654' }],
  ['current below committed', { currentTcb: '0900000000001754' }],
] as const)('a TCB with %s is inconsistent', async ([, fields]) => {
  const policy = parseSnpPolicy({ ...strict, provisional_firmware: 'allow' })
  const report = await genuine(fields)
  expect(() => acceptSnpReport(report, policy)).toThrow(
    expect.objectContaining({ code: 'snp_tcb_inconsistent' }),
  )
})

describe('a policy document is refused', () => {
  const BAD: Record<string, unknown> = {
    'that is no object': 'any',
    'without a minimum TCB': { measurement: 'any' },
    'without a measurement': { min_tcb: 'any' },
    'with no expected measurement': { ...strict, measurement: [] },
    'with a measurement of the wrong length': { ...strict, measurement: ['00'] },
    'with an unknown member': { ...strict, debugging: 'allow' },
    'with a boolean for a rule': { ...strict, debug: true },
    'with an unknown product': { ...strict, min_tcb: { Rome: 'any' } },
    'with a minimum that leaves a component out': { ...strict, min_tcb: { Genoa: { snp: 1 } } },
    'with a VMPL that no guest has': { ...strict, vmpl: [4] },
    'with no VMPL': { ...strict, vmpl: [] },
  }

  test.for(Object.entries(BAD))('%s', ([, document]) => {
    expect(() => parseSnpPolicy(document)).toThrow(
      expect.objectContaining({ code: 'policy_malformed' }),
    )
  })
})

test('a report nobody verified cannot be accepted', async () => {
  const { report, tcb, product } = await genuine()
  const lookAlike = JSON.parse(JSON.stringify({ report, tcb, product }))
  expect(() => acceptSnpReport(lookAlike, parseSnpPolicy(strict))).toThrow('not a GenuineSnpReport')
})
