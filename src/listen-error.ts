const CODES: ReadonlySet<string> = new Set(['EADDRINUSE', 'EADDRNOTAVAIL', 'EACCES'])

/** Whether the address cannot be listened on. */
export const isListenError = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && CODES.has(String(error.code))
