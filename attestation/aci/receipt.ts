import { z } from 'zod'
import { encodeUtf8, fromHex, sha256Label } from '../bytes.ts'
import { EvidenceError, type EvidenceErrorCode } from '../errors.ts'
import type { JsonValue } from '../json.ts'
import { verifyEd25519 } from '../signature.ts'
import { jcs } from './jcs.ts'
import { digestLabel, hexOf, unixTime, type Keyset } from './keyset.ts'

const json: z.ZodType<JsonValue> = z.json()
const event = z.object({ type: z.string().max(64) }).catchall(json)

const receiptSchema = z
  .strictObject({
    api_version: z.literal('aci/1'),
    receipt_id: z.string().min(1).max(256),
    chat_id: z.string().max(512).nullable(),
    model: z.string().max(512).nullable(),
    workload_keyset_digest: digestLabel,
    endpoint: z.string().max(512),
    method: z.string().max(16),
    served_at: unixTime,
    event_log: z.array(event).min(1).max(256),
    key_id: z.string().max(256),
    signature: hexOf(64),
  })
  .refine((receipt) => receipt.event_log[0]?.type === 'request.received')

/** One event of a receipt: `type` and members of its own (ACI §7.4). */
export type ReceiptEvent = z.output<typeof event>

/** The signed log of one request (ACI §7.3). */
export type Receipt = z.output<typeof receiptSchema>

export type UnsignedReceipt = Omit<Receipt, 'signature'>

/** Throws `receipt_malformed`. */
export function parseReceipt(value: unknown): Receipt {
  const parsed = receiptSchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('receipt_malformed')
  return parsed.data
}

/** The text that is signed: the JCS form without `signature` (ACI §7.2). */
export function receiptSigningInput(receipt: UnsignedReceipt | Receipt): string {
  return jcs({ ...receipt, signature: undefined })
}

export interface ReceiptInput {
  readonly receipt: Receipt
  /** A keyset that a verification established, and its digest. */
  readonly keyset: Keyset
  readonly keysetDigest: string
  /** The exact bytes sent and received, where the caller kept them. */
  readonly requestBody?: Uint8Array
  readonly responseBody?: Uint8Array
  /** The session that must have served the request. */
  readonly sessionId?: string
}

/** ACI §9.3, offline. Throws `receipt_*`. */
export async function verifyReceipt(input: ReceiptInput): Promise<void> {
  const { receipt, keyset } = input
  // 1. It was signed under the keyset the caller established.
  if (receipt.workload_keyset_digest !== input.keysetDigest) {
    throw new EvidenceError('receipt_keyset_mismatch')
  }
  // 2. The signature holds; the attested entry decides the algorithm, never the receipt.
  const key = keyset.receipt_signing_keys.find(({ key_id }) => key_id === receipt.key_id)
  if (key?.algo !== 'ed25519') throw new EvidenceError('receipt_key_unknown')
  const message = encodeUtf8(receiptSigningInput(receipt))
  if (!(await verifyEd25519(fromHex(key.public_key), fromHex(receipt.signature), message))) {
    throw new EvidenceError('receipt_signature_invalid')
  }
  // 3. It is about these bytes.
  await checkBody(receipt, 'request.received', input.requestBody, 'receipt_request_mismatch')
  await checkBody(receipt, 'response.returned', input.responseBody, 'receipt_response_mismatch')
  // 4. It cites this session.
  if (input.sessionId !== undefined) checkSession(receipt, input.sessionId)
}

async function checkBody(
  receipt: Receipt,
  type: string,
  body: Uint8Array | undefined,
  code: EvidenceErrorCode,
): Promise<void> {
  if (body === undefined) return
  const events = receipt.event_log.filter((entry) => entry.type === type)
  if (events.length !== 1 || events[0]?.['body_hash'] !== (await sha256Label(body))) {
    throw new EvidenceError(code)
  }
}

function checkSession(receipt: Receipt, id: string): void {
  const events = receipt.event_log.filter((entry) => entry.type === 'upstream.verified')
  const last = events.at(-1)
  if (last?.['result'] !== 'verified' || last['session_id'] !== id) {
    throw new EvidenceError('receipt_session_mismatch')
  }
}
