import type { SessionDocument, UnixSeconds } from '@vouchgate/attestation'
import type { SessionId } from './ids.ts'

type Summary = Omit<SessionDocument, 'evidence'> & {
  readonly evidence: { readonly digest: string }
}

/** Where sessions are kept beyond the life of the process. Every method but `find` returns before it has written. */
export interface SessionArchive {
  keep(id: SessionId, document: SessionDocument): void
  /** A receipt that can be fetched until `until` cites the session. */
  cite(id: SessionId, until: UnixSeconds): void
  /** Nothing of this run cites it any more. */
  drop(id: SessionId): void
  /** A session of an earlier run, or null. */
  find(id: SessionId): Promise<object | null>
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
  readonly #archive: SessionArchive | null
  readonly #sessions = new Map<SessionId, Entry>()
  readonly #evidence = new Map<string, { readonly data: string; sessions: number }>()

  constructor(archive: SessionArchive | null = null) {
    this.#archive = archive
  }

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
    this.#archive?.keep(id, document)
  }

  retain(id: SessionId): void {
    const entry = this.#sessions.get(id)
    if (entry === undefined) throw new TypeError('the session is not kept')
    entry.references++
  }

  /** Like `retain`, for a receipt that can be looked up until `until`. */
  cite(id: SessionId, until: UnixSeconds): void {
    this.retain(id)
    this.#archive?.cite(id, until)
  }

  release(id: SessionId): void {
    const entry = this.#sessions.get(id)
    if (entry === undefined) throw new TypeError('the session is not kept')
    entry.references--
    if (entry.references > 0) return
    this.#sessions.delete(id)
    this.#dropEvidence(entry.summary.evidence.digest)
    this.#archive?.drop(id)
  }

  /** The full document, byte-equivalent to the one its id was computed over; also one of an earlier run. */
  async document(id: SessionId): Promise<object | null> {
    const summary = this.#sessions.get(id)?.summary
    const data = summary && this.#evidence.get(summary.evidence.digest)?.data
    if (summary === undefined || data === undefined) return (await this.#archive?.find(id)) ?? null
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

  /** Of all evidence that is kept, in characters. */
  get evidenceSize(): number {
    let size = 0
    for (const { data } of this.#evidence.values()) size += data.length
    return size
  }

  #dropEvidence(digest: string): void {
    const kept = this.#evidence.get(digest)
    if (kept === undefined) return
    kept.sessions--
    if (kept.sessions === 0) this.#evidence.delete(digest)
  }
}
