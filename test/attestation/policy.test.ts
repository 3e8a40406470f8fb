import {
  acceptQuote,
  DEFAULT_POLICY,
  namesWorkload,
  parsePolicy,
  testPkiRoot,
  trustedRoot,
  verifyQuote,
  workloadRow,
  type GenuineQuote,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { platformLevel, sgxCollateral, TDX_COMPONENTS } from '../support/collateral.ts'
import { sgxFields } from '../support/quote.ts'
import {
  createTeeVendor,
  type CollateralOverrides,
  type QuoteFields,
} from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const root = await testPkiRoot(vendor.rootPem)

const genuine = async (
  fields: Omit<QuoteFields, 'reportData'> = {},
  collateral: CollateralOverrides = {},
): Promise<GenuineQuote> =>
  verifyQuote({
    quote: await vendor.quote({ reportData: '00'.repeat(64), ...fields }),
    collateral: vendor.collateral(collateral),
    now: vendor.now,
    trustedRoot: root,
  })

const quoted = await genuine()

/** A platform that matches an old level, to which two advisories apply. */
const OUTDATED: CollateralOverrides = {
  tcbInfo: {
    fields: {
      tcbLevels: [
        platformLevel({
          sgx: vendor.platform.components,
          pcesvn: vendor.platform.pcesvn,
          tdx: TDX_COMPONENTS,
          tcbStatus: 'OutOfDate',
          advisoryIDs: ['INTEL-SA-2', 'INTEL-SA-1'],
        }),
      ],
    },
  },
}

describe('the default policy rejects what is genuine but not wanted:', () => {
  const REJECTIONS: Record<
    string,
    [string, Omit<QuoteFields, 'reportData'>, CollateralOverrides?]
  > = {
    'an outdated platform': ['tcb_status_not_accepted', {}, { platformStatus: 'OutOfDate' }],
    'an unsupported platform': ['tcb_status_not_accepted', { qe: { isvSvn: 1 } }],
    'a debug TD': ['debug_enabled', { tdAttributes: '0100001000000000' }],
    'a TD whose pages the host can make fault': [
      'sept_ve_not_disabled',
      { tdAttributes: '0000000000000000' },
    ],
    'a TD that can be migrated': ['migratable', { tdAttributes: '0000003000000000' }],
    'an unknown attribute': ['attributes_unknown', { tdAttributes: '8000001000000000' }],
    'an unknown XFAM bit': ['xfam_unknown', { xfam: 'e7020600000000ff' }],
    'an XFAM without SSE': ['xfam_unknown', { xfam: 'e502060000000000' }],
    'a service TD': ['service_td_present', { version: 5, mrServiceTd: '44'.repeat(48) }],
  }

  test.for(Object.entries(REJECTIONS))('%s', async ([, [code, fields, collateral]]) => {
    const quote = await genuine(fields, collateral)
    expect(() => acceptQuote(quote, DEFAULT_POLICY)).toThrow(
      expect.objectContaining({ name: 'PolicyError', code }),
    )
  })

  test('and says what was seen and what would have passed', async () => {
    const quote = await genuine({}, { platformStatus: 'OutOfDate' })
    expect(() => acceptQuote(quote, DEFAULT_POLICY)).toThrow(
      expect.objectContaining({ seen: 'OutOfDate', wanted: 'UpToDate' }),
    )
  })
})

describe('a policy compares what it expects:', () => {
  const ff = (bytes: number): string => 'ff'.repeat(bytes)
  const EXPECTATIONS: Record<string, [code: string, matching: object, other: object]> = {
    FMSPC: [
      'platform_not_expected',
      { platform: { fmspc: ['B0C06F000000', ff(6)] } },
      { platform: { fmspc: [ff(6)] } },
    ],
    PPID: [
      'platform_not_expected',
      { platform: { ppid: [vendor.platform.ppid] } },
      { platform: { ppid: [ff(16)] } },
    ],
    MRSEAM: [
      'seam_not_expected',
      { platform: { mrseam: [quoted.measurements['mrseam']] } },
      { platform: { mrseam: [ff(48)] } },
    ],
    MRSIGNERSEAM: [
      'seam_not_expected',
      { platform: { mrsignerseam: ['00'.repeat(48)] } },
      { platform: { mrsignerseam: [ff(48)] } },
    ],
    'TEE TCB SVN': [
      'tee_tcb_svn_too_low',
      { platform: { min_tee_tcb_svn: `0a0103${'00'.repeat(13)}` } },
      { platform: { min_tee_tcb_svn: `0a0104${'00'.repeat(13)}` } },
    ],
    attributes: [
      'attributes_not_expected',
      { tee: { attributes: { value: '0000001000000000', mask: ff(8) } } },
      { tee: { attributes: { value: '0000005000000000', mask: ff(8) } } },
    ],
    'attributes under a mask': [
      'attributes_not_expected',
      { tee: { attributes: { value: ff(8), mask: '0000001000000000' } } },
      { tee: { attributes: { value: ff(8), mask: '0000005000000000' } } },
    ],
    XFAM: [
      'xfam_not_expected',
      { tee: { xfam: { value: 'e702060000000000', mask: ff(8) } } },
      { tee: { xfam: { value: 'e718060000000000', mask: ff(8) } } },
    ],
    'report data': [
      'report_data_not_expected',
      { report_data: '00'.repeat(64) },
      { report_data: `${'00'.repeat(63)}01` },
    ],
  }

  test.for(Object.entries(EXPECTATIONS))('%s', ([, [code, matching, other]]) => {
    const accept = (expected: object) =>
      acceptQuote(quoted, parsePolicy({ workload: 'any', ...expected }))
    expect(accept(matching).workload).toBe('any')
    expect(() => accept(other)).toThrow(expect.objectContaining({ name: 'PolicyError', code }))
  })
})

describe('a policy weakens a rule only by name:', () => {
  const WEAKENINGS: Record<string, [object, Omit<QuoteFields, 'reportData'>]> = {
    debug: [{ debug: 'allow' }, { tdAttributes: '0100001000000000' }],
    sept_ve_disable: [{ sept_ve_disable: 'any' }, { tdAttributes: '0000000000000000' }],
    migratable: [{ migratable: 'allow' }, { tdAttributes: '0000003000000000' }],
    unknown_attributes: [{ unknown_attributes: 'allow' }, { tdAttributes: '8000001000000000' }],
    unknown_xfam: [{ unknown_xfam: 'allow' }, { xfam: 'e7020600000000ff' }],
    service_td: [{ service_td: 'allow' }, { version: 5, mrServiceTd: '44'.repeat(48) }],
  }

  test.for(Object.entries(WEAKENINGS))('%s', async ([, [tee, fields]]) => {
    const policy = parsePolicy({ workload: 'any', tee })
    expect(acceptQuote(await genuine(fields), policy).workload).toBe('any')
  })

  test('advisories', async () => {
    const quote = await genuine({}, OUTDATED)
    const tcb = { accept: ['OutOfDate'] }
    const accept = (more: object) =>
      acceptQuote(quote, parsePolicy({ workload: 'any', tcb: { ...tcb, ...more } }))
    expect(() => accept({})).toThrow(
      expect.objectContaining({ code: 'advisory_not_tolerated', seen: 'INTEL-SA-1, INTEL-SA-2' }),
    )
    expect(() => accept({ tolerated_advisories: ['INTEL-SA-1'] })).toThrow(
      expect.objectContaining({ seen: 'INTEL-SA-2', wanted: 'INTEL-SA-1' }),
    )
    expect(accept({ tolerated_advisories: ['INTEL-SA-2', 'INTEL-SA-1'] }).workload).toBe('any')
    expect(accept({ tolerated_advisories: 'any' }).workload).toBe('any')
  })

  test('a grace after a new baseline, and no longer', async () => {
    const quote = await genuine({}, { qeStatus: 'OutOfDate', platformStatus: 'UpToDate' })
    expect(quote.tcb.status).toBe('OutOfDate')
    const since = vendor.now - quote.tcb.baselineDate
    const accept = (seconds: number) =>
      acceptQuote(
        quote,
        parsePolicy({ workload: 'any', tcb: { out_of_date_grace_seconds: seconds } }),
      )
    expect(() => accept(since)).toThrow(
      expect.objectContaining({ code: 'tcb_status_not_accepted' }),
    )
    expect(accept(since + 1).tcb.status).toBe('OutOfDate')
  })

  test('a grace is for OutOfDate alone', async () => {
    const quote = await genuine({}, { platformStatus: 'ConfigurationNeeded' })
    const tcb = { out_of_date_grace_seconds: 1e9 }
    expect(() => acceptQuote(quote, parsePolicy({ workload: 'any', tcb }))).toThrow(
      expect.objectContaining({ code: 'tcb_status_not_accepted' }),
    )
  })

  test('tcb status', async () => {
    const policy = parsePolicy({ workload: 'any', tcb: { accept: ['OutOfDate'] } })
    const quote = await genuine({}, { platformStatus: 'OutOfDate' })
    expect(acceptQuote(quote, policy).tcb.status).toBe('OutOfDate')
  })
})

test('collateral of an older TCB evaluation than required is rejected', async () => {
  const policy = parsePolicy({ workload: 'any', tcb: { min_evaluation_data_number: 21 } })
  const quote = await genuine()
  expect(() => acceptQuote(quote, policy)).toThrow(
    expect.objectContaining({ code: 'tcb_evaluation_too_old', seen: '20', wanted: 'at least 21' }),
  )
})

const seen = workloadRow(quoted, null)
const CONFIG = `sha256:${'5a'.repeat(32)}`

describe('an SGX enclave', () => {
  const accept = (quote: GenuineQuote, policy: object) =>
    acceptQuote(quote, parsePolicy({ workload: 'any', ...policy }))

  test('is genuine and wanted', async () => {
    const quote = await genuine(sgxFields(), sgxCollateral(3))
    expect(quote.teeType).toBe('sgx')
    expect(accept(quote, {}).tcb).toMatchObject({ status: 'UpToDate', tcbInfoVersion: 3 })
    expect(workloadRow(quote, null)).toBeNull()
  })

  test('in debug mode is not wanted', async () => {
    const quote = await genuine(sgxFields('0700000000000000e700000000000000'), sgxCollateral(3))
    expect(() => accept(quote, {})).toThrow(expect.objectContaining({ code: 'debug_enabled' }))
    expect(accept(quote, { tee: { debug: 'allow' } }).debug).toBe(true)
  })

  test('under collateral of the retired API is not wanted, but by name', async () => {
    const quote = await genuine(sgxFields(), sgxCollateral(2))
    expect(quote.tcb).toMatchObject({ status: 'UpToDate', tcbInfoVersion: 2 })
    expect(() => accept(quote, {})).toThrow(expect.objectContaining({ code: 'tcb_info_retired' }))
    expect(accept(quote, { tcb: { retired_tcb_info: 'allow' } }).workload).toBe('any')
  })

  test('is no TD that could be expected', async () => {
    const quote = await genuine(sgxFields(), sgxCollateral(3))
    expect(() => accept(quote, { workload: [seen] })).toThrow(
      expect.objectContaining({ code: 'workload_not_expected' }),
    )
  })

  test('under collateral for TDX is not genuine', async () => {
    await expect(genuine(sgxFields())).rejects.toMatchObject({ code: 'tcb_info_wrong_tee' })
  })
})

describe('an expected workload', () => {
  test('matches the measurements it names', () => {
    const policy = parsePolicy({ workload: [seen] })
    expect(namesWorkload(policy)).toBe(true)
    expect(acceptQuote(quoted, policy).workload).toBe('pinned')
  })

  test.for([
    'mrtd',
    'rtmr0',
    'rtmr1',
    'rtmr2',
    'rtmr3',
    'mr_config_id',
    'mr_owner',
    'mr_owner_config',
  ])('is refused where %s differs', (member) => {
    const wanted = 'ff'.repeat(48)
    const far = { ...seen, mrtd: wanted, rtmr0: wanted, rtmr1: wanted, rtmr2: wanted }
    const policy = parsePolicy({ workload: [far, { ...seen, [member]: wanted }] })
    // Of several rows, the one that comes nearest is named.
    expect(() => acceptQuote(quoted, policy)).toThrow(
      expect.objectContaining({
        code: 'workload_not_expected',
        seen: expect.stringMatching(new RegExp(`^${member} [0-9a-f]{96}$`)),
        wanted: `${member} ${wanted}`,
      }),
    )
  })

  test('is refused where the configuration differs, or none was proven', () => {
    const policy = parsePolicy({ workload: [{ ...seen, config_digest: CONFIG }] })
    expect(acceptQuote(quoted, policy, CONFIG).workload).toBe('pinned')
    for (const proven of [null, CONFIG.replace('5a', '5b')]) {
      expect(() => acceptQuote(quoted, policy, proven)).toThrow(
        expect.objectContaining({ code: 'workload_not_expected' }),
      )
    }
  })
})

describe('a policy document is refused', () => {
  const any = 'any'
  const row = {
    mrtd: any,
    rtmr0: any,
    rtmr1: any,
    rtmr2: any,
    rtmr3: any,
    mr_config_id: any,
    mr_owner: any,
    mr_owner_config: any,
  }
  const BAD: Record<string, unknown> = {
    'that is no object': 'workload: any',
    'without a workload': {},
    'with no expected row': { workload: [] },
    'with a row that expects nothing': { workload: [{ ...row, config_digest: any }] },
    'with a row that leaves a member out': { workload: [{ mrtd: 'ab'.repeat(48) }] },
    'with a measurement of the wrong length': {
      workload: [{ ...row, config_digest: any, mrtd: 'ab' }],
    },
    'with an unknown member': { workload: 'any', tee: { debugging: 'allow' } },
    'with a boolean for a rule': { workload: 'any', tee: { debug: true } },
    'that accepts a revoked platform': { workload: 'any', tcb: { accept: ['Revoked'] } },
    'that accepts an unsupported platform': {
      workload: 'any',
      tcb: { accept: ['TcbNotSupported'] },
    },
    'with an empty list of platforms': { workload: 'any', platform: { fmspc: [] } },
    'with bits that are no eight bytes': {
      workload: 'any',
      tee: { attributes: { value: 'ff', mask: 'ff' } },
    },
    'with a negative grace': { workload: 'any', tcb: { out_of_date_grace_seconds: -1 } },
    'that accepts no status': { workload: 'any', tcb: { accept: [] } },
  }

  test.for(Object.entries(BAD))('%s', ([, document]) => {
    expect(() => parsePolicy(document)).toThrow(
      expect.objectContaining({ code: 'policy_malformed' }),
    )
  })
})

test('the trusted root is Intel, unless the policy carries another by name', async () => {
  expect((await trustedRoot(DEFAULT_POLICY)).kind).toBe('intel')
  const policy = parsePolicy({ workload: 'any', trusted_root: { test_pki_pem: vendor.rootPem } })
  expect(await trustedRoot(policy)).toEqual(root)
})

test('a test root is exactly one certificate', async () => {
  for (const pem of ['', vendor.rootPem + vendor.certificates.intermediate.pem]) {
    await expect(testPkiRoot(pem)).rejects.toMatchObject({ code: 'certificate_malformed' })
  }
})

test('a quote nobody verified cannot be accepted', async () => {
  const { body, tcb } = await genuine()
  const lookAlike = JSON.parse(JSON.stringify({ body, tcb, debug: false }))
  expect(() => acceptQuote(lookAlike, DEFAULT_POLICY)).toThrow('not a GenuineQuote')
})
