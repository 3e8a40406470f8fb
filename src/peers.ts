import type { CredentialDigest, SessionId } from './ids.ts'

/**
 * The other processes of this gateway: the connections of one client end in several of them, so what it looks for may be held by
 * another than the one it asks. Both reject with `GatewayError` `worker_busy` where nobody can say in time.
 */
export interface Peers {
  /** By receipt id or chat id; whoever holds it compares the credential. */
  receipt(id: string, credential: CredentialDigest): Promise<object | null>
  session(id: SessionId): Promise<object | null>
}

/** Of a gateway that is one process. */
export const NO_PEERS: Peers = { receipt: async () => null, session: async () => null }
