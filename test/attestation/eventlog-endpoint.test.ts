import {
  buildSession,
  checkSessionClaims,
  encodeAciEvidence,
  encodeUtf8,
  parsePolicy,
  toHex,
  verifyEndpoint,
  type AttestationReport,
  type Policy,
  type VerifiedAciService,
} from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { aciService } from '../support/aci-service.ts'
import { fakeClock } from '../support/clock.ts'
import { bootEntry, registersOf, runtimeEntry } from '../support/eventlog.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const clock = fakeClock(vendor.now)
const NONCE = '7e'.repeat(32)
const SPKI = 'c0'.repeat(32)

const COMPOSE = '{"name":"gateway"}'
const COMPOSE_HASH = Uint8Array.from(createHash('sha256').update(COMPOSE).digest())
const APP_ID = new Uint8Array(20).fill(0xa1)
const LAUNCH = [
  bootEntry(0, 'TD HOB'),
  bootEntry(1, 'kernel'),
  bootEntry(2, 'command line'),
  runtimeEntry('app-id', APP_ID),
  runtimeEntry('compose-hash', COMPOSE_HASH),
  runtimeEntry('system-ready'),
]
const REGISTERS = registersOf(LAUNCH)
const MRTD = '4d'.repeat(48)

const policy = (workload: unknown): Policy =>
  parsePolicy({ workload, trusted_root: { test_pki_pem: vendor.rootPem } })
const ANY = policy('any')
const PINNED = policy([
  {
    mrtd: MRTD,
    rtmr0: toHex(REGISTERS.rtmr0),
    rtmr1: toHex(REGISTERS.rtmr1),
    rtmr2: toHex(REGISTERS.rtmr2),
    rtmr3: 'any',
    mr_config_id: 'any',
    mr_owner: 'any',
    mr_owner_config: 'any',
    config_digest: 'any',
  },
])

type Published = Pick<AttestationReport['attestation']['evidence'], 'event_log' | 'app_compose'>
const PUBLISHED: Published = { event_log: JSON.stringify(LAUNCH), app_compose: COMPOSE }

async function collect(published: Published): Promise<Uint8Array> {
  const service = await aciService({
    vendor,
    clock,
    fields: { mrtd: MRTD, ...REGISTERS },
    boot: null,
    lifetimeSeconds: 86_400,
    spkiSha256: SPKI,
  })
  service.evidence.report = ({ attestation, ...report }) => ({
    ...report,
    attestation: { ...attestation, evidence: { ...attestation.evidence, ...published } },
  })
  return encodeAciEvidence({
    collected_at: clock.now(),
    origin: 'https://gw.example',
    nonce: NONCE,
    observed_spki_sha256: SPKI,
    report: encodeUtf8(JSON.stringify(await service.report(NONCE))),
    collateral: vendor.collateral(),
  })
}

const verify = async (published: Published, wanted: Policy): Promise<VerifiedAciService> =>
  verifyEndpoint({
    evidence: await collect(published),
    challenge: NONCE,
    now: clock.now(),
    policy: wanted,
  })

describe('an endpoint that publishes its event log', () => {
  test('shows what was launched, on an expected platform', async () => {
    const { eventLog } = await verify(PUBLISHED, PINNED)
    expect(eventLog?.log.events).toHaveLength(LAUNCH.length)
    expect(eventLog?.claims).toMatchObject({
      composeHash: { status: 'asserted', value: toHex(COMPOSE_HASH) },
      appId: { status: 'asserted', value: toHex(APP_ID) },
      appCompose: { status: 'asserted', value: COMPOSE },
    })
  })

  test('shows nothing of the launch where no platform is expected', async () => {
    const { eventLog } = await verify(PUBLISHED, ANY)
    expect(eventLog?.claims.composeHash).toEqual({
      status: 'unknown',
      reason: 'platform_not_expected',
    })
  })

  test('need not publish one', async () => {
    expect((await verify({}, PINNED)).eventLog).toBeNull()
  })

  test('is refused where the log does not replay', async () => {
    const published = { ...PUBLISHED, event_log: JSON.stringify(LAUNCH.slice(0, -1)) }
    await expect(verify(published, ANY)).rejects.toMatchObject({ code: 'eventlog_rtmr_mismatch' })
  })

  test('is refused where it publishes another app compose', async () => {
    const published = { ...PUBLISHED, app_compose: '{}' }
    await expect(verify(published, ANY)).rejects.toMatchObject({ code: 'app_compose_mismatch' })
  })
})

async function session(published: Published, wanted: Policy) {
  const evidence = await collect(published)
  const endpoint = await verifyEndpoint({
    evidence,
    challenge: NONCE,
    now: clock.now(),
    policy: wanted,
  })
  const { document } = await buildSession({
    endpoint,
    upstreamName: 'upstream-1',
    evidence,
    establishedAt: clock.now(),
    expiresAt: clock.now() + 300,
  })
  const appraised = async (by: Policy): Promise<VerifiedAciService> =>
    verifyEndpoint({ evidence, challenge: 'recorded', now: 'recorded', policy: by })
  return { document, appraised }
}

describe('a session states the launch', () => {
  test('where the platform was expected, and no known-good software', async () => {
    const { document } = await session(PUBLISHED, PINNED)
    expect(document.claims.extra).toMatchObject({
      compose_hash: toHex(COMPOSE_HASH),
      app_id: toHex(APP_ID),
      os_image_hash: null,
    })
    expect(document.claims.serving_software_known_good).toEqual({ status: 'unknown' })
  })

  test('as unknown where it was not, or where there is no log', async () => {
    const unknown = { compose_hash: null, app_id: null, os_image_hash: null }
    expect((await session(PUBLISHED, ANY)).document.claims.extra).toMatchObject(unknown)
    expect((await session({}, PINNED)).document.claims.extra).toMatchObject(unknown)
  })

  test('so that an auditor with another policy agrees', async () => {
    const pinned = await session(PUBLISHED, PINNED)
    const any = await session(PUBLISHED, ANY)
    const auditor = await pinned.appraised(ANY)
    const strict = await any.appraised(PINNED)
    expect(() => checkSessionClaims(pinned.document, [auditor])).not.toThrow()
    expect(() => checkSessionClaims(any.document, [strict])).not.toThrow()
  })

  test.for(['compose_hash', 'app_id', 'os_image_hash'])(
    'and is refused where it states another %s than was measured',
    async (name) => {
      const { document, appraised } = await session(PUBLISHED, PINNED)
      const extra = { ...document.claims.extra, [name]: 'dd'.repeat(32) }
      const forged = { ...document, claims: { ...document.claims, extra } }
      const auditor = await appraised(PINNED)
      expect(() => checkSessionClaims(forged, [auditor])).toThrow(
        expect.objectContaining({ code: 'session_claim_mismatch' }),
      )
    },
  )

  test('and is refused where it states a launch without a log', async () => {
    const { document, appraised } = await session({}, PINNED)
    const extra = { ...document.claims.extra, compose_hash: toHex(COMPOSE_HASH) }
    const forged = { ...document, claims: { ...document.claims, extra } }
    const auditor = await appraised(PINNED)
    expect(() => checkSessionClaims(forged, [auditor])).toThrow(
      expect.objectContaining({ code: 'session_claim_mismatch' }),
    )
  })
})
