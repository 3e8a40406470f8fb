import type { Clock } from '@vouchgate/attestation'
import type { Config } from './config/index.ts'
import { Identities } from './identities.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import { SessionFile } from './session-file.ts'
import { SessionStore } from './session-store.ts'

export interface KeptOptions {
  readonly config: Config
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Metrics
}

/** What is remembered of verifications. */
export interface Kept {
  readonly store: SessionStore
  readonly identities: Identities
  /** Null where nothing is kept beyond the life of the process. */
  readonly sessionFile: SessionFile | null
}

/** In memory, and in a file where the configuration names one. Throws `SessionFileError`. */
export async function keptSessions({ config, clock, log, metrics }: KeptOptions): Promise<Kept> {
  const { path, max_bytes: maxBytes } = config.sessions
  const { ttl_seconds: receiptSeconds } = config.receipts
  const sessionFile =
    path === null ? null : await SessionFile.open({ path, maxBytes, receiptSeconds, clock, log })
  const identities = new Identities({
    log,
    metrics,
    known: sessionFile?.identities() ?? [],
    remember: (identity) => sessionFile?.remember(identity),
  })
  return { store: new SessionStore(sessionFile), identities, sessionFile }
}
