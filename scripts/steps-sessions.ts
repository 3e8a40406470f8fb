/** Which tests stand for the parts of `src/` that keep, choose and lose sessions. Part of `steps.ts`. */
export const SESSION_SUITES: readonly (readonly [path: string, tests: readonly string[]])[] = [
  [
    'src/upstream/channel.ts',
    ['test/src/sessions.test.ts', 'test/src/refusals.test.ts', 'test/src/lifecycle.test.ts'],
  ],
  ['src/session-slot.ts', ['test/src/sessions.test.ts', 'test/src/rounds.test.ts']],
  ['src/live-sessions.ts', ['test/src/rounds.test.ts']],
  ['src/session-store.ts', ['test/src/rounds.test.ts', 'test/src/parts.test.ts']],
  ['src/session-database.ts', ['test/src/session-file.test.ts']],
  ['src/session-file.ts', ['test/src/session-file.test.ts']],
  ['src/identities.ts', ['test/src/rounds.test.ts']],
  ['src/routing.ts', ['test/src/routing.test.ts']],
  ['src/upstream/serving.ts', ['test/src/routing.test.ts']],
  ['src/upstream/breaker.ts', ['test/src/routing.test.ts']],
  [
    'src/attempt.ts',
    [
      'test/src/balanced.test.ts',
      'test/src/refusals.test.ts',
      'test/src/lifecycle.test.ts',
      'test/src/tinfoil.test.ts',
    ],
  ],
  ['src/dispatch.ts', ['test/src/routing.test.ts', 'test/src/chat.test.ts']],
  ['src/boot.ts', ['test/src/session-file.test.ts', 'test/src/operation.test.ts']],
  ['enclave/self-check.ts', ['test/enclave/self-check.test.ts']],
]

/** Conditions and calls beside the refusals: [file, text, replacement]. */
export const SESSION_STEPS: readonly (readonly [
  file: string,
  step: string,
  replacement: string,
])[] = [
  // A prompt that waited is looked at once more before it is written.
  ['src/upstream/channel.ts', 'if (this.#revoked || expired)', 'if (expired)'],
  ['src/upstream/channel.ts', 'if (this.#revoked || expired)', 'if (this.#revoked)'],
  // What is refused ends, at once and whole.
  ['src/session-slot.ts', '    this.#live.retireWhere(() => true, reason)\n', ''],
  ['src/session-slot.ts', 'for (const session of this.#live.list()) session.revoke()', ''],
  ['src/session-slot.ts', 'filter(({ expiresAt }) => expiresAt > now)', 'filter(() => true)'],
  ['src/session-slot.ts', 'this.#lost ? null : this.#live.next()', 'this.#live.next()'],
  ['src/session-slot.ts', ' || (notFound && each.tlsKey === tlsKey)', ''],
  ['src/session-slot.ts', 'this.#verifying ??= this', 'this.#verifying = this'],
  ['src/session-slot.ts', '    if (stays && !this.#live.isNewest(session)) return\n', ''],
  ['src/session-slot.ts', 'notFound && channel.connected', 'notFound && !channel.connected'],
  // What is listed is what serves.
  [
    'src/live-sessions.ts',
    '    this.retireWhere(({ acceptedUntil }) => acceptedUntil <= now)\n',
    '',
  ],
  ['src/live-sessions.ts', 'round.filter(({ superseded }) => !superseded)', '[...round]'],
  ['src/live-sessions.ts', "nodes === 'several' && ", ''],
  ['src/live-sessions.ts', ' && !keys.has(older.tlsKey)', ''],
  ['src/live-sessions.ts', 'older.supersede(now + GRACE_SECONDS)', ''],
  ['src/live-sessions.ts', 'ids.has(older.id) && !round.includes(older)', 'false'],
  // The file is trusted with nothing.
  ['src/session-file.ts', 'if (found.id === id) return document', 'return document'],
  ['src/session-file.ts', ' AND held = 0 AND cited_until > ?', ' AND cited_until > ?'],
  [
    'src/session-file.ts',
    'AND held = 0 AND cited_until > ?',
    'AND held = 0 AND cited_until > 0 * ?',
  ],
  ['src/session-file.ts', 'isProviderId(provider) ?', 'provider !== null ?'],
  ['src/session-database.ts', "pragma(database, 'application_id') === APPLICATION_ID &&", ''],
  ['src/session-database.ts', "pragma(database, 'user_version') === VERSION &&", ''],
  ['src/session-database.ts', 'found.length === SCHEMA.length &&', ''],
  [
    'src/session-database.ts',
    ' &&\n    SCHEMA.every((statement) => found.some(({ sql }) => sql === statement))',
    '',
  ],
  // Who is asked, and how often.
  ['src/routing.ts', '    if (!serving.admits(route)) return 2\n', ''],
  ['src/upstream/serving.ts', ' && !probing', ''],
  ['src/attempt.ts', "        connection.evict('channel_key_mismatch')\n", ''],
  ['src/attempt.ts', "      if (error.failure === 'withdrawn') return false\n", ''],
  // Whoever may write a file says so.
  ['src/boot.ts', "{ ...found, fs_write_denied: 'not_held' }", 'found'],
  ['enclave/self-check.ts', ' && !probe.execArgv.some((flag) => flag.startsWith(WRITE_FLAG))', ''],
  ['client/pinned.ts', '      opened.socket.destroy()\n', ''],
]

/** As `EQUIVALENT` in `steps-equivalent.ts`. */
export const SESSION_EQUIVALENT: readonly (readonly [file: string, text: string, why: string])[] = [
  [
    'src/session-slot.ts',
    "if (!isSessionId(id)) throw new TypeError('expected a session id')",
    'a session id is always a digest; this only narrows its type',
  ],
  [
    'enclave/self-check.ts',
    "if (line === undefined) throw new TypeError('no such line')",
    'a line that is not there cannot be read either, and the fact is unknown for that',
  ],
  [
    'src/session-database.ts',
    "} catch {\n    throw new SessionFileError('session_file_unavailable')\n  }\n  if (stat === undefined)",
    'what cannot be looked at cannot be opened either, with the same code',
  ],
  [
    'src/session-database.ts',
    "if (!stat.isFile()) throw new SessionFileError('session_file_unavailable')",
    'SQLite refuses folders and devices with the same code; here they are not even opened',
  ],
  [
    'src/attempt.ts',
    "provider === undefined) throw new GatewayError('internal')",
    'a route names a provider that the configuration has; this only narrows its type',
  ],
]
