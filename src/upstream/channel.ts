import { isVerifiedEndpoint, type Clock, type VerifiedEndpoint } from '@vouchgate/attestation'
import { Pool } from 'undici'
import { pinnedConnector } from '../../client/pinned.ts'
import { VerificationRefused } from './failure.ts'
import { send, type Outbound, type ResponseSink } from './send.ts'

export interface ChannelLimits {
  readonly connectMs: number
  readonly firstByteMs: number
  readonly idleMs: number
  readonly connections: number
}

/** undici's options that every channel shares. */
export const poolOptions = (limits: ChannelLimits): Pool.Options => ({
  connections: limits.connections,
  headersTimeout: limits.firstByteMs,
  bodyTimeout: limits.idleMs,
  pipelining: 1,
  allowH2: false,
})

/** Connections to the key an endpoint attested, and to nothing else. */
export class VerifiedChannel {
  readonly #endpoint: VerifiedEndpoint
  readonly #clock: Clock
  readonly #pool: Pool

  /** Throws `TypeError` for anything but a real `VerifiedEndpoint`, `VerificationRefused` for an expired one. */
  constructor(endpoint: VerifiedEndpoint, clock: Clock, limits: ChannelLimits) {
    this.#endpoint = endpoint
    this.#clock = clock
    this.#check()
    this.#pool = new Pool(endpoint.origin, {
      ...poolOptions(limits),
      connect: pinnedConnector(endpoint.binding.digest, { timeoutMs: limits.connectMs }),
    })
  }

  /** Throws `SendError`; `VerificationRefused` once the evidence has expired. */
  async send(outbound: Outbound, sink: ResponseSink): Promise<void> {
    this.#check()
    await send(this.#pool, outbound, sink)
  }

  /** Lets running requests end. */
  close(): Promise<void> {
    return this.#pool.close()
  }

  destroy(): Promise<void> {
    return this.#pool.destroy()
  }

  /** The types say so already; a cast, a spread or a stale reference must not be enough to send a prompt. */
  #check(): void {
    if (!isVerifiedEndpoint(this.#endpoint)) throw new TypeError('not a VerifiedEndpoint')
    if (this.#endpoint.expiresAt <= this.#clock.now()) {
      throw new VerificationRefused('evidence_expired', null)
    }
  }
}
