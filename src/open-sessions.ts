import type { Closable } from './attested-session.ts'
import { isAttested } from './config/index.ts'
import { keptSessions, type KeptOptions } from './kept.ts'
import { ATTESTED_KINDS } from './providers/kinds.ts'
import type { SessionOptions } from './session-slot.ts'
import { AttestedSessions } from './sessions.ts'

export interface OpenSessionsOptions extends KeptOptions {
  readonly jitter?: (() => number) | undefined
}

type Own<Channel extends Closable> = Pick<SessionOptions<Channel>, 'verify' | 'openChannel'>

/** The sessions of every attested provider, and what is remembered of them. Rejects with `SessionFileError`. */
export async function openSessions<Channel extends Closable>(
  { config, clock, log, metrics, jitter = Math.random }: OpenSessionsOptions,
  own: Own<Channel>,
) {
  const { store, identities, sessionFile } = await keptSessions({ config, clock, log, metrics })
  const attested = [...config.providers.values()].filter(isAttested)
  const nodes: SessionOptions<Channel>['nodes'] = ({ kind }) => ATTESTED_KINDS[kind].nodes
  const shared = { nodes, clock, jitter, store, identities, log, metrics }
  return { sessions: new AttestedSessions(attested, { ...own, ...shared }), store, sessionFile }
}
