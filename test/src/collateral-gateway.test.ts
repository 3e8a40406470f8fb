import { collateralName, parseReport, type BundleEntry } from '@vouchgate/attestation'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Agent, request } from 'undici'
import { ConfigError, parseConfig, type Config } from '../../src/config/index.ts'
import { describeConfig } from '../../src/config/describe.ts'
import { startGateway, type Gateway } from '../../src/gateway.ts'
import type { LogEvent } from '../../src/log.ts'
import { stringify } from 'yaml'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import { createTeeVendor, type PcsServer, type TeeVendor } from '../support/tee-vendor.ts'
import { configFile, member, UPSTREAM_SECRET } from './harness.ts'

const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
let clock: FakeClock
let vendor: TeeVendor
let pcs: PcsServer
let model: ModelServer
let gateway: Gateway | null
let events: LogEvent[]

beforeEach(async () => {
  clock = fakeClock()
  vendor = createTeeVendor({ now: clock.now() })
  pcs = await vendor.pcsServer()
  model = await startModelServer({ vendor, clock, lifetimeSeconds: 7 * 86_400 })
  // Providers then need the collateral that the gateway finds.
  model.evidence.collateral = null
  gateway = null
  events = []
})
afterEach(async () => {
  await gateway?.close()
  await model.close()
  await pcs.close()
})

const nowhere = 'http://127.0.0.1:1'

function fileWith(collateral: object) {
  const { origin } = model
  const origins = { model: origin, backup: origin, plain: nowhere, plainBackup: nowhere }
  const file = configFile(vendor, { ...origins, pcs: pcs.url, rootCrl: pcs.rootCrlUrl })
  return { ...file, collateral: { ...file.collateral, ...collateral } }
}

const parse = (file: object, readFile: (path: string) => string): Config =>
  parseConfig(
    stringify(file, { aliasDuplicateObjects: false }),
    { UPSTREAM_KEY: UPSTREAM_SECRET },
    readFile,
  )

const bundleText = () => {
  const { fmspc, ca } = vendor.platform
  const key: BundleEntry['key'] = { tee: 'tdx', fmspc, ca }
  return JSON.stringify({ [collateralName(key)]: vendor.collateral() })
}

async function start(collateral: object = {}): Promise<Gateway> {
  gateway = await startGateway({
    config: parse(fileWith(collateral), bundleText),
    source: vendor.quoteSource(),
    clock,
    log: (event) => events.push(event),
    facts: {},
    jitter: () => 0,
    tickMs: 1_000_000,
  })
  await gateway.tick()
  return gateway
}

async function get(path: string) {
  if (gateway === null) throw new Error('no gateway')
  const admin = path === '/metrics' || path === '/readyz'
  const base = admin ? gateway.adminUrl : gateway.url
  const { body } = await request(`${base}${path}`, { dispatcher: agent })
  return Buffer.from(await body.arrayBuffer())
}

const collateralOfReport = async () =>
  parseReport(await get('/v1/aci/attestation')).attestation.evidence.collateral
const provider = async () => member(JSON.parse((await get('/readyz')).toString()), 'providers.tee')

describe('a gateway', () => {
  test('has one fetch of collateral for its providers and its own report', async () => {
    await start()
    expect(await provider()).toMatchObject({ state: 'verified' })
    expect(await collateralOfReport()).toMatchObject(vendorDocuments())
    expect(pcs.requests).toHaveLength(4)
  })

  test('without any collateral serves its report, and sends no prompt', async () => {
    pcs.control.fail = { tcb: 503 }
    await start()
    expect(await provider()).toMatchObject({
      state: 'refused',
      reason: 'collateral_service_failed',
    })
    expect(await collateralOfReport()).toBeUndefined()
    expect(events).toContainEqual(
      expect.objectContaining({
        event: 'collateral_refresh_failed',
        reason: 'collateral_service_failed',
      }),
    )
    expect((await get('/metrics')).toString()).toContain(
      'vouchgate_collateral_total{result="failed",reason="collateral_service_failed"} 1',
    )
  })

  test('with a bundle needs no network to verify', async () => {
    pcs.control.fail = { tcb: 503, qeIdentity: 503, pckCrl: 503, rootCrl: 503 }
    await start({ bundle_file: '/etc/vouchgate/collateral.json' })
    expect(await provider()).toMatchObject({ state: 'verified' })
    expect(await collateralOfReport()).toMatchObject(vendorDocuments())
  })

  test('is not taken in by older collateral that a provider still has', async () => {
    model.evidence.collateral = { tcbInfo: { fields: { tcbEvaluationDataNumber: 19 } } }
    pcs.control.collateral = { platformStatus: 'OutOfDate' }
    await start()
    expect(await provider()).toMatchObject({ state: 'refused', reason: 'tcb_status_not_accepted' })
  })

  test('takes the collateral of a provider where it can get none itself', async () => {
    model.evidence.collateral = {}
    pcs.control.fail = { tcb: 503 }
    await start()
    expect(await provider()).toMatchObject({ state: 'verified' })
  })

  test('refreshes with its tick, and keeps its sessions while a mirror is hostile', async () => {
    const running = await start()
    pcs.control.collateral = { tcbInfo: { signature: '00'.repeat(64) } }
    clock.advance(12 * 3600)
    await running.tick()
    await running.tick()
    expect(await provider()).toMatchObject({ state: 'verified' })
    expect(events).toContainEqual(
      expect.objectContaining({
        event: 'collateral_refresh_failed',
        reason: 'tcb_info_signature_invalid',
      }),
    )
  })
})

const vendorDocuments = () => {
  const { tcb_info, qe_identity } = vendor.collateral()
  return { tcb_info, qe_identity }
}

describe('the configuration', () => {
  const named = () => fileWith({ bundle_file: '/bundle.json' })
  const readNothing = (): string => {
    throw new Error('no file')
  }

  test('names no bundle by default', () => {
    const config = parse(fileWith({}), readNothing)
    expect(config.collateral.bundle.size).toBe(0)
    expect(describeConfig(config).join('\n')).toContain('no collateral at hand')
  })

  test('reads the bundle it names', () => {
    const paths: string[] = []
    const config = parse(named(), (path) => {
      paths.push(path)
      return bundleText()
    })
    expect(paths).toEqual(['/bundle.json'])
    expect([...config.collateral.bundle.keys()]).toEqual([
      `tdx/${vendor.platform.fmspc}/${vendor.platform.ca}`,
    ])
    expect(describeConfig(config).join('\n')).toContain('collateral of 1 platform(s) at hand')
  })

  test.for<[string, () => string]>([
    ['missing', readNothing],
    ['no JSON', () => '{'],
    ['no bundle', () => '{"tdx":{}}'],
  ])('is refused where the bundle is %s', ([, readFile]) => {
    const problem = {
      path: 'collateral.bundle_file',
      hint: 'the file is missing or not a collateral bundle',
    }
    expect(() => parse(named(), readFile)).toThrow(ConfigError)
    expect(() => parse(named(), readFile)).toThrow(expect.objectContaining({ problems: [problem] }))
  })
})
