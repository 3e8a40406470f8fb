import { Pool } from 'undici'
import type { Clock } from '@vouchgate/attestation'
import type { PlainProvider } from '../config/index.ts'
import { isPlaintextConsent, type PlaintextConsent } from '../consent.ts'
import { poolOptions, type ChannelLimits } from './channel.ts'
import { authorize } from './credentials.ts'
import { send, type Message, type Outbound, type ResponseSink } from './send.ts'
import type { Access, Connection, Upstream } from './upstream.ts'

/** Connections to an ordinary API under Web PKI. Whoever runs it sees the prompt. */
export class PlainChannel {
  readonly #pool: Pool

  constructor(origin: string, limits: ChannelLimits) {
    this.#pool = new Pool(origin, {
      ...poolOptions(limits),
      connect: { timeout: limits.connectMs },
    })
  }

  /** Throws `TypeError` without a real consent, else `SendError`. */
  async send(consent: PlaintextConsent, outbound: Outbound, sink: ResponseSink): Promise<void> {
    if (!isPlaintextConsent(consent)) throw new TypeError('not a PlaintextConsent')
    await send(this.#pool, outbound, sink)
  }

  destroy(): Promise<void> {
    return this.#pool.destroy()
  }
}

/** A provider that is an ordinary API, whatever it speaks. */
export class PlainUpstream implements Upstream {
  readonly #provider: PlainProvider
  readonly #clock: Clock
  readonly #channel: PlainChannel
  readonly #origin: string
  readonly #prefix: string
  readonly #query: string

  constructor(provider: PlainProvider, limits: ChannelLimits, clock: Clock) {
    const { origin, pathname } = new URL(provider.baseUrl)
    const { apiVersion } = provider
    this.#provider = provider
    this.#clock = clock
    this.#origin = origin
    this.#prefix = pathname.replace(/\/+$/, '')
    this.#query = apiVersion === null ? '' : `?api-version=${apiVersion}`
    this.#channel = new PlainChannel(origin, limits)
  }

  async connect(access: Access): Promise<Connection> {
    if (access.confidentiality !== 'plain')
      throw new TypeError('a plain provider on attested access')
    const { consent } = access
    return {
      session: null,
      send: (message, sink) => this.#channel.send(consent, this.#outbound(message), sink),
      evict: () => undefined,
      release: () => undefined,
    }
  }

  close(): Promise<void> {
    return this.#channel.destroy()
  }

  #outbound(message: Message): Outbound {
    const path = this.#prefix + message.operation + this.#query
    const { credential } = this.#provider
    return {
      message,
      path,
      apiKey: null,
      authorize: () =>
        authorize(credential, {
          origin: this.#origin,
          path,
          body: message.body,
          now: this.#clock.now(),
        }),
    }
  }
}
