import {
  encodeUtf8,
  receiptSigningInput,
  sha256Label,
  type Keyset,
  type Receipt,
  type UnsignedReceipt,
} from '@vouchgate/attestation'
import { generateKeyPairSync, sign } from 'node:crypto'
import { TEST_TIME } from '../support/clock.ts'

/** The session that every receipt here cites, unless told otherwise. */
export const SESSION = '5e'.repeat(32)

const signer = generateKeyPairSync('ed25519')

/** The keyset with the key that `signReceipt` signs with. */
export function withReceiptKey(keyset: Keyset): Keyset {
  const raw = signer.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
  const key = { key_id: 'k', algo: 'ed25519', public_key: raw.toString('hex') }
  return { ...keyset, receipt_signing_keys: [key] }
}

export interface Bodies {
  readonly request: Uint8Array
  readonly response: Uint8Array
  readonly session?: string
}

export async function signReceipt(keysetDigest: string, bodies: Bodies): Promise<Receipt> {
  const { request, response, session = SESSION } = bodies
  const unsigned: UnsignedReceipt = {
    api_version: 'aci/1',
    receipt_id: 'r-1',
    chat_id: 'chatcmpl-1',
    model: 'm',
    workload_keyset_digest: keysetDigest,
    endpoint: '/v1/chat/completions',
    method: 'POST',
    served_at: TEST_TIME,
    event_log: [
      { type: 'request.received', body_hash: await sha256Label(request) },
      {
        type: 'upstream.verified',
        result: 'verified',
        required: true,
        model_id: 'm',
        session_id: session,
      },
      { type: 'response.returned', body_hash: await sha256Label(response) },
    ],
    key_id: 'k',
  }
  const message = encodeUtf8(receiptSigningInput(unsigned))
  return { ...unsigned, signature: sign(null, message, signer.privateKey).toString('hex') }
}
