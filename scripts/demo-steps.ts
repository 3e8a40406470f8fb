import {
  decodeUtf8,
  encodeUtf8,
  isVerificationError,
  parseReceipt,
  tdxOnlyPolicy,
  toHex,
  verifyReceipt,
  type Receipt,
} from '@vouchgate/attestation'
import {
  auditSessions,
  checkReceipt,
  verifiedFetch,
  verifyGateway,
  type AppraisedSession,
  type VerifiedFetch,
  type VerifyOptions,
} from '../client/index.ts'
import type { ModelServer } from '../test/support/model-server.ts'
import { startRelay } from '../test/support/relay.ts'
import { DemoError, facts, type Held } from './demo-walk.ts'

/** What one request through the proxy sent and got. */
export interface Exchange {
  readonly requestBody: Uint8Array
  readonly responseBody: Uint8Array
  readonly status: number
  readonly receiptId: string
}

export interface Target {
  /** With `/v1`. */
  readonly baseUrl: string
  readonly apiKey: string
}

async function exchange(target: Target, request: object): Promise<Exchange> {
  const requestBody = encodeUtf8(JSON.stringify(request))
  const response = await fetch(`${target.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${target.apiKey}` },
    body: requestBody,
  })
  return {
    requestBody,
    responseBody: new Uint8Array(await response.arrayBuffer()),
    status: response.status,
    receiptId: response.headers.get('x-receipt-id') ?? '',
  }
}

export async function verifyStep(
  url: string,
  options: VerifyOptions,
): Promise<Held<VerifiedFetch>> {
  const gateway = await verifyGateway(url, options)
  const { endpoint } = gateway
  return {
    value: verifiedFetch(gateway, options),
    detail: facts({
      'TCB status': endpoint.quote.tcb.status,
      MRTD: endpoint.quote.measurements['mrtd'] ?? '',
      config: endpoint.boot?.config_digest ?? 'none',
      keyset: endpoint.keysetDigest,
      'TLS key': `sha256 ${toHex(endpoint.binding.digest)}`,
    }),
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

export async function sessionStep(
  fetch: VerifiedFetch,
  { policy, clock }: Pick<VerifyOptions, 'policy' | 'clock'>,
): Promise<Held<AppraisedSession>> {
  const [session, ...others] = await auditSessions({
    fetch,
    policy: () => tdxOnlyPolicy(policy),
    clock,
  })
  if (session === undefined || others.length > 0) throw new DemoError('one session was expected')
  if ('error' in session) throw session.error
  const { id, endpoint } = session
  return {
    value: session,
    detail: facts({
      session: id,
      provider: endpoint.origin,
      'TCB status': endpoint.claims.tcb_up_to_date.reason ?? 'unknown',
      MRTD: textOf(endpoint.claims.extra['mrtd']),
      'TLS key': `sha256 ${toHex(endpoint.bindings[0].digest)}`,
    }),
  }
}

export async function completionStep(target: Target, request: object): Promise<Held<Exchange>> {
  const done = await exchange(target, request)
  const text = decodeUtf8(done.responseBody)
  if (done.status !== 200) throw new DemoError(`the gateway answered ${done.status}`)
  const events = text.split('\n\n').filter((event) => event.startsWith('data: ')).length
  if (events > 0 && !text.endsWith('data: [DONE]\n\n')) throw new DemoError('the stream was cut')
  return {
    value: done,
    detail: facts({
      answer: events > 0 ? `${events} events, complete` : contentOf(text),
      receipt: done.receiptId,
    }),
  }
}

const contentOf = (json: string): string =>
  /"content":"((?:[^"\\]|\\.)*)"/.exec(json)?.[1] ?? 'no text'

export interface ReceiptStep {
  readonly fetch: VerifiedFetch
  readonly apiKey: string
  readonly done: Exchange
  readonly session: AppraisedSession
}

export async function receiptStep(step: ReceiptStep): Promise<Held<Receipt>> {
  const { fetch, apiKey, done, session } = step
  const { endpoint } = fetch.gateway()
  const { receiptId, requestBody, responseBody } = done
  const sessionId = session.id
  const receipt = await checkReceipt({
    fetch,
    endpoint,
    receiptId,
    apiKey,
    requestBody,
    responseBody,
    sessionId,
  })
  return {
    value: receipt,
    detail: facts({
      receipt: receipt.receipt_id,
      events: receipt.event_log.map(({ type }) => type).join(', '),
      signature: `${receipt.signature.slice(0, 32)}… by ${receipt.key_id}`,
    }),
  }
}

