import {
  isVerificationError,
  parseJson,
  parseSession,
  verifySession,
  type Clock,
  type SessionDocument,
  type UnixSeconds,
} from '@vouchgate/attestation'
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { IDENTITY_MEMBERS, type Identity } from './identities.ts'
import { isProviderId, type SessionId } from './ids.ts'
import type { Logger } from './log.ts'
import { openSessionDatabase } from './session-database.ts'
import { sessionFileErrorOf, type SessionFileErrorCode } from './session-file-error.ts'
import type { SessionArchive } from './session-store.ts'

export interface SessionFileOptions {
  readonly path: string
  readonly maxBytes: number
  /** For how long a receipt can be fetched. */
  readonly receiptSeconds: number
  readonly clock: Clock
  readonly log: Logger
}

/** What is to be written: a removal first, then a document, then a citation. */
interface Change {
  remove: boolean
  document: SessionDocument | null
  citedUntil: UnixSeconds
}

const MAX_IDENTITIES = 16_384
/** How long what nobody cites may stand where nothing else is to be written. It is shown to nobody. */
const SWEEP_SECONDS = 60
/** How often room is made for one batch. */
const MAX_ROOM = 16

/**
 * Sessions and their evidence in one SQLite file, for those who hold a receipt across a restart. It holds no prompt,
 * no key and no receipt. What comes out of it is checked against the id it was asked by, so the file is trusted
 * with nothing; a session of an earlier run never serves.
 */
export class SessionFile implements SessionArchive {
  readonly #database: DatabaseSync
  readonly #options: SessionFileOptions
  readonly #changes = new Map<SessionId, Change>()
  #identities: Identity[] = []
  #failure: SessionFileErrorCode | null = null
  #sweepAt: UnixSeconds = 0

  private constructor(database: DatabaseSync, options: SessionFileOptions) {
    this.#database = database
    this.#options = options
  }

  /** Throws `SessionFileError`. */
  static async open(options: SessionFileOptions): Promise<SessionFile> {
    const database = await openSessionDatabase(options.path, options.maxBytes)
    const file = new SessionFile(database, options)
    try {
      file.#takeOver()
    } catch (error) {
      database.close()
      throw sessionFileErrorOf(error)
    }
    return file
  }

  keep(id: SessionId, document: SessionDocument): void {
    this.#change(id).document = document
  }

  cite(id: SessionId, until: UnixSeconds): void {
    const change = this.#change(id)
    change.citedUntil = Math.max(change.citedUntil, until)
  }

  drop(id: SessionId): void {
    // What was never written need not be removed, and most sessions come and go between two flushes of a busy file.
    const { document, remove } = this.#change(id)
    this.#changes.delete(id)
    if (document === null || remove) this.#change(id).remove = true
  }

  async find(id: SessionId): Promise<SessionDocument | null> {
    try {
      return await this.#verified(id)
    } catch (error) {
      if (isVerificationError(error)) this.#failed('session_file_corrupt')
      else this.#failed(sessionFileErrorOf(error).code)
      return null
    }
  }

  /** What earlier runs have seen, oldest first. */
  identities(): Identity[] {
    const rows = this.#all('SELECT provider, member, value FROM identities ORDER BY rowid')
    return rows.flatMap(({ provider, member: name, value }) => {
      const member = IDENTITY_MEMBERS.find((known) => known === name)
      if (typeof provider !== 'string' || typeof value !== 'string') return []
      return member !== undefined && isProviderId(provider) ? [{ provider, member, value }] : []
    })
  }

