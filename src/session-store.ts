import type { SessionDocument } from '@vouchgate/attestation'
import type { SessionId } from './ids.ts'

type Summary = Omit<SessionDocument, 'evidence'> & {
  readonly evidence: { readonly digest: string }
}

interface Entry {
  readonly summary: Summary
  references: number
}

/**
 * Session documents for as long as anyone cites them: the live set, running requests, and the receipts that
 * can still be looked up (ACI §8). Evidence is kept once, under its digest, so the store's size does not
 * depend on how many rounds of verification have run.
 */
export class SessionStore {
  readonly #sessions = new Map<SessionId, Entry>()
  readonly #evidence = new Map<string, { readonly data: string; sessions: number }>()

  /** Keeps a session with one reference. */
  add(id: SessionId, document: SessionDocument): void {
    if (this.#sessions.has(id)) {
      this.retain(id)
      return
    }
    const { digest, data } = document.evidence
    const kept = this.#evidence.get(digest) ?? { data, sessions: 0 }
    kept.sessions++
    this.#evidence.set(digest, kept)
    this.#sessions.set(id, { summary: { ...document, evidence: { digest } }, references: 1 })
  }

  retain(id: SessionId): void {
    const entry = this.#sessions.get(id)
    if (entry === undefined) throw new TypeError('the session is not kept')
    entry.references++
  }

  release(id: SessionId): void {
    const entry = this.#sessions.get(id)
    if (entry === undefined) throw new TypeError('the session is not kept')
    entry.references--
    if (entry.references > 0) return
    this.#sessions.delete(id)
    this.#dropEvidence(entry.summary.evidence.digest)
  }

  /** The full document, byte-equivalent to the one its id was computed over. */
  document(id: SessionId): object | null {
    const summary = this.#sessions.get(id)?.summary
    const data = summary && this.#evidence.get(summary.evidence.digest)?.data
    if (summary === undefined || data === undefined) return null
    return { ...summary, evidence: { digest: summary.evidence.digest, data } }
  }

  /** The list form (ACI §8.1): without the evidence itself, with the id. */
  summary(id: SessionId): object | null {
    const summary = this.#sessions.get(id)?.summary
    return summary === undefined ? null : { session_id: id, ...summary }
  }

  get size(): number {
    return this.#sessions.size
  }

  #dropEvidence(digest: string): void {
    const kept = this.#evidence.get(digest)
    if (kept === undefined) return
    kept.sessions--
    if (kept.sessions === 0) this.#evidence.delete(digest)
  }
}
