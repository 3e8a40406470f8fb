/** Why sessions are not kept on disk. Messages never contain a path or what is in the file. */
const MESSAGES = {
  session_file_unavailable: 'the file of sessions cannot be opened or written',
  session_file_busy: 'another process holds the file of sessions open',
  session_file_too_large: 'the file of sessions is over sessions.max_bytes',
  session_file_foreign: 'the file is not a store of sessions of this version; it was left as it is',
  session_file_corrupt: 'the file of sessions is damaged; it was left as it is',
  session_file_full: 'the file of sessions has reached sessions.max_bytes',
} as const

export type SessionFileErrorCode = keyof typeof MESSAGES

export class SessionFileError extends Error {
  override readonly name = 'SessionFileError'
  readonly code: SessionFileErrorCode

  constructor(code: SessionFileErrorCode) {
    super(MESSAGES[code])
    this.code = code
  }
}

/** SQLite's primary result codes (sqlite.org/rescode.html); everything else is `unavailable`. */
const BY_RESULT: Readonly<Record<number, SessionFileErrorCode>> = {
  5: 'session_file_busy',
  6: 'session_file_busy',
  11: 'session_file_corrupt',
  13: 'session_file_full',
  18: 'session_file_too_large',
  26: 'session_file_corrupt',
}

/** SQLite's own messages name tables and paths; only its result code is looked at. */
export function sessionFileErrorOf(error: unknown): SessionFileError {
  if (error instanceof SessionFileError) return error
  const result = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0
  return new SessionFileError(BY_RESULT[result] ?? 'session_file_unavailable')
}
