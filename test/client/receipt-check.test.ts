import {
  encodeUtf8,
  receiptSigningInput,
  sha256Label,
  type Keyset,
  type Receipt,
  type UnsignedReceipt,
} from '@vouchgate/attestation'
import { generateKeyPairSync, sign } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  checkReceipt,
  verifiedFetch,
  verifyGateway,
  type VerifiedFetch,
} from '../../client/index.ts'
import { startAttestedServer, type AttestedServer } from './attested-server.ts'
import { newWorld } from './world.ts'

const REQUEST = encodeUtf8('{"model":"m"}')
const RESPONSE = encodeUtf8('data: [DONE]\n\n')
const PATH = '/v1/aci/receipts/r-1'
const SESSION = '5e'.repeat(32)
const signer = generateKeyPairSync('ed25519')

let gateway: AttestedServer
let fetch: VerifiedFetch

beforeEach(async () => {
  const world = newWorld()
  gateway = await startAttestedServer(world)
  const public_key = signer.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
  gateway.aci.evidence.keyset = (keyset): Keyset => ({
    ...keyset,
    receipt_signing_keys: [
      { key_id: 'k', algo: 'ed25519', public_key: public_key.toString('hex') },
    ],
  })
  fetch = verifiedFetch(await verifyGateway(gateway.origin, world.options), world.options)
})
afterEach(() => gateway.close())

async function signed(): Promise<Receipt> {
  const unsigned: UnsignedReceipt = {
    api_version: 'aci/1',
    receipt_id: 'r-1',
    chat_id: 'chatcmpl-1',
    model: 'm',
    workload_keyset_digest: fetch.gateway().endpoint.keysetDigest,
    endpoint: '/v1/chat/completions',
    method: 'POST',
    served_at: 1_795_132_800,
    event_log: [
      { type: 'request.received', body_hash: await sha256Label(REQUEST) },
      {
        type: 'upstream.verified',
        result: 'verified',
        required: true,
        model_id: 'm',
        session_id: SESSION,
      },
      { type: 'response.returned', body_hash: await sha256Label(RESPONSE) },
    ],
    key_id: 'k',
  }
  const message = encodeUtf8(receiptSigningInput(unsigned))
  return { ...unsigned, signature: sign(null, message, signer.privateKey).toString('hex') }
}

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
