import {
  encodeUtf8,
  jcs,
  keysetDigest,
  parseReceipt,
  parseSession,
  receiptSigningInput,
  reportDataFor,
  sessionId,
  sha256,
  statement,
  toHex,
  verifyReceipt,
  type Keyset,
} from '@vouchgate/attestation'
import { createPrivateKey, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { hasVectors, vectorJson } from '../support/vectors.ts'

const schema = z.record(z.string(), z.string())
const vectors: Record<string, string> = hasVectors
  ? schema.parse(vectorJson('aci', 'vectors.json'))
  : {}
const vector = (name: string): string => vectors[name] ?? ''
const NONCE = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'
const ED25519_PKCS8 = '302e020100300506032b657004220420'

const keyset = (): Keyset => JSON.parse(vector('keyset_jcs'))

describe.skipIf(!hasVectors)('the byte vectors of ACI/1 reproduce', () => {
  test('keyset: JCS form and digest', async () => {
    const reordered: unknown = Object.fromEntries(Object.entries(keyset()).toReversed())
    expect(jcs(JSON.parse(JSON.stringify(reordered)))).toBe(vector('keyset_jcs'))
    expect(await keysetDigest(keyset())).toBe(vector('keyset_digest'))
  })

  test('statement and report data, with and without a nonce', async () => {
    const digest = vector('keyset_digest')
    expect(statement(digest, NONCE)).toBe(vector('statement'))
    expect(statement(digest, null)).toBe(vector('statement_null_nonce'))
    const zero = '00'.repeat(32)
    expect(toHex(await reportDataFor(statement(digest, NONCE)))).toBe(vector('report_data') + zero)
    expect(toHex(await reportDataFor(statement(digest, null)))).toBe(
      vector('report_data_null_nonce') + zero,
    )
  })

  test('session: id', async () => {
    const session = parseSession(JSON.parse(vector('session_jcs')))
    expect(jcs(JSON.parse(JSON.stringify(session)))).toBe(vector('session_jcs'))
    expect(await sessionId(session)).toBe(vector('session_id'))
  })

  test('receipt: signing input and signature', async () => {
    const receipt = parseReceipt(JSON.parse(vector('receipt')))
    const input = receiptSigningInput(receipt)
    expect(input).toBe(vector('receipt_signing_input'))
    expect(toHex(await sha256(encodeUtf8(input)))).toBe(vector('receipt_signing_input_sha256'))
    const der = Buffer.from(ED25519_PKCS8 + vector('receipt_key_seed_hex'), 'hex')
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    expect(sign(null, Buffer.from(input), key).toString('hex')).toBe(vector('receipt_signature'))
  })

  test('receipt: verifies over the exact bodies and session', async () => {
    const verified = verifyReceipt({
      receipt: parseReceipt(JSON.parse(vector('receipt'))),
      keyset: keyset(),
      keysetDigest: vector('keyset_digest'),
      requestBody: encodeUtf8(vector('request_body')),
      responseBody: encodeUtf8(vector('response_body')),
      sessionId: vector('session_id'),
    })
    await expect(verified).resolves.toBeUndefined()
  })
})
