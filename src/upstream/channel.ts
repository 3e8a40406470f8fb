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

export interface ChannelOptions {
  readonly clock: Clock
  readonly limits: ChannelLimits
  /** Encrypts for the endpoint's end-to-end key; needed exactly where it has one. */
  readonly seal: Seal | null
}

/** Connections to the keys an endpoint attested, and to nothing else: pinned in TLS, encrypted to, or both. */
export class VerifiedChannel {
  readonly #endpoint: VerifiedEndpoint
  readonly #options: ChannelOptions
  readonly #pool: Pool

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
      await send(this.#pool, outbound, sink)
      return
    }
    const sendSealed = async (): Promise<void> => {
      const sealed = await seal(outbound, binding)
      const { path, headers, body } = sealed.request
      const opening = sealed.open(sink)
      const message = { ...outbound.message, body }
      await send(this.#pool, { ...outbound, path, headers, message }, opening)
      opening.end()
    }
    await onceMore(sendSealed)
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
    const { connectMs: timeoutMs } = this.#options.limits
    const tls = tlsBindingOf(this.#endpoint.bindings)
    return tls === null ? { timeout: timeoutMs } : pinnedConnector(tls.digest, { timeoutMs })
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
