import {
  e2eeBindingOf,
  isVerifiedEndpoint,
  tlsBindingOf,
  type Clock,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { Pool, type buildConnector } from 'undici'
import { pinnedConnector } from '../../client/pinned.ts'
import { VerificationRefused } from './failure.ts'
import { SealUsedUp, type Seal } from './seal.ts'
import { send, SendError, type Outbound, type ResponseSink } from './send.ts'

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

export interface ChannelOptions {
  readonly clock: Clock
  readonly limits: ChannelLimits
  /** Encrypts for the endpoint's end-to-end key; needed exactly where it has one. */
  readonly seal: Seal | null
  /** How often to connect until the attested TLS key answers; more than 1 where a balancer stands before it. */
  readonly attempts?: number
}

/** Connections to the keys an endpoint attested, and to nothing else: pinned in TLS, encrypted to, or both. */
export class VerifiedChannel {
  readonly #endpoint: VerifiedEndpoint
  readonly #options: ChannelOptions
  readonly #pool: Pool
  #revoked = false

  /** Throws `TypeError` for anything but a real `VerifiedEndpoint`, `VerificationRefused` for an expired one. */
  constructor(endpoint: VerifiedEndpoint, options: ChannelOptions) {
    this.#endpoint = endpoint
    this.#options = options
    this.#check()
    if ((e2eeBindingOf(endpoint.bindings) === null) !== (options.seal === null)) {
      throw new TypeError('an endpoint is encrypted to exactly where it attested a key for that')
    }
    this.#pool = new Pool(endpoint.origin, {
      ...poolOptions(options.limits),
      connect: this.#connector(),
    })
  }

  /** Throws `SendError`; `VerificationRefused` once the evidence has expired. */
  async send(outbound: Outbound, sink: ResponseSink): Promise<void> {
    this.#check()
    const { seal } = this.#options
    const binding = e2eeBindingOf(this.#endpoint.bindings)
    if (seal === null || binding === null) {
      await send(this.#pool, outbound, this.#guarded(sink))
      return
    }
    const sendSealed = async (): Promise<void> => {
      const sealed = await seal(outbound, binding)
      const { path, headers, body } = sealed.request
      const opening = sealed.open(sink)
      const message = { ...outbound.message, body }
      await send(this.#pool, { ...outbound, path, headers, message }, this.#guarded(opening))
      opening.end()
    }
    await onceMore(sendSealed)
  }

  get connected(): boolean {
    return this.#pool.stats.connected > 0
  }

  /** What the endpoint was verified from has been refused: requests that wait for a connection are not sent. */
  revoke(): void {
    this.#revoked = true
  }

  /** Lets running requests end. */
  close(): Promise<void> {
    return this.#pool.close()
  }

  destroy(): Promise<void> {
    return this.#pool.destroy()
  }

  /** Without an attested TLS key, TLS is only the way to whom the prompt is encrypted to: Web PKI is enough. */
  #connector(): buildConnector.connector | buildConnector.BuildOptions {
    const { limits, attempts = 1 } = this.#options
    const { connectMs: timeoutMs } = limits
    const tls = tlsBindingOf(this.#endpoint.bindings)
    if (tls === null) return { timeout: timeoutMs }
    return pinnedConnector(tls.digest, { timeoutMs, attempts })
  }

  /** Looks once more, right before the request is written: it may have waited long for its connection. */
  #guarded(sink: ResponseSink): ResponseSink {
    return {
      sent: () => {
        const expired = this.#endpoint.expiresAt <= this.#options.clock.now()
        if (this.#revoked || expired) throw new SendError('withdrawn')
        sink.sent()
      },
      head: (status, headers) => sink.head(status, headers),
      data: (chunk, resume) => sink.data(chunk, resume),
    }
  }

  /** The types say so already; a cast, a spread or a stale reference must not be enough to send a prompt. */
  #check(): void {
    if (!isVerifiedEndpoint(this.#endpoint)) throw new TypeError('not a VerifiedEndpoint')
    if (this.#endpoint.expiresAt <= this.#options.clock.now()) {
      throw new VerificationRefused('evidence_expired', null)
    }
  }
}

async function onceMore(sendSealed: () => Promise<void>): Promise<void> {
  try {
    await sendSealed()
  } catch (error) {
    if (!(error instanceof SealUsedUp)) throw error
    await sendSealed()
  }
}
