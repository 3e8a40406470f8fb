import {
  encodeUtf8,
  keysetDigest,
  parseReceipt,
  receiptSigningInput,
  sha256Label,
  verifyReceipt,
  type Keyset,
  type Receipt,
  type ReceiptInput,
  type UnsignedReceipt,
} from '@vouchgate/attestation'
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { describe, expect, test } from 'vitest'

const rawPublicKey = (key: KeyObject): string =>
  key.export({ type: 'spki', format: 'der' }).subarray(-32).toString('hex')

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const keyset: Keyset = {
  subject: null,
  not_after: 2_000_000_000,
  receipt_signing_keys: [
    { key_id: 'r1', algo: 'ed25519', public_key: rawPublicKey(publicKey) },
    { key_id: 'r2', algo: 'ml-dsa-65', public_key: 'ab' },
  ],
  e2ee_public_keys: [],
  tls_public_keys: [],
}
const digest = await keysetDigest(keyset)
const REQUEST = encodeUtf8('{"model":"m"}')
const RESPONSE = encodeUtf8('{"id":"chatcmpl-1"}')
const SESSION = '5e'.repeat(32)

const unsigned: UnsignedReceipt = {
  api_version: 'aci/1',
  receipt_id: 'rcpt-1',
  chat_id: 'chatcmpl-1',
  model: 'm',
  workload_keyset_digest: digest,
  endpoint: '/v1/chat/completions',
  method: 'POST',
  served_at: 1_795_132_800,
  event_log: [
    { type: 'request.received', body_hash: await sha256Label(REQUEST) },
    { type: 'request.forwarded', body_hash: await sha256Label(REQUEST) },
    {
      type: 'upstream.verified',
      result: 'verified',
      required: true,
      model_id: 'm',
      session_id: SESSION,
    },
    { type: 'response.returned', body_hash: await sha256Label(RESPONSE) },
  ],
  key_id: 'r1',
}

function signed(changes: Partial<UnsignedReceipt> = {}): Receipt {
  const receipt = { ...unsigned, ...changes }
  const signature = sign(null, Buffer.from(receiptSigningInput(receipt)), privateKey)
  return { ...receipt, signature: signature.toString('hex') }
}

const check = (changes: Partial<ReceiptInput>): Promise<void> =>
  verifyReceipt({
    receipt: signed(),
    keyset,
    keysetDigest: digest,
    requestBody: REQUEST,
    responseBody: RESPONSE,
    sessionId: SESSION,
    ...changes,
  })

test('a receipt holds over its exact bytes, in any encoding of the document', async () => {
  const reordered: unknown = Object.fromEntries(Object.entries(signed()).toReversed())
  await expect(check({ receipt: parseReceipt(reordered) })).resolves.toBeUndefined()
})

const { event_log: events } = unsigned
const without = (type: string) => signed({ event_log: events.filter((e) => e.type !== type) })

describe('a receipt is refused', () => {
  const REFUSALS: Record<string, [code: string, changes: Partial<ReceiptInput>]> = {
    'under another keyset': [
      'receipt_keyset_mismatch',
      { keysetDigest: `sha256:${'00'.repeat(32)}` },
    ],
    'that names an unknown key': ['receipt_key_unknown', { receipt: signed({ key_id: 'r9' }) }],
    'that names a key of another algorithm': [
      'receipt_key_unknown',
      { receipt: signed({ key_id: 'r2' }) },
    ],
    'with one changed byte': [
      'receipt_signature_invalid',
      { receipt: { ...signed(), model: 'n' } },
    ],
    'with another signature': [
      'receipt_signature_invalid',
      { receipt: { ...signed(), signature: '00'.repeat(64) } },
    ],
    'for another request': ['receipt_request_mismatch', { requestBody: encodeUtf8('{}') }],
    'for another response': ['receipt_response_mismatch', { responseBody: encodeUtf8('{}') }],
    'that says nothing of the response': [
      'receipt_response_mismatch',
      { receipt: without('response.returned') },
    ],
    'that states two responses': [
      'receipt_response_mismatch',
      { receipt: signed({ event_log: [...events, ...events.slice(-1)] }) },
    ],
    'that cites another session': ['receipt_session_mismatch', { sessionId: '00'.repeat(32) }],
    'that cites no session': [
      'receipt_session_mismatch',
      { receipt: without('upstream.verified') },
    ],
  }

  test.for(Object.entries(REFUSALS))('%s', async ([, [code, changes]]) => {
    await expect(check(changes)).rejects.toMatchObject({ code })
  })
})

test.for([
  ['null', null],
  ['an unknown member', { ...signed(), extra: 1 }],
  ['another version', { ...signed(), api_version: 'aci/2' }],
  ['no events', { ...signed(), event_log: [] }],
  ['a first event that is not the request', { ...signed(), event_log: events.slice(1) }],
  ['a short signature', { ...signed(), signature: 'ab' }],
])('a receipt with %s is malformed', ([, value]) => {
  expect(() => parseReceipt(value)).toThrow(expect.objectContaining({ code: 'receipt_malformed' }))
})
