import type { E2eeBinding } from '@vouchgate/attestation'
import type { Prompt } from '../prompt.ts'
import { SendError, type Outbound, type ResponseSink } from './send.ts'

/** What goes over the wire in place of a message. */
interface SealedRequest {
  readonly path: string
  /** Beside those of every request, or instead of one of them. Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** Encrypted, as far as the protocol encrypts. */
  readonly body: Prompt
}

/** Reads an encrypted reply. A method that throws a `SendError` aborts the exchange. */
export interface OpeningSink extends ResponseSink {
  /** The reply has ended cleanly. Throws where it may not end here, and passes on what is still held. */
  end(): void
}

/** One message encrypted to an attested key, and the way to read the reply to it. */
export interface SealedExchange {
  readonly request: SealedRequest
  /**
   * Decrypts what comes over the wire and feeds it to `sink`. A successful reply that is not encrypted where it must
   * be is a downgrade: `SendError` `not_encrypted`. One that cannot be decrypted: `undecryptable`.
   */
  open(sink: ResponseSink): OpeningSink
}

/**
 * Encrypts a message to the key of an attested endpoint.
 *
 * Rejects with `GatewayError` `request_not_encryptable` where the protocol would leave content in clear, and with
 * `SendError` where what it needs from the provider cannot be had.
 */
export type Seal = (outbound: Outbound, binding: E2eeBinding) => Promise<SealedExchange>

/**
 * The provider has refused, before it read the message, what a sealed request carries for one use. Thrown by
 * `head` of an opening; the message may be sealed and sent once more.
 */
export class SealUsedUp extends SendError {
  constructor() {
    super('unreachable')
  }
}
