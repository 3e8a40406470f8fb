import { decodeAciEvidence, decodeUtf8 } from '@vouchgate/attestation'
import { createServer } from 'node:https'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { collectAci, observe } from '../../client/collect.ts'
import { attestedFetch } from '../../client/evidence-fetch.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import { newTlsIdentity } from '../support/pki.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { MRTD, newWorld, noPcs } from './world.ts'

const NONCE = '5a'.repeat(32)
const { vendor, clock } = newWorld()
let server: ModelServer

beforeAll(async () => {
  server = await startModelServer({ vendor, clock, fields: { mrtd: MRTD } })
})
afterAll(() => server.close())
afterEach(() => {
  Object.assign(server.evidence, {
    status: null,
    hang: false,
    collateral: {},
    report: (report: unknown) => report,
  })
  server.reset()
})

const collect = (timeoutMs = 5000, origin = server.origin) =>
  collectAci({ origin, nonce: NONCE, pcs: noPcs, fetch: attestedFetch(timeoutMs, clock), clock })

test('the key is observed on the very connection that carries the report', async () => {
  const evidence = decodeAciEvidence(await collect())
  expect(server.connections()).toBe(1)
  expect(evidence).toMatchObject({
    origin: server.origin,
    nonce: NONCE,
    collected_at: clock.now(),
    observed_spki_sha256: server.spkiSha256(),
  })
  expect(server.requests.map(({ path }) => path)).toEqual([`/v1/aci/attestation?nonce=${NONCE}`])
})

test('the report is kept byte for byte', async () => {
  const odd = { b: 1, a: 'ß', c: [1.5, null] }
  server.evidence.report = () => odd
  const { report } = await observe(server.origin, NONCE, attestedFetch(5000, clock))
  expect(decodeUtf8(report)).toBe(JSON.stringify(odd))
})

test('collateral of the report is taken before asking elsewhere', async () => {
  const inside = decodeAciEvidence(await collect())
  expect(inside.collateral.tcb_info).toBe(vendor.collateral({ at: clock.now() }).tcb_info)
  server.evidence.collateral = null
  await expect(collect()).rejects.toThrow('collateral was asked for')
  const asked: number[] = []
  const elsewhere = vendor.collateral()
  const bytes = await collectAci({
    origin: server.origin,
    nonce: NONCE,
    pcs: async (quote) => {
      asked.push(quote.length)
      return elsewhere
    },
    fetch: attestedFetch(5000, clock),
    clock,
  })
  expect(decodeAciEvidence(bytes).collateral).toEqual(elsewhere)
  expect(asked).toHaveLength(1)
})

test.for([
  ['an error status', { status: 503 }, 5000, 'report_unavailable'],
  ['silence', { hang: true }, 200, 'channel_timeout'],
  [
    'a report without end',
    { report: () => ({ x: 'x'.repeat(5 << 20) }) },
    5000,
    'report_too_large',
  ],
  ['something that is no report', { report: () => ({}) }, 5000, 'report_malformed'],
] as const)('%s is refused', async ([, behaviour, timeoutMs, code]) => {
  Object.assign(server.evidence, behaviour)
  await expect(collect(timeoutMs)).rejects.toMatchObject({ code })
})

test('text that is not JSON is refused, and not quoted', async () => {
  const { key, cert } = newTlsIdentity()
  const plain = createServer({ key, cert }, (_request, response) => {
    response.end('canary-9d2e')
  })
  await listen(plain)
  const error: unknown = await collect(5000, `https://127.0.0.1:${portOf(plain)}`).catch(
    (thrown: unknown) => thrown,
  )
  expect(error).toMatchObject({ code: 'json_malformed' })
  expect(String(error)).not.toContain('canary')
  plain.closeAllConnections()
  await stop(plain)
})

test('a connection that breaks is not replaced by one that nobody looked at', async () => {
  const { key, cert } = newTlsIdentity()
  let connections = 0
  const breaking = createServer({ key, cert }, (request) => request.socket.destroy())
  breaking.on('secureConnection', () => {
    connections += 1
  })
  await listen(breaking)
  const collecting = collect(5000, `https://127.0.0.1:${portOf(breaking)}`)
  await expect(collecting).rejects.toMatchObject({ code: 'report_unavailable' })
  expect(connections).toBe(1)
  await stop(breaking)
})

test('an origin with a path and a malformed nonce are mistakes of the caller', async () => {
  await expect(observe(`${server.origin}/x`, NONCE, attestedFetch(5000, clock))).rejects.toThrow(
    TypeError,
  )
  await expect(observe('http://127.0.0.1', NONCE, attestedFetch(5000, clock))).rejects.toThrow(
    TypeError,
  )
  await expect(
    observe(server.origin, NONCE.toUpperCase(), attestedFetch(5000, clock)),
  ).rejects.toThrow(TypeError)
})
