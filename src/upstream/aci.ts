import { toHex, verifyEndpoint, type Clock } from '@vouchgate/attestation'
import type { CollateralSource, CollateralWeigh } from '../../client/collateral.ts'
import { collectAci } from '../../client/collect.ts'
import type { AciProvider } from '../config/index.ts'
import type { Random } from '../ids.ts'
import type { AttestedSessions } from '../sessions.ts'
import type { Verified } from '../session-slot.ts'
import type { VerifiedChannel } from './channel.ts'
import type { Access, Connection, Upstream } from './upstream.ts'

export interface VerifyOptions {
  readonly pcs: CollateralSource
  readonly weigh?: CollateralWeigh
  readonly clock: Clock
  readonly random: Random
  readonly timeoutMs: number
}

/** Collects the provider's report over a fresh nonce and judges exactly those bytes. */
export async function verifyAci(provider: AciProvider, options: VerifyOptions): Promise<Verified> {
  const { random, ...collecting } = options
  const { clock } = collecting
  const nonce = toHex(random(32))
  const evidence = await collectAci({ origin: provider.origin, nonce, ...collecting })
  const endpoint = await verifyEndpoint({
    evidence,
    challenge: nonce,
    now: clock.now(),
    policy: provider.policy,
  })
  return { endpoints: [endpoint], evidence }
}

/** A provider of kind `aci`: another ACI/1 service. */
export class AciUpstream implements Upstream {
  readonly #provider: AciProvider
  readonly #sessions: AttestedSessions<VerifiedChannel>

  constructor(provider: AciProvider, sessions: AttestedSessions<VerifiedChannel>) {
    this.#provider = provider
    this.#sessions = sessions
  }

  async connect(access: Access): Promise<Connection> {
    if (access.confidentiality !== 'attested')
      throw new TypeError('an attested provider on plain access')
    const { id, apiKey } = this.#provider
    const session = await this.#sessions.acquire(id, access.sessions)
    const release = session.lease()
    return {
      session: session.id,
      send: (message, sink) =>
        session.channel.send({ message, path: `/v1${message.operation}`, apiKey }, sink),
      evict: (reason) => this.#sessions.evict(id, session.id, reason),
      release,
    }
  }

  /** The channels belong to the sessions, which close them. */
  async close(): Promise<void> {
    await Promise.resolve()
  }
}
