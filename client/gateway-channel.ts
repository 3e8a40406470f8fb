import { isVerifiedEndpoint } from '@vouchgate/attestation'
import type { TLSSocket } from 'node:tls'
import { Pool, type Dispatcher } from 'undici'
import { ChannelError } from './errors.ts'
import { connectorOf, openTls, sameDigest, type TlsTarget } from './pinned.ts'
import { verifyGateway, type VerifiedGateway, type VerifyOptions } from './verify-gateway.ts'

const CONNECT_TIMEOUT_MS = 10_000

/**
 * Connections to one gateway, each ending in a key that a verification of that gateway proved.
 *
 * A gateway changes its key when it restarts or rotates, and replicas behind one name have a key each. A
 * connection to an unknown key is therefore given up, the gateway is verified once more under the same
 * policy, and one more connection is tried. All of this happens before a request is written, so nothing
 * is ever sent twice, and a stranger's key still sees zero bytes.
 */
export class GatewayChannel {
  readonly #options: VerifyOptions
  readonly #origin: string
  #latest: VerifiedGateway
  #verified: VerifiedGateway[]
  #pool: Pool
  #renewal: Promise<void> | null = null

  /** Throws `TypeError` for anything but what `verifyGateway` gave. */
  constructor(gateway: VerifiedGateway, options: VerifyOptions) {
    if (!isVerifiedEndpoint(gateway.endpoint)) throw new TypeError('not a VerifiedEndpoint')
    this.#options = options
    this.#origin = gateway.endpoint.origin
    this.#latest = gateway
    this.#verified = [gateway]
    this.#pool = this.#newPool()
  }

  /** The latest verification. */
  get gateway(): VerifiedGateway {
    return this.#latest
  }

  get origin(): string {
    return this.#origin
  }

  /** Where to send the next request. Verifies again, and throws what `verifyGateway` throws, after expiry. */
  async dispatcher(): Promise<Dispatcher> {
    if (this.#hasExpired()) await this.#renew()
    return this.#pool
  }

  /** Lets running requests end. */
  close(): Promise<void> {
    return this.#pool.close()
  }

  destroy(): Promise<void> {
    return this.#pool.destroy()
  }

  #newPool(): Pool {
    // Whoever sends decides how long to wait: a model may think for an hour.
    return new Pool(this.#origin, {
      allowH2: false,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: connectorOf((target) => this.#open(target)),
    })
  }

  async #open(target: TlsTarget): Promise<TLSSocket> {
    const known = await this.#openAttested(target)
    if (known !== null) return known
    await this.#renew()
    const renewed = await this.#openAttested(target)
    if (renewed === null) throw new ChannelError('channel_key_mismatch')
    return renewed
  }

  async #openAttested(target: TlsTarget): Promise<TLSSocket | null> {
    const { socket, spkiSha256 } = await openTls(target, CONNECT_TIMEOUT_MS)
    const now = this.#options.clock.now()
    const attested = this.#verified.some(
      ({ endpoint }) => now < endpoint.expiresAt && sameDigest(endpoint.binding.digest, spkiSha256),
    )
    if (attested) return socket
    socket.destroy()
    return null
  }

  #hasExpired(): boolean {
    const now = this.#options.clock.now()
    return this.#verified.some(({ endpoint }) => endpoint.expiresAt <= now)
  }

  /** Requests that need a verification at the same time share one. */
  #renew(): Promise<void> {
    this.#renewal ??= this.#verifyAgain().finally(() => {
      this.#renewal = null
    })
    return this.#renewal
  }

  async #verifyAgain(): Promise<void> {
    const gateway = await verifyGateway(this.#origin, this.#options)
    if (this.#hasExpired()) {
      // Idle connections of the old pool end in keys whose time is over.
      const old = this.#pool
      this.#verified = []
      this.#pool = this.#newPool()
      old.close().catch(() => old.destroy())
    }
    this.#verified.push(gateway)
    this.#latest = gateway
  }
}
