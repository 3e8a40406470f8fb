import type { AttestedProvider } from '../config/index.ts'
import type { AttestedSessions } from '../sessions.ts'
import { bearer } from './credentials.ts'
import type { VerifiedChannel } from './channel.ts'
import type { Access, Connection, Upstream } from './upstream.ts'

/** A provider of a kind that is verified: prompts go through the channels of its sessions. */
export class AttestedUpstream implements Upstream {
  readonly #provider: AttestedProvider
  readonly #sessions: AttestedSessions<VerifiedChannel>

  constructor(provider: AttestedProvider, sessions: AttestedSessions<VerifiedChannel>) {
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
        session.channel.send(
          {
            message,
            path: `/v1${message.operation}`,
            apiKey,
            authorize: () => bearer(apiKey),
          },
          sink,
        ),
      evict: (reason) => this.#sessions.evict(id, session.id, reason),
      release,
    }
  }

  /** The channels belong to the sessions, which close them. */
  async close(): Promise<void> {
    await Promise.resolve()
  }
}
