import type { CollateralSource } from '../client/collateral.ts'
import type { Pipeline } from './call.ts'
import type { KeyRing } from './keys.ts'
import type { Peers } from './peers.ts'
import type { SessionStore } from './session-store.ts'
import type { SessionFile } from './session-file.ts'
import type { AttestedSessions } from './sessions.ts'
import type { VerifiedChannel } from './upstream/channel.ts'
import type { ServingBreakers } from './upstream/serving.ts'

/** What the routes share. */
export interface Context extends Pipeline {
  readonly keys: KeyRing
  readonly sessions: AttestedSessions<VerifiedChannel>
  readonly store: SessionStore
  /** Null where sessions are kept in memory alone. */
  readonly sessionFile: SessionFile | null
  readonly serving: ServingBreakers
  /** Of the gateway's own quotes, for those who verify it. */
  readonly collateral: { readonly source: CollateralSource }
  readonly peers: Peers
  readonly running: RunningPrompts
}

/** The prompts being served; draining waits for them, and gives up on them at the end. */
export class RunningPrompts {
  readonly #running = new Set<AbortController>()
  #draining = false

  get draining(): boolean {
    return this.#draining
  }

  get size(): number {
    return this.#running.size
  }

  add(controller: AbortController): () => void {
    this.#running.add(controller)
    return () => this.#running.delete(controller)
  }

  drain(): void {
    this.#draining = true
  }

  abortAll(): void {
    for (const controller of this.#running) controller.abort()
  }
}
