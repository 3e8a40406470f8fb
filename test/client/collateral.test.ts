import { parseQuote } from '@vouchgate/attestation'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { fileCollateral, pcsCollateral } from '../../client/index.ts'
import { fakeClock } from '../support/clock.ts'
import type { PcsServer } from '../support/pcs-server.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { newWorld } from './world.ts'

const clock = fakeClock()

const { vendor } = newWorld()
const folder = mkdtempSync(join(tmpdir(), 'collateral-'))
let pcs: PcsServer
let quote: Uint8Array

beforeAll(async () => {
  pcs = await vendor.pcsServer()
  quote = await vendor.quote({ reportData: '00'.repeat(64) })
})
afterAll(async () => {
  await pcs.close()
  rmSync(folder, { recursive: true })
})
afterEach(() => {
  Object.assign(pcs.control, {
    fail: {},
    hang: false,
    retryAfter: null,
    crl: 'der',
    collateral: {},
  })
  pcs.requests.length = 0
})

const source = (timeoutMs = 5000) =>
  pcsCollateral({ baseUrl: pcs.url, rootCrlUrl: pcs.rootCrlUrl, timeoutMs, clock })

test('four documents make the collateral of a quote, byte for byte', async () => {
  const served = vendor.collateral()
  const got = await source()(quote)
  expect({ ...got, tcb_info_signature: '', qe_identity_signature: '' }).toMatchObject({
    tcb_info: served.tcb_info,
    qe_identity: served.qe_identity,
    tcb_info_issuer_chain: served.tcb_info_issuer_chain,
    pck_crl_issuer_chain: served.pck_crl_issuer_chain,
  })
  expect(pcs.requests.toSorted()).toEqual([
    '/IntelSGXRootCA.der',
    '/sgx/certification/v4/pckcrl?ca=platform&encoding=der',
    '/tdx/certification/v4/qe/identity',
    `/tdx/certification/v4/tcb?fmspc=${vendor.platform.fmspc}`,
  ])
  expect(parseQuote(quote).version).toBe(4)
})

const ROUTES = ['tcb', 'qeIdentity', 'pckCrl', 'rootCrl'] as const
const STATUSES: [status: number, code: string][] = [
  [401, 'collateral_unavailable'],
  [410, 'collateral_withdrawn'],
  [429, 'collateral_rate_limited'],
  [500, 'collateral_service_failed'],
  [503, 'collateral_service_failed'],
]
test.for(
  STATUSES.flatMap(([status, code]) => ROUTES.map((route) => [status, route, code] as const)),
)('status %d on %s is %s', async ([status, route, code]) => {
  pcs.control.fail = { [route]: status }
  await expect(source()(quote)).rejects.toMatchObject({ code, kind: 'unavailable' })
})

test.for([400, 404])(
  'status %d means an unknown platform where it is asked by platform',
  async (status) => {
    pcs.control.fail = { tcb: status }
    await expect(source()(quote)).rejects.toMatchObject({ code: 'collateral_platform_unknown' })
    for (const route of ['qeIdentity', 'pckCrl', 'rootCrl'] as const) {
      pcs.control.fail = { [route]: status }
      await expect(source()(quote)).rejects.toMatchObject({ code: 'collateral_unavailable' })
    }
  },
)

test.for([
  ['30', 30],
  ['0', 0],
  ['86400', 3600],
  ['Fri, 20 Nov 2026 00:01:30 GMT', 90],
  ['-1', null],
  ['1e3', null],
  ['9999999999', null],
  [null, null],
] as const)('a Retry-After of %s is %s seconds', async ([retryAfter, seconds]) => {
  Object.assign(pcs.control, { fail: { tcb: 429 }, retryAfter })
  await expect(source()(quote)).rejects.toMatchObject({ retryAfterSeconds: seconds })
})

test.for(['der', 'pem', 'hex'] as const)('CRLs may be served as %s', async (crl) => {
  pcs.control.crl = crl
  const got = await source()(quote)
  expect([got.root_ca_crl, got.pck_crl].map((text) => text.slice(0, 4))).toEqual(['3082', '3082'])
})

test('a service that never answers gives no collateral', async () => {
  pcs.control.hang = true
  await expect(source(100)(quote)).rejects.toMatchObject({ code: 'collateral_unavailable' })
})

test('a document without end is not read to its end', async () => {
  const endless = createServer((_request, response) => {
    response.setHeader('tcb-info-issuer-chain', 'x')
    response.setHeader('sgx-enclave-identity-issuer-chain', 'x')
    response.setHeader('sgx-pck-crl-issuer-chain', 'x')
    response.end(Buffer.alloc(3 << 20))
  })
  await listen(endless)
  const baseUrl = `http://127.0.0.1:${portOf(endless)}/`
  await expect(pcsCollateral({ baseUrl, timeoutMs: 5000, clock })(quote)).rejects.toMatchObject({
    code: 'collateral_too_large',
  })
  endless.closeAllConnections()
  await stop(endless)
})

test('a mirror serves the root CRL itself, and may write an FMSPC in upper case', async () => {
  const fmspc = vendor.platform.fmspc.toUpperCase()
  pcs.control.collateral = { tcbInfo: { fields: { fmspc } } }
  const got = await pcsCollateral({ baseUrl: `${pcs.url}/`, timeoutMs: 5000, clock })(quote)
  expect(got.tcb_info).toContain(fmspc)
  expect(pcs.requests).toContain('/sgx/certification/v4/rootcacrl')
})

test('an answer without its issuer chain is none', async () => {
  const bare = createServer((_request, response) => response.end('{}'))
  await listen(bare)
  const baseUrl = `http://127.0.0.1:${portOf(bare)}`
  await expect(pcsCollateral({ baseUrl, timeoutMs: 5000, clock })(quote)).rejects.toMatchObject({
    code: 'collateral_unavailable',
  })
  bare.closeAllConnections()
  await stop(bare)
})

test('bytes that are no quote are not asked about', async () => {
  await expect(source()(new Uint8Array(10))).rejects.toMatchObject({
    code: 'quote_version_unsupported',
  })
  expect(pcs.requests).toEqual([])
})

test('collateral can come from a file', async () => {
  const path = join(folder, 'collateral.json')
  writeFileSync(path, JSON.stringify(vendor.collateral()))
  expect(await fileCollateral(path)(quote)).toHaveProperty('tcb_info')
  writeFileSync(path, '{}')
  await expect(fileCollateral(path)(quote)).rejects.toMatchObject({ code: 'collateral_malformed' })
  writeFileSync(path, '{')
  await expect(fileCollateral(path)(quote)).rejects.toMatchObject({ code: 'json_malformed' })
  truncateSync(path, 9 << 20)
  await expect(fileCollateral(path)(quote)).rejects.toMatchObject({ code: 'collateral_too_large' })
  await expect(fileCollateral(join(folder, 'none'))(quote)).rejects.toMatchObject({
    code: 'collateral_unavailable',
  })
})
