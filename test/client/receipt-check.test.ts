import { encodeUtf8, type Receipt } from '@vouchgate/attestation'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  checkReceipt,
  verifiedFetch,
  verifyGateway,
  type VerifiedFetch,
} from '../../client/index.ts'
import { startAttestedServer, type AttestedServer } from './attested-server.ts'
import { SESSION, signReceipt, withReceiptKey } from './signed-receipt.ts'
import { newWorld } from './world.ts'

const REQUEST = encodeUtf8('{"model":"m"}')
const RESPONSE = encodeUtf8('data: [DONE]\n\n')
const PATH = '/v1/aci/receipts/r-1'

let gateway: AttestedServer
let fetch: VerifiedFetch

beforeEach(async () => {
  const world = newWorld()
  gateway = await startAttestedServer(world)
  gateway.aci.evidence.keyset = withReceiptKey
  fetch = verifiedFetch(await verifyGateway(gateway.origin, world.options), world.options)
})
afterEach(() => gateway.close())

const signed = (): Promise<Receipt> =>
  signReceipt(fetch.gateway().endpoint.keysetDigest, { request: REQUEST, response: RESPONSE })

const check = (change: Partial<Parameters<typeof checkReceipt>[0]> = {}) =>
  checkReceipt({
    fetch,
    endpoint: fetch.gateway().endpoint,
    receiptId: 'r-1',
    apiKey: 'key-1',
    requestBody: REQUEST,
    responseBody: RESPONSE,
    ...change,
  })

test('the receipt of an exchange holds, and was asked for with the key that made it', async () => {
  const receipt = await signed()
  gateway.routes.set(PATH, receipt)
  expect(await check({ sessionId: SESSION })).toEqual(receipt)
  expect(gateway.authorizations).toEqual(['Bearer key-1'])
})

test.for([
  ['another request', { requestBody: RESPONSE }, 'receipt_request_mismatch'],
  ['another response', { responseBody: REQUEST }, 'receipt_response_mismatch'],
  ['another session', { sessionId: '00'.repeat(32) }, 'receipt_session_mismatch'],
  ['another id', { receiptId: 'r-2' }, 'receipt_unavailable'],
] as const)('a receipt for %s is refused', async ([, change, code]) => {
  gateway.routes.set(PATH, await signed())
  await expect(check(change)).rejects.toMatchObject({ code })
})

test('a receipt with one changed byte is refused', async () => {
  gateway.routes.set(PATH, { ...(await signed()), model: 'n' })
  await expect(check()).rejects.toMatchObject({ code: 'receipt_signature_invalid' })
})

test('something that is no receipt is refused', async () => {
  gateway.routes.set(PATH, { receipt_id: 'r-1' })
  await expect(check()).rejects.toMatchObject({ code: 'receipt_malformed' })
})

test('an id cannot lead to another document', async () => {
  gateway.routes.set('/v1/aci/receipts/..%2Fsessions', await signed())
  await check({ receiptId: '../sessions' })
  expect(gateway.authorizations).toHaveLength(1)
})
