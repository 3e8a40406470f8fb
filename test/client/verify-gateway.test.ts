import {
  DEFAULT_POLICY,
  isVerifiedEndpoint,
  parsePolicy,
  toHex,
  verifyEndpoint,
} from '@vouchgate/attestation'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { pcsCollateral, verifyGateway } from '../../client/index.ts'
import { startModelServer, startRelay, type ModelServer } from '../support/model-server.ts'
import { BOOT, MRTD, newWorld, pinnedRow } from './world.ts'

const { vendor, clock, policy, options } = newWorld()
let server: ModelServer

beforeAll(async () => {
  server = await startModelServer({ vendor, clock, fields: { mrtd: MRTD }, boot: BOOT })
})
afterAll(() => server.close())
afterEach(() => {
  Object.assign(server.evidence, {
    quote: { mrtd: MRTD },
    nonce: (asked: string | null) => asked,
    collateral: {},
  })
})

test('a gateway that runs what the policy expects is verified', async () => {
  const { endpoint, evidence } = await verifyGateway(`${server.origin}/v1`, options)
  expect(isVerifiedEndpoint(endpoint)).toBe(true)
  expect(endpoint.origin).toBe(server.origin)
  expect(endpoint.workload).toBe('pinned')
  expect(toHex(endpoint.binding.digest)).toBe(server.spkiSha256())
  expect(endpoint.boot).toEqual(BOOT)
  const again = await verifyEndpoint({
    evidence,
    challenge: 'recorded',
    now: 'recorded',
    policy,
  })
  expect(again.keysetDigest).toBe(endpoint.keysetDigest)
})

test('every verification asks with a nonce of its own', async () => {
  server.reset()
  await verifyGateway(server.origin, options)
  await verifyGateway(server.origin, options)
  const paths = server.requests.map(({ path }) => path)
  expect(new Set(paths).size).toBe(2)
})

test('an old report is refused', async () => {
  server.evidence.nonce = () => '00'.repeat(32)
  await expect(verifyGateway(server.origin, options)).rejects.toMatchObject({
    code: 'report_data_mismatch',
  })
})

test('a relay with a key of its own is refused, whatever it relays', async () => {
  const relay = await startRelay({ target: server.origin })
  await expect(verifyGateway(relay.origin, options)).rejects.toMatchObject({
    code: 'channel_not_attested',
  })
  await relay.close()
})

test('a debug TD and an unexpected measurement are refused by policy', async () => {
  server.evidence.quote = { mrtd: MRTD, tdAttributes: '0100001000000000' }
  await expect(verifyGateway(server.origin, options)).rejects.toMatchObject({
    name: 'PolicyError',
    code: 'debug_enabled',
  })
  server.evidence.quote = { mrtd: 'ee'.repeat(48) }
  await expect(verifyGateway(server.origin, options)).rejects.toMatchObject({
    code: 'workload_not_expected',
  })
})

test('a configuration digest can be expected', async () => {
  const expecting = (config_digest: string) => ({
    ...options,
    policy: parsePolicy({
      trusted_root: { test_pki_pem: vendor.rootPem },
      workload: [{ ...pinnedRow, config_digest }],
    }),
  })
  await verifyGateway(server.origin, expecting(BOOT.config_digest))
  const other = verifyGateway(server.origin, expecting(`sha256:${'00'.repeat(32)}`))
  await expect(other).rejects.toMatchObject({ code: 'workload_not_expected' })
})

test('`workload: any` by name proves genuineness alone, and says so', async () => {
  const any = parsePolicy({ trusted_root: { test_pki_pem: vendor.rootPem }, workload: 'any' })
  const { endpoint } = await verifyGateway(server.origin, { ...options, policy: any })
  expect(endpoint.workload).toBe('any')
})

test('the default policy is refused: nobody wrote that any workload will do', async () => {
  const verifying = verifyGateway(server.origin, { ...options, policy: DEFAULT_POLICY })
  await expect(verifying).rejects.toThrow(TypeError)
})

test('collateral is fetched where the report carries none', async () => {
  const pcs = await vendor.pcsServer()
  server.evidence.collateral = null
  const fetched = pcsCollateral({
    baseUrl: pcs.url,
    rootCrlUrl: pcs.rootCrlUrl,
    timeoutMs: 5000,
    clock,
  })
  await verifyGateway(server.origin, { ...options, pcs: fetched })
  expect(pcs.requests).toHaveLength(4)
  await pcs.close()
})

test('a URL that is not https is a mistake of the caller', async () => {
  await expect(verifyGateway('http://127.0.0.1', options)).rejects.toThrow(
    'a gateway is reached at https',
  )
  await expect(verifyGateway('::', options)).rejects.toThrow('a gateway is reached at https')
})
