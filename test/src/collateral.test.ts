import {
  collateralName,
  EvidenceError,
  testPkiRoot,
  type Collateral,
  type CollateralKey,
} from '@vouchgate/attestation'
import { beforeEach, describe, expect, test } from 'vitest'
import { ChannelError } from '../../client/errors.ts'
import { CollateralService, type CollateralBundle } from '../../src/collateral.ts'
import type { LogEvent } from '../../src/log.ts'
import { Metrics } from '../../src/metrics.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { newSigningKey } from '../support/pki.ts'
import { sgxExtension } from '../support/sgx-extension.ts'
import { createTeeVendor, type CollateralOverrides } from '../support/tee-vendor.ts'

const DAY = 86_400
const REFRESH = Math.floor(12 * 3600 * 0.7)
const vendor = createTeeVendor()
const stranger = createTeeVendor()
const trustedRoot = await testPkiRoot(vendor.rootPem)
const key: CollateralKey = { tee: 'tdx', fmspc: vendor.platform.fmspc, ca: 'platform' }
const platform = collateralName(key)
const quote = await vendor.quote({ reportData: '00'.repeat(64) })

interface Fixture {
  readonly clock: FakeClock
  readonly service: CollateralService
  readonly events: LogEvent[]
  readonly metrics: Metrics
  readonly asked: CollateralKey[]
  /** What the collateral service answers. */
  serve: CollateralOverrides | Collateral | Error
  hold: Promise<void> | null
}

let at: Fixture
beforeEach(() => {
  const clock = fakeClock()
  const events: LogEvent[] = []
  const asked: CollateralKey[] = []
  const metrics = new Metrics()
  const service = new CollateralService({
    fetch: async (asking) => {
      asked.push(asking)
      await at.hold
      const { serve } = at
      if (serve instanceof Error) throw serve
      return 'tcb_info' in serve ? serve : vendor.collateral({ at: clock.now(), ...serve })
    },
    testRoots: [trustedRoot],
    clock,
    jitter: () => 0,
    log: (event) => events.push(event),
    metrics,
  })
  at = { clock, service, events, metrics, asked, serve: {}, hold: null }
})

const collateral = () => at.service.source(quote)
const kinds = () => at.events.map(({ event }) => event)
const outage = () => new ChannelError('collateral_service_failed')
const bundleOf = (of: Collateral): CollateralBundle =>
  new Map([[platform, { key, collateral: of }]])

describe('collateral', () => {
  test('is fetched once for many callers at a time, and then held', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, collateral))
    expect(new Set(all).size).toBe(1)
    await collateral()
    expect(at.asked).toEqual([key])
    const expiresAt = at.clock.now() + 29 * DAY
    expect(at.events).toEqual([{ event: 'collateral_taken', platform, expiresAt }])
  })

  test('is held apart for each platform', async () => {
    const other = createTeeVendor({ platform: { fmspc: '00906ed50000' } })
    const ours = await collateral()
    const service = new CollateralService({
      fetch: async (asking) => (asking.fmspc === key.fmspc ? ours : other.collateral()),
      testRoots: [trustedRoot, await testPkiRoot(other.rootPem)],
      clock: at.clock,
      jitter: () => 0,
      log: () => undefined,
      metrics: at.metrics,
    })
    expect(await service.source(quote)).toBe(ours)
    const theirs = await service.source(await other.quote({ reportData: '00'.repeat(64) }))
    expect(theirs.tcb_info).toContain('00906ed50000')
    expect(await service.source(quote)).toBe(ours)
  })

  test('is refreshed before it expires, and not before it is due', async () => {
    const first = await collateral()
    at.clock.advance(REFRESH - 1)
    await at.service.refreshDue()
    expect(at.asked).toHaveLength(1)
    at.clock.advance(1)
    await at.service.refreshDue()
    expect(at.asked).toHaveLength(2)
    expect(await collateral()).not.toBe(first)
    expect(at.metrics.text()).toContain('vouchgate_collateral_total{result="taken"} 2')
    const expiresAt = at.clock.now() + 29 * DAY
    expect(at.metrics.text()).toContain(`vouchgate_collateral_expires_seconds ${expiresAt}`)
  })

  test('with little time left is refreshed earlier, yet at most once a minute', async () => {
    at.serve = { pckCrl: { nextUpdate: at.clock.now() + 1000 } }
    await collateral()
    at.clock.advance(700)
    at.serve = { pckCrl: { nextUpdate: at.clock.now() + 10 } }
    await at.service.refreshDue()
    expect(at.asked).toHaveLength(2)
    at.clock.advance(59)
    await at.service.refreshDue()
    expect(at.asked).toHaveLength(2)
    at.clock.advance(1)
    await at.service.refreshDue()
    expect(at.asked).toHaveLength(3)
  })

  test('that nobody got is not asked for by the timer', async () => {
    at.serve = outage()
    await expect(collateral()).rejects.toMatchObject({ code: 'collateral_service_failed' })
    at.clock.advance(1000)
    await at.service.refreshDue()
    expect(at.asked).toHaveLength(1)
  })

  test('is bounded to a number of platforms; the one used least recently goes first', async () => {
    const quoteOf = (index: number) => {
      const fmspc = index.toString(16).padStart(12, '0')
      const extension = sgxExtension({ ...vendor.platform, fmspc })
      const chain = vendor.pckChain({ leaf: vendor.issue('leaf', { sgxExtension: extension }) })
      return vendor.quote({ reportData: '00'.repeat(64), chain })
    }
    const asked: string[] = []
    const service = new CollateralService({
      fetch: async ({ fmspc }) => {
        asked.push(fmspc)
        return vendor.collateral({ tcbInfo: { fields: { fmspc } } })
      },
      testRoots: [trustedRoot],
      clock: at.clock,
      jitter: () => 0,
      log: () => undefined,
      metrics: at.metrics,
    })
    for (let index = 0; index < 256; index++) await service.source(await quoteOf(index))
    await service.source(await quoteOf(0))
    expect(asked).toHaveLength(256)
    await service.source(await quoteOf(256))
    await service.source(await quoteOf(0))
    expect(asked).toHaveLength(257)
    await service.source(await quoteOf(1))
    expect(asked).toHaveLength(258)
  })
})

