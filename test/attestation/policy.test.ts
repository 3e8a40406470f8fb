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

const quoted = await genuine()
const seen = workloadRow(quoted, null)
const CONFIG = `sha256:${'5a'.repeat(32)}`

describe('an expected workload', () => {
  test('matches the measurements it names', () => {
    const policy = parsePolicy({ workload: [seen] })
    expect(namesWorkload(policy)).toBe(true)
    expect(acceptQuote(quoted, policy).workload).toBe('pinned')
  })

  test.for(['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3', 'mr_config_id'])(
    'is refused where %s differs',
    (member) => {
      const policy = parsePolicy({ workload: [{ ...seen, [member]: 'ff'.repeat(48) }] })
      expect(() => acceptQuote(quoted, policy)).toThrow(
        expect.objectContaining({ code: 'workload_not_expected' }),
      )
    },
  )

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
  const row = { mrtd: any, rtmr0: any, rtmr1: any, rtmr2: any, rtmr3: any, mr_config_id: any }
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
