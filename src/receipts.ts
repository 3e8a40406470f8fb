import type { ReceiptDraft } from '../enclave/index.ts'
import type { ReceiptEvent, UnixSeconds } from '@vouchgate/attestation'
import type { ErrorCode } from './errors.ts'
import type { ProviderId, ReceiptId, SessionId } from './ids.ts'
import type { Failure } from './upstream/failure.ts'

/** How a prompt request ended. */
export type End = 'complete' | 'upstream_error' | 'client_abort' | 'refused'

/** Why `upstream.verified` says `failed`: not one of them ever reads as verified. */
export type UnverifiedReason = Failure | 'not_attested' | 'not_reached' | 'session_not_accepted'

interface Upstream {
  readonly provider: ProviderId
  readonly model: string
  readonly session: SessionId | null
}

interface ReceiptFields {
  readonly id: ReceiptId
  /** The path that was asked. */
  readonly endpoint: string
  /** `sha256:<hex>` of the body as it arrived. */
  readonly received: string
}

const MAX_CHAT_ID = 256

/**
 * What happened to one request, collected as it happens and put into ACI's event order at the end (§7.4).
 *
 * Attempts that were given up are `vouchgate.attempt` events, so that `upstream.verified` and
 * `request.forwarded` occur once and are about the provider that answered.
 */
export class ReceiptBuilder {
  readonly id: ReceiptId
  readonly #endpoint: string
  readonly #received: string
  readonly #attempts: ReceiptEvent[] = []
  #model: string | null = null
  #chatId: string | null = null
  #required = true
  #forwarded: string | null = null
  #upstream: Upstream | null = null
  #reason: UnverifiedReason = 'not_reached'
  #failedProvider: ProviderId | null = null
  #padding: number | null = null

  constructor({ id, endpoint, received }: ReceiptFields) {
    this.id = id
    this.#endpoint = endpoint
    this.#received = received
  }

  /** The session that the receipt cites. */
  get session(): SessionId | null {
    return this.#upstream?.session ?? null
  }

  /** Whether the prompt went to the provider that is being asked, or was the last one. */
  get sent(): boolean {
    return this.#forwarded !== null
  }

  get chatId(): string | null {
    return this.#chatId
  }

  model(asked: string): void {
    this.#model = asked
  }

  planned(required: boolean): void {
    this.#required = required
  }

  answeredAs(chatId: string): void {
    // Half a character cannot be signed, and a provider must not be able to end a response by one.
    this.#chatId = chatId.slice(0, MAX_CHAT_ID).toWellFormed()
  }

  /** The prompt goes to this provider; `hash` is of the bytes handed to its connection. */
  forwarded(upstream: Upstream, hash: string): void {
    this.#upstream = upstream
    this.#forwarded = hash
  }

  /** The provider did not answer; another one, or nobody, will. */
  abandoned(provider: ProviderId, code: ErrorCode, reason: UnverifiedReason | null): void {
    const session = this.#upstream?.session ?? null
    this.#attempts.push({
      type: 'vouchgate.attempt',
      upstream_name: provider,
      code,
      ...(this.#forwarded === null ? {} : { body_hash: this.#forwarded }),
      ...(session === null ? {} : { session_id: session }),
    })
    if (reason === null) return
    this.#reason = reason
    this.#failedProvider = provider
  }

  /** Before the next attempt: what the last one forwarded is in its own event. */
  retrying(): void {
    this.#forwarded = null
    this.#upstream = null
  }

  /** Frames of the stream are filled up to multiples of so many bytes with comments. */
  padded(multiple: number): void {
    this.#padding = multiple
  }

  refusedFor(reason: UnverifiedReason): void {
    this.#reason = reason
  }

  /** `returned` is the `sha256:<hex>` of every response byte that was emitted. */
  finish(returned: string, end: End, servedAt: UnixSeconds): ReceiptDraft {
    return {
      api_version: 'aci/1',
      receipt_id: this.id,
      chat_id: this.#chatId,
      model: this.#model,
      endpoint: this.#endpoint,
      method: 'POST',
      served_at: servedAt,
      event_log: [
        { type: 'request.received', body_hash: this.#received },
        ...this.#attempts,
        ...(this.#forwarded === null
          ? []
          : [{ type: 'request.forwarded', body_hash: this.#forwarded }]),
        this.#verified(),
        ...(this.#padding === null
          ? []
          : [{ type: 'vouchgate.padding', method: 'sse_comment', multiple: this.#padding }]),
        { type: 'response.returned', body_hash: returned },
        { type: 'vouchgate.outcome', end },
      ],
    }
  }

  /** ACI §7.5. */
  #verified(): ReceiptEvent {
    const upstream = this.#upstream
    const event = {
      type: 'upstream.verified',
      required: this.#required,
      model_id: upstream?.model ?? this.#model ?? '',
    }
    if (upstream !== null && upstream.session !== null) {
      return { ...event, result: 'verified', session_id: upstream.session }
    }
    const name = upstream?.provider ?? this.#failedProvider
    return {
      ...event,
      result: 'failed',
      reason: upstream === null ? this.#reason : 'not_attested',
      ...(name === null ? {} : { upstream_name: name }),
    }
  }
}
