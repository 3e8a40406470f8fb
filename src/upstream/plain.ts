import { Pool } from 'undici'
import type { OpenAiProvider } from '../config/index.ts'
import { isPlaintextConsent, type PlaintextConsent } from '../consent.ts'
import { poolOptions, type ChannelLimits } from './channel.ts'
import { send, type Outbound, type ResponseSink } from './send.ts'
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

/** A provider of kind `openai`. */
export class PlainUpstream implements Upstream {
  readonly #provider: OpenAiProvider
  readonly #channel: PlainChannel
  readonly #prefix: string

  constructor(provider: OpenAiProvider, limits: ChannelLimits) {
    const { origin, pathname } = new URL(provider.baseUrl)
    this.#provider = provider
    this.#prefix = pathname.replace(/\/+$/, '')
    this.#channel = new PlainChannel(origin, limits)
  }

  async connect(access: Access): Promise<Connection> {
    if (access.confidentiality !== 'plain')
      throw new TypeError('a plain provider on attested access')
    const { consent } = access
    const { apiKey } = this.#provider
    return {
      session: null,
      send: (message, sink) => {
        const path = this.#prefix + message.operation
        return this.#channel.send(consent, { message, path, apiKey }, sink)
      },
      evict: () => undefined,
      release: () => undefined,
    }
  }

  close(): Promise<void> {
    return this.#channel.destroy()
  }
}