  remember(identity: Identity): void {
    this.#identities.push(identity)
    if (this.#identities.length > MAX_IDENTITIES) this.#identities.shift()
  }

  /** Writes what has changed, in one transaction, and drops what no receipt cites any more. Never throws. */
  flush(): void {
    if (!this.#database.isOpen || !this.#isDue()) return
    for (let tries = 0; tries < MAX_ROOM; tries++) {
      const failure = this.#transaction(() => this.#write())
      if (failure === null) {
        this.#changes.clear()
        this.#identities = []
        this.#failure = null
        return
      }
      if (failure !== 'session_file_full' || !this.#makeRoom()) {
        this.#failed(failure)
        return
      }
    }
    this.#failed('session_file_full')
  }

  /** Sessions that no receipt has cited are not kept. */
  close(): void {
    if (!this.#database.isOpen) return
    this.flush()
    this.#transaction(() => {
      this.#run('DELETE FROM sessions WHERE held = 1 AND cited_until = 0')
      this.#dropEvidence()
    })
    this.#database.close()
  }

  /**
   * From here on everything in the file is of an earlier run. A process that was killed has not said of its last
   * sessions whether they were cited; a receipt may cite them until they expire, and lives that long.
   */
  #takeOver(): void {
    const { receiptSeconds } = this.#options
    this.#run(
      'UPDATE sessions SET held = 0, cited_until = iif(cited_until = 0, expires_at + ?, cited_until)',
      receiptSeconds,
    )
    this.#run(
      'DELETE FROM identities WHERE rowid NOT IN (SELECT rowid FROM identities ORDER BY rowid DESC LIMIT ?)',
      MAX_IDENTITIES,
    )
    this.#dropUncited()
    this.#dropEvidence()
  }

  #isDue(): boolean {
    const now = this.#options.clock.now()
    const due = this.#changes.size > 0 || this.#identities.length > 0 || now >= this.#sweepAt
    if (due) this.#sweepAt = now + SWEEP_SECONDS
    return due
  }

  #write(): void {
    for (const [id, { remove, document, citedUntil }] of this.#changes) {
      if (remove) this.#run('DELETE FROM sessions WHERE id = ?', id)
      if (document !== null) this.#insert(id, document)
      if (citedUntil > 0) {
        this.#run(
          'UPDATE sessions SET cited_until = max(cited_until, ?) WHERE id = ?',
          citedUntil,
          id,
        )
      }
    }
    for (const { provider, member, value } of this.#identities) {
      this.#run('INSERT OR IGNORE INTO identities VALUES (?, ?, ?)', provider, member, value)
    }
    this.#dropUncited()
    this.#dropEvidence()
  }

  #insert(id: SessionId, document: SessionDocument): void {
    const { digest, data } = document.evidence
    const summary = JSON.stringify({ ...document, evidence: { digest } })
    this.#run('INSERT OR IGNORE INTO evidence VALUES (?, ?)', digest, data)
    this.#run(
      'INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, 0, 1)',
      id,
      summary,
      digest,
      document.expires_at,
    )
  }

  #dropUncited(): void {
    const now = this.#options.clock.now()
    this.#run('DELETE FROM sessions WHERE held = 0 AND cited_until <= ?', now)
  }

  #dropEvidence(): void {
    this.#run('DELETE FROM evidence WHERE digest NOT IN (SELECT digest FROM sessions)')
  }

  /** Gives up what would be given up first anyway, of earlier runs alone. False where there is none. */
  #makeRoom(): boolean {
    let removed = false
    const failure = this.#transaction(() => {
      const { changes } = this.#run(
        `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE held = 0 ORDER BY cited_until
         LIMIT max(1, (SELECT count(*) / 4 FROM sessions WHERE held = 0)))`,
      )
      this.#dropEvidence()
      removed = changes > 0
    })
    return failure === null && removed
  }

  async #verified(id: SessionId): Promise<SessionDocument | null> {
    const [row] = this.#all(
      `SELECT summary, digest, data FROM sessions JOIN evidence USING (digest)
       WHERE id = ? AND held = 0 AND cited_until > ?`,
      id,
      this.#options.clock.now(),
    )
    if (row === undefined) return null
    const summary = parseJson(String(row['summary']))
    const evidence = { digest: row['digest'], data: row['data'] }
    const document = parseSession(Object.assign({}, summary, { evidence }))
    const found = await verifySession(document)
    if (found.id === id) return document
    this.#failed('session_file_corrupt')
    return null
  }

  /** All or nothing; what went wrong, or null. */
  #transaction(work: () => void): SessionFileErrorCode | null {
    try {
      this.#database.exec('BEGIN IMMEDIATE')
      work()
      this.#database.exec('COMMIT')
      return null
    } catch (error) {
      if (this.#database.isOpen && this.#database.isTransaction) this.#database.exec('ROLLBACK')
      return sessionFileErrorOf(error).code
    }
  }

  /** Said once until a flush succeeds, and not every second. */
  #failed(reason: SessionFileErrorCode): void {
    if (reason === this.#failure) return
    this.#failure = reason
    this.#options.log({ event: 'session_file_failed', reason })
  }

  #run(sql: string, ...values: SQLInputValue[]): { changes: number } {
    return { changes: Number(this.#database.prepare(sql).run(...values).changes) }
  }

  #all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#database.prepare(sql).all(...values)
  }

  #change(id: SessionId): Change {
    const change = this.#changes.get(id) ?? { remove: false, document: null, citedUntil: 0 }
    this.#changes.set(id, change)
    return change
  }
}