/** Requires that something is refused with this code. */
async function refused(attempt: Promise<unknown>, code: string): Promise<void> {
  const error: unknown = await attempt.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  if (error === null) throw new DemoError('the attack was not noticed')
  if (!isVerificationError(error) || error.code !== code) throw error
}

const CANARY = 'the launch code is 4711'

/** The victim verifies the real gateway through the relay; then the relay ends TLS with a key of its own. */
export async function relayAttack(
  gatewayUrl: string,
  options: VerifyOptions,
  target: Target,
): Promise<Held<null>> {
  const relay = await startRelay({ target: gatewayUrl, mode: 'passthrough' })
  try {
    const victim = verifiedFetch(await verifyGateway(relay.origin, options), options)
    relay.interceptNow()
    const body = JSON.stringify({ messages: [{ role: 'user', content: CANARY }] })
    const headers = { authorization: `Bearer ${target.apiKey}` }
    const attempt = victim(`${relay.origin}/v1/chat/completions`, { method: 'POST', headers, body })
    await refused(attempt, 'channel_not_attested')
    const read = decodeUtf8(relay.plaintext())
    if (read.includes(CANARY) || read.includes(target.apiKey))
      throw new DemoError('the relay read it')
    const detail = facts({
      'relay key': `sha256 ${relay.spkiSha256}`,
      refused: 'channel_not_attested; the relay read no byte of the prompt',
    })
    return { value: null, detail }
  } finally {
    await relay.close()
  }
}

export interface DebugAttack {
  readonly target: Target
  readonly model: string
  readonly provider: ModelServer
  readonly fetch: VerifiedFetch
}

/** The prompt must not leave the gateway, and a signed receipt must say why. */
export async function debugAttack(attack: DebugAttack): Promise<Held<null>> {
  const { target, model, provider, fetch } = attack
  const messages = [{ role: 'user', content: CANARY }]
  const done = await exchange(target, { model, messages })
  const text = decodeUtf8(done.responseBody)
  if (done.status !== 503 || !text.includes('upstream_verification_failed')) {
    throw new DemoError(`the gateway answered ${done.status}`)
  }
  const prompts = provider.requests.filter(({ method }) => method === 'POST')
  if (prompts.length > 0) throw new DemoError('the prompt reached the provider')
  const { endpoint } = fetch.gateway()
  const receipt = await checkReceipt({ fetch, endpoint, apiKey: target.apiKey, ...done })
  const reason = receipt.event_log.find(({ type }) => type === 'upstream.verified')?.['reason']
  if (reason !== 'debug_enabled') throw new DemoError('the receipt gives another reason')
  return {
    value: null,
    detail: facts({
      refused: '503 upstream_verification_failed; the provider received no prompt',
      receipt: `${receipt.receipt_id}, signed: ${reason}`,
    }),
  }
}

/** One hex digit of a signed digest changes. */
export async function receiptAttack(receipt: Receipt, fetch: VerifiedFetch): Promise<Held<null>> {
  const [first, ...rest] = receipt.event_log
  const hash = first?.['body_hash']
  if (typeof hash !== 'string') throw new DemoError('the receipt names no request')
  const changed = hash.slice(0, -1) + (hash.endsWith('0') ? '1' : '0')
  const forged = parseReceipt({
    ...receipt,
    event_log: [{ ...first, body_hash: changed }, ...rest],
  })
  const { keyset, keysetDigest } = fetch.gateway().endpoint
  await refused(
    verifyReceipt({ receipt: forged, keyset, keysetDigest }),
    'receipt_signature_invalid',
  )
  return {
    value: null,
    detail: facts({
      changed: `body_hash …${hash.slice(-8)} → …${changed.slice(-8)}`,
      refused: 'receipt_signature_invalid',
    }),
  }
}

export const chatRequest = (model: string, content: string, stream: boolean): object => ({
  model,
  messages: [{ role: 'user', content }],
  ...(stream ? { stream } : {}),
})
