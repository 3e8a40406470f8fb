import {
  parseReceipt,
  verifyReceipt,
  type Receipt,
  type VerifiedAciService,
} from '@vouchgate/attestation'
import { fetchDocument } from './documents.ts'
import type { VerifiedFetch } from './verified-fetch.ts'

export interface ReceiptCheck {
  readonly fetch: VerifiedFetch
  /** The endpoint that was verified when the request was made: a later keyset did not sign its receipt. */
  readonly endpoint: VerifiedAciService
  /** Of the response's `x-receipt-id` header. */
  readonly receiptId: string
  /** The key that made the request; no other may read the receipt. */
  readonly apiKey: string
  /** The exact bytes that were sent, and those that came back, SSE framing included. */
  readonly requestBody: Uint8Array
  readonly responseBody: Uint8Array
  /** The session that must have served the request, where one was pinned. */
  readonly sessionId?: string
}

/**
 * Fetches the receipt of a request over the verified channel and checks it against the bytes of both
 * bodies (ACI §9.3).
 *
 * @throws EvidenceError `receipt_*`, ClientError `receipt_unavailable`.
 */
export async function checkReceipt(check: ReceiptCheck): Promise<Receipt> {
  const { fetch, endpoint, receiptId, apiKey, requestBody, responseBody, sessionId } = check
  const document = await fetchDocument({
    fetch,
    path: `/v1/aci/receipts/${encodeURIComponent(receiptId)}`,
    apiKey,
    unavailable: 'receipt_unavailable',
  })
  const receipt = parseReceipt(document)
  await verifyReceipt({
    receipt,
    keyset: endpoint.keyset,
    keysetDigest: endpoint.keysetDigest,
    requestBody,
    responseBody,
    ...(sessionId === undefined ? {} : { sessionId }),
  })
  return receipt
}
