import type { CanonicalUsage } from './dialects/canonical.ts'
import type { ErrorCode } from './errors.ts'
import type { Gathered } from './gathered.ts'
import type { End } from './receipts.ts'
import type { ClientResponse } from './response.ts'
import { SendError, type ResponseSink } from './upstream/send.ts'

/** What is known of an answer without its content. */
export interface Answer {
  readonly end: End
  readonly code: ErrorCode | null
  readonly chatId: string | null
  /** Disjoint counts, as the provider states them. */
  readonly usage: CanonicalUsage | null
}

/** What every way of answering a client needs. */
export interface SinkOptions {
  readonly response: ClientResponse
  readonly maxBytes: number
  /** Called when the request is about to be written to a connection. */
  readonly onSent: () => void
  /** Called once, before the last byte leaves. */
  readonly seal: (answer: Answer, bodyHash: string) => void
}

/** Where one provider's answer goes, and what is told of it at the end. */
export interface AnswerSink extends ResponseSink {
  /** The response has ended cleanly. Throws a `GatewayError` where nothing was passed on. */
  complete(): void
  /** The exchange has failed. Throws a `GatewayError` where nothing was passed on. */
  fail(failure: SendError['failure']): void
}

const MAX_ERROR_BYTES = 1 << 16
/** What a stream may say before its first content; until then another provider can still be asked. */
export const MAX_HELD_BYTES = 1 << 18

/** Holds a part of a body that is not a stream: of an answer up to `maxBytes`, of anything else 64 KiB. */
export function gather(gathered: Gathered, chunk: Buffer, ok: boolean, maxBytes: number): void {
  const limit = ok ? maxBytes : MAX_ERROR_BYTES
  if (gathered.length + chunk.length > limit) throw new SendError('too_large')
  gathered.push(chunk)
}