describe('an outage', () => {
  test('serves what is valid, and then fails closed', async () => {
    const held = await collateral()
    at.serve = outage()
    at.clock.advance(REFRESH)
    await at.service.refreshDue()
    const reason = 'collateral_service_failed'
    const retryAt = at.clock.now() + 1
    expect(at.events.at(-1)).toEqual({
      event: 'collateral_refresh_failed',
      platform,
      reason,
      retryAt,
    })
    expect(at.metrics.text()).toContain(
      `vouchgate_collateral_total{result="failed",reason="${reason}"} 1`,
    )
    at.clock.advance(29 * DAY - REFRESH)
    expect(await collateral()).toBe(held)
    at.clock.advance(1)
    await expect(collateral()).rejects.toMatchObject({
      code: 'collateral_expired',
      kind: 'unavailable',
    })
    at.serve = {}
    at.clock.advance(60)
    expect(await collateral()).not.toBe(held)
  })

  test('is met with growing waits, by callers and by the timer', async () => {
    at.serve = outage()
    const waits: number[] = []
    for (let attempt = 1; attempt <= 11; attempt++) {
      await expect(collateral()).rejects.toMatchObject({ code: 'collateral_service_failed' })
      await expect(collateral()).rejects.toMatchObject({ code: 'collateral_service_failed' })
      expect(at.asked).toHaveLength(attempt)
      const failed = at.events.at(-1)
      if (failed?.event !== 'collateral_refresh_failed') throw new Error('expected a failure')
      waits.push(failed.retryAt - at.clock.now())
      at.clock.set(failed.retryAt)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
  })

  test('ends its waits with the first success', async () => {
    at.serve = outage()
    await expect(collateral()).rejects.toThrow(ChannelError)
    at.clock.advance(1)
    at.serve = {}
    await collateral()
    at.serve = outage()
    at.clock.advance(REFRESH)
    await at.service.refreshDue()
    expect(at.events.at(-1)).toMatchObject({ retryAt: at.clock.now() + 1 })
  })

  test('lasts at least as long as the service asks', async () => {
    at.serve = new ChannelError('collateral_rate_limited', 120)
    await expect(collateral()).rejects.toMatchObject({ code: 'collateral_rate_limited' })
    at.clock.advance(119)
    await expect(collateral()).rejects.toMatchObject({ code: 'collateral_rate_limited' })
    expect(at.asked).toHaveLength(1)
    at.clock.advance(1)
    at.serve = {}
    await expect(collateral()).resolves.toBeDefined()
  })

  test('of a kind that nobody thought of is unavailable to callers, and internal in the log', async () => {
    at.serve = new RangeError('with details')
    await expect(collateral()).rejects.toMatchObject({ code: 'collateral_unavailable' })
    expect(at.events.at(-1)).toMatchObject({ reason: 'internal' })
  })
})

describe('a hostile mirror', () => {
  const HOSTILE: Record<string, [reason: string, serve: CollateralOverrides | Collateral]> = {
    'with changed TCB info': [
      'tcb_info_signature_invalid',
      { tcbInfo: { served: (text) => text.replace('OutOfDate', 'UpToDate') } },
    ],
    'with a forged CRL': ['crl_signature_invalid', { pckCrl: { signer: newSigningKey() } }],
    'with another root': ['certificate_root_untrusted', stranger.collateral()],
    'with another platform': [
      'tcb_info_wrong_platform',
      { tcbInfo: { fields: { fmspc: '00906ed50000' } } },
    ],
    'with what has expired': [
      'tcb_info_not_valid_now',
      { tcbInfo: { fields: { nextUpdate: '2026-11-19T00:00:00Z' } } },
    ],
  }

  test.for(Object.entries(HOSTILE))(
    '%s gets nothing into the cache',
    async ([, [reason, serve]]) => {
      at.serve = serve
      await expect(collateral()).rejects.toMatchObject({
        code: 'collateral_refused',
        kind: 'unavailable',
      })
      expect(at.events.at(-1)).toMatchObject({ event: 'collateral_refresh_failed', reason })
    },
  )

  test.for(Object.entries(HOSTILE))(
    '%s does not replace what is held',
    async ([, [reason, serve]]) => {
      const held = await collateral()
      at.serve = serve
      at.clock.advance(REFRESH)
      await at.service.refreshDue()
      expect(at.events.at(-1)).toMatchObject({ event: 'collateral_refresh_failed', reason })
      expect(await collateral()).toBe(held)
    },
  )

  test('cannot roll a document back', async () => {
    at.serve = { tcbInfo: { fields: { tcbEvaluationDataNumber: 21 } } }
    const held = await collateral()
    at.serve = { platformStatus: 'UpToDate' }
    at.clock.advance(REFRESH)
    await at.service.refreshDue()
    expect(at.events.slice(-2)).toMatchObject([
      { event: 'collateral_rolled_back', platform, part: 'tcb_info' },
      { event: 'collateral_taken', platform },
    ])
    expect(at.metrics.text()).toContain('vouchgate_collateral_total{result="rolled_back"} 1')
    const now = await collateral()
    expect(now.tcb_info).toBe(held.tcb_info)
    expect(now.pck_crl).not.toBe(held.pck_crl)
  })

  test('cannot roll back what has expired', async () => {
    at.serve = { tcbInfo: { fields: { tcbEvaluationDataNumber: 21 } } }
    await collateral()
    at.clock.advance(30 * DAY)
    at.serve = {}
    await expect(collateral()).rejects.toMatchObject({ code: 'collateral_expired' })
    expect(at.events.at(-1)).toMatchObject({ reason: 'collateral_rolled_back' })
  })
})

describe('collateral that a provider brings along', () => {
  const weigh = (offered: CollateralOverrides) =>
    at.service.weigh(quote, vendor.collateral({ at: at.clock.now(), ...offered }))
  const number = (tcbEvaluationDataNumber: number) => ({
    tcbInfo: { fields: { tcbEvaluationDataNumber } },
  })

  test('is used in no document that is older than the held one', async () => {
    const weighed = await weigh(number(19))
    const held = await collateral()
    expect(weighed.tcb_info).toBe(held.tcb_info)
    expect(weighed.pck_crl).not.toBe(held.pck_crl)
    expect(at.events.at(-1)).toEqual({
      event: 'collateral_rolled_back',
      platform,
      part: 'tcb_info',
    })
    expect(at.asked).toHaveLength(1)
  })

  test('is used where it is newer, and yet not held', async () => {
    const held = await collateral()
    const weighed = await weigh(number(21))
    expect(weighed.tcb_info).toContain('"tcbEvaluationDataNumber":21')
    expect(await collateral()).toBe(held)
  })

  test('is used during an outage, unless what has expired was newer', async () => {
    at.serve = outage()
    await expect(weigh(number(19))).resolves.toBeDefined()
    at.clock.advance(10)
    at.serve = {}
    await collateral()
    at.serve = outage()
    at.clock.advance(40 * DAY)
    await expect(weigh({})).resolves.toBeDefined()
    await expect(weigh(number(19))).rejects.toMatchObject({ code: 'collateral_rolled_back' })
  })

  test('is refused where it does not hold', async () => {
    await expect(weigh({ tcbInfo: { signature: '00'.repeat(64) } })).rejects.toMatchObject({
      code: 'tcb_info_signature_invalid',
    })
  })

  test('does not outweigh a revocation', async () => {
    at.serve = { rootCrl: { revoked: [vendor.certificates.intermediate.serial] } }
    await expect(weigh({})).rejects.toMatchObject({ code: 'certificate_revoked' })
  })
})

describe('a revocation', () => {
  const revoked = { rootCrl: { revoked: [vendor.certificates.intermediate.serial] } }

  test('ends what is held at once, and an outage afterwards does not bring it back', async () => {
    await collateral()
    at.serve = revoked
    at.clock.advance(REFRESH)
    await at.service.refreshDue()
    await expect(collateral()).rejects.toBeInstanceOf(EvidenceError)
    await expect(collateral()).rejects.toMatchObject({ code: 'certificate_revoked' })
    at.serve = outage()
    at.clock.advance(10)
    await expect(collateral()).rejects.toMatchObject({ code: 'certificate_revoked' })
  })

  test('of the certificate that signed what is held ends it as well', async () => {
    await collateral()
    at.serve = { rootCrl: { revoked: [vendor.certificates.tcbSigning.serial] } }
    at.clock.advance(REFRESH)
    await at.service.refreshDue()
    await expect(collateral()).rejects.toMatchObject({ code: 'certificate_revoked' })
  })

  test('of a certificate that only signed what was offered does not end what is held', async () => {
    const replaced = vendor.issue('tcbSigning', { serial: Uint8Array.of(7) })
    const tcbInfo = { chain: replaced.pem + vendor.rootPem }
    const replay = { tcbInfo, rootCrl: { revoked: [replaced.serial] } }
    at.serve = replay
    await expect(collateral()).rejects.toMatchObject({ code: 'collateral_refused' })
    at.clock.advance(1)
    at.serve = {}
    const held = await collateral()
    at.serve = replay
    at.clock.advance(REFRESH)
    await at.service.refreshDue()
    expect(at.events.at(-1)).toMatchObject({ reason: 'certificate_revoked' })
    expect(await collateral()).toBe(held)
  })

  test('is told where nothing was held before', async () => {
    at.serve = revoked
    await expect(collateral()).rejects.toMatchObject({ code: 'certificate_revoked' })
  })
})

describe('a bundle', () => {
  test('serves without a network, and is refreshed as soon as there is one', async () => {
    at.serve = outage()
    const kept = vendor.collateral()
    await at.service.load(bundleOf(kept))
    expect(await collateral()).toBe(kept)
    expect([kinds(), at.asked]).toEqual([['collateral_taken'], []])
    await at.service.refreshDue()
    expect(at.asked).toHaveLength(1)
    expect(await collateral()).toBe(kept)
    at.serve = {}
    at.clock.advance(1)
    await at.service.refreshDue()
    expect(await collateral()).not.toBe(kept)
  })

  test.for<[string, string, CollateralOverrides | Collateral]>([
    ['forged', 'tcb_info_signature_invalid', { tcbInfo: { signature: '00'.repeat(64) } }],
    ['of another root', 'certificate_root_untrusted', stranger.collateral()],
    ['from the future', 'crl_not_valid_now', { at: vendor.now + 100 * DAY }],
  ])('is refused where it is %s', async ([, reason, of]) => {
    const kept = 'tcb_info' in of ? of : vendor.collateral(of)
    await at.service.load(bundleOf(kept))
    expect(at.events).toEqual([{ event: 'collateral_bundle_refused', platform, reason }])
    expect(await collateral()).not.toBe(kept)
    expect(at.asked).toHaveLength(1)
  })

  test('that has expired is not served, and yet nothing older is taken', async () => {
    const fields = { tcbEvaluationDataNumber: 21 }
    const kept = vendor.collateral({ at: vendor.now - 40 * DAY, tcbInfo: { fields } })
    await at.service.load(bundleOf(kept))
    const reason = 'collateral_expired'
    expect(at.events).toEqual([{ event: 'collateral_bundle_refused', platform, reason }])
    await expect(collateral()).rejects.toMatchObject({ code: 'collateral_expired' })
    at.clock.advance(1)
    at.serve = { tcbInfo: { fields } }
    await expect(collateral()).resolves.toBeDefined()
  })
})

describe('a quote', () => {
  test('under a root that nobody trusts is not asked for', async () => {
    const foreign = await stranger.quote({ reportData: '00'.repeat(64) })
    await expect(at.service.source(foreign)).rejects.toMatchObject({
      code: 'certificate_root_untrusted',
    })
    expect(at.asked).toEqual([])
  })

  test('that cannot be read is not asked for', async () => {
    await expect(at.service.source(new Uint8Array(10))).rejects.toBeInstanceOf(EvidenceError)
    expect(at.asked).toEqual([])
  })
})
