import { statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { SessionFileError, sessionFileErrorOf } from './session-file-error.ts'

/** In SQLite's header, so that no other database is taken for ours: "VgSs". */
const APPLICATION_ID = 0x56_67_53_73
const VERSION = 1
const PAGE_BYTES = 4096

/** `held`: by this process. `cited_until`: 0 where no receipt has cited the session yet. */
const SCHEMA = [
  'CREATE TABLE sessions (id TEXT PRIMARY KEY, summary TEXT NOT NULL, digest TEXT NOT NULL, expires_at INTEGER NOT NULL, cited_until INTEGER NOT NULL, held INTEGER NOT NULL) STRICT',
  'CREATE INDEX sessions_digest ON sessions (digest)',
  'CREATE TABLE evidence (digest TEXT PRIMARY KEY, data TEXT NOT NULL) STRICT',
  'CREATE TABLE identities (provider TEXT NOT NULL, member TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (provider, member, value)) STRICT',
]

/**
 * Opens the store of sessions at `path`, or makes one where there is none. What is there and is not ours, damaged or
 * over `maxBytes` is left as it is. Throws `SessionFileError`.
 */
export async function openSessionDatabase(path: string, maxBytes: number): Promise<DatabaseSync> {
  const there = checkPlace(path, maxBytes)
  // Loaded here alone: Node's permission model does not stop this module from writing files.
  const { DatabaseSync } = await import('node:sqlite')
  let database: DatabaseSync | null = null
  try {
    // Read first: to open for writing may move another application's log into its file.
    if (there) database = new DatabaseSync(path, { readOnly: true, timeout: 0 })
    if (database !== null && !isEmpty(database)) checkOurs(database)
    database?.close()
    database = new DatabaseSync(path, { allowExtension: false, timeout: 0 })
    prepare(database, maxBytes)
    return database
  } catch (error) {
    if (database?.isOpen === true) database.close()
    throw sessionFileErrorOf(error)
  }
}

/** Whether there is a file. */
function checkPlace(path: string, maxBytes: number): boolean {
  if ('permission' in process && !process.permission.has('fs.write', path)) {
    throw new SessionFileError('session_file_unavailable')
  }
  let stat
  try {
    stat = statSync(path, { throwIfNoEntry: false })
  } catch {
    throw new SessionFileError('session_file_unavailable')
  }
  if (stat === undefined) return false
  if (!stat.isFile()) throw new SessionFileError('session_file_unavailable')
  if (stat.size > maxBytes) throw new SessionFileError('session_file_too_large')
  return true
}

function prepare(database: DatabaseSync, maxBytes: number): void {
  database.enableDefensive(true)
  database.exec('PRAGMA trusted_schema = OFF; PRAGMA locking_mode = EXCLUSIVE')
  if (isEmpty(database)) create(database)
  checkOurs(database)
  if (pragma(database, 'quick_check') !== 'ok') throw new SessionFileError('session_file_corrupt')
  const pageBytes = Number(pragma(database, 'page_size'))
  database.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 256;
     PRAGMA max_page_count = ${Math.floor(maxBytes / pageBytes)}`,
  )
}

const isEmpty = (database: DatabaseSync): boolean => Number(pragma(database, 'page_count')) === 0

function create(database: DatabaseSync): void {
  database.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA auto_vacuum = FULL`)
  const identify = [`PRAGMA application_id = ${APPLICATION_ID}`, `PRAGMA user_version = ${VERSION}`]
  // One transaction: a process that dies here leaves an empty file.
  database.exec(['BEGIN EXCLUSIVE', ...SCHEMA, ...identify, 'COMMIT'].join('; '))
}

/** Our id is no proof: a trigger or a view in the file would run with our statements. */
function checkOurs(database: DatabaseSync): void {
  const found = database.prepare('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL').all()
  const same =
    pragma(database, 'application_id') === APPLICATION_ID &&
    pragma(database, 'user_version') === VERSION &&
    found.length === SCHEMA.length &&
    SCHEMA.every((statement) => found.some(({ sql }) => sql === statement))
  if (!same) throw new SessionFileError('session_file_foreign')
}

function pragma(database: DatabaseSync, name: string): unknown {
  const [row = {}] = database.prepare(`PRAGMA ${name}`).all()
  return Object.values(row)[0]
}
