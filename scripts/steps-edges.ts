const ENDPOINTS = ['test/src/endpoints.test.ts']
const HOSTILE = ['test/src/hostile-upstream.test.ts', 'test/src/chat.test.ts']

const READ_BEFORE =
  'its operation says so of every body before a dialect reads it; this only narrows the type'

/** As in `SUITES`: where answers arrive, what is refused before a provider is asked, and what nodes report. */
export const EDGE_SUITES: readonly (readonly [prefix: string, suites: readonly string[]])[] = [
  ['client/retry-after.ts', ['test/client/retry-after.test.ts']],
  ['src/upstream/classify.ts', ['test/client/retry-after.test.ts', 'test/src/chat.test.ts']],
  ['src/upstream/send.ts', ['test/src/send.test.ts', ...HOSTILE, 'test/src/lifecycle.test.ts']],
  ['src/answer-sink.ts', [...HOSTILE, ...ENDPOINTS]],
  ['src/betas.ts', ENDPOINTS],
  ['src/operations.ts', ENDPOINTS],
  [
    'src/providers/node-report.ts',
    ['test/src/providers/dstack-vllm.test.ts', 'test/src/providers/near', 'test/src/near.test.ts'],
  ],
]

/** As in `STEPS`. */
export const EDGE_STEPS: readonly (readonly [file: string, step: string, replacement: string])[] = [
  // What is asked of Cohere is what was meant, and what it answers is about it.
  ['src/dialects/cohere/openai.ts', '!isList(input) || ', ''],
  ['src/dialects/cohere/openai.ts', 'input.length === 0 || ', ''],
  ['src/dialects/cohere/openai.ts', ' || input.length > MAX_ITEMS', ''],
  ['src/dialects/cohere/openai.ts', "typeof one === 'number' || ", ''],
  [
    'src/dialects/cohere/openai.ts',
    "typeof one === 'number' || isList(one)",
    "typeof one === 'number'",
  ],
  ['src/dialects/cohere/openai.ts', '  if (texts.length < list.length) throw invalid()\n', ''],
  ['src/dialects/cohere/openai.ts', 'query === null || ', ''],
  ['src/dialects/cohere/openai.ts', '!isList(given) || ', ''],
  ['src/dialects/cohere/openai.ts', 'given.length === 0 || ', ''],
  ['src/dialects/cohere/openai.ts', ' || given.length > MAX_ITEMS', ''],
  ['src/dialects/cohere/openai.ts', ', 1, MAX_DIMENSIONS)', ', 1, Infinity)'],
  ['src/dialects/cohere/openai.ts', "'top_n'), 1, MAX_ITEMS", "'top_n'), 0, Infinity"],
  [
    'src/dialects/cohere/openai.ts',
    'decodeRerank(bytes, documents.length)',
    'decodeRerank(bytes, Infinity)',
  ],
  ['src/dialects/cohere/openai.ts', 'inputTokens === null ? null : {', 'false ? null : {'],
  // An answer that is not one is a refusal, and what is no answer is not held.
  ['src/whole-relay.ts', 'this.#status === 200, this', 'true, this'],
  ['src/whole-relay.ts', 'if (this.#status !== 200) {', 'if (false) {'],
  [
    'src/whole-relay.ts',
    "    seal({ end: 'client_abort', code: null, chatId: null, usage: null }, response.emittedHash())\n",
    '',
  ],
  ['src/whole-relay.ts', '    this.#options.onSent()\n', ''],
  ['src/answer-sink.ts', 'ok ? maxBytes : MAX_ERROR_BYTES', 'maxBytes'],
  ['src/answer-sink.ts', 'gathered.length + chunk.length > limit', 'chunk.length > limit'],
  // Nothing is kept, under whatever name.
  ...[
    'assistants',
    'batches',
    'containers',
    'conversations',
    'evals',
    'files',
    'fine_tuning',
    'messages/batches',
    'threads',
    'uploads',
    'vector_stores',
  ].map((path) => ['src/routes/stateful.ts', `  '/v1/${path}',\n`, ''] as const),
  ['src/routes/stateful.ts', "['/v1/chat/completions', '/v1/responses']", "['/v1/responses']"],
  [
    'src/routes/stateful.ts',
    "['/v1/chat/completions', '/v1/responses']",
    "['/v1/chat/completions']",
  ],
  ['src/routes/stateful.ts', "'/v1/responses/input_tokens', ", ''],
  ['src/routes/stateful.ts', ", '/v1/responses/compact'", ''],
  ['src/routes/stateful.ts', "const [path = ''] = url.split('?')", 'const path = url'],
  ['src/operations.ts', 'store === true', 'false'],
  ['src/operations.ts', '  if (container !== undefined && container !== null) return true\n', ''],
  ['src/operations.ts', 'Array.isArray(tools) && tools.some(runsCode)', 'false'],
  ['src/betas.ts', 'STATELESS.has(feature)', 'true'],
  ['src/betas.ts', '.slice(0, MOST)', ''],
  // What comes from a provider is HTTP in clear, and says once how it ends.
  ['src/upstream/send.ts', "          'accept-encoding': 'identity',\n", ''],
  ['src/upstream/send.ts', 'if (this.#signal.aborted) this.#abort()\n    else this', 'this'],
  [
    'src/upstream/send.ts',
    "    signal.addEventListener('abort', this.#abort, { once: true })\n",
    '',
  ],
  ['src/upstream/send.ts', 'encoding.toLowerCase()', 'encoding'],
  ['src/upstream/send.ts', '    this.#began = true\n', ''],
  ['src/upstream/send.ts', ')) controller.pause()', ')) void 0'],
  ['src/upstream/send.ts', "if (error.kind === 'rejected') return 'key_mismatch'", 'void 0'],
  ['src/upstream/send.ts', "error.code === 'channel_timeout' ? 'timeout' : ", ''],
  ['src/upstream/send.ts', "if (code.endsWith('_TIMEOUT')) return 'timeout'", 'void 0'],
  ['src/upstream/send.ts', "    if (this.#began) return 'broken'\n", ''],
  ['src/upstream/send.ts', "  ['UND_ERR_HEADERS_OVERFLOW', 'too_large'],\n", ''],
  ['src/upstream/send.ts', "  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'malformed'],\n", ''],
  ['src/upstream/send.ts', "error.name === 'HTTPParserError' ? 'malformed' : ", ''],
  [
    'src/upstream/send.ts',
    "error instanceof SendError ? error : new SendError('broken')",
    "new SendError('broken')",
  ],
  // Nobody can ask to be left alone for ever, nor by a date that is none.
  ['client/retry-after.ts', 'Math.min(Math.ceil(wait), most)', 'Math.ceil(wait)'],
  ['client/retry-after.ts', 'Math.ceil(wait)', 'wait'],
  ['client/retry-after.ts', ' || new Date(time).toUTCString() !== text', ''],
  ['client/retry-after.ts', 'Math.max(0, time / 1000 - now)', 'time / 1000 - now'],
  ['client/retry-after.ts', "typeof text === 'string' && DECIMAL.test(text) ?", 'text ?'],
  ['client/retry-after.ts', 'text !== undefined && DECIMAL.test(text) ?', 'text ?'],
  ['src/upstream/classify.ts', 'now, DAY)', 'now)'],
  ['src/upstream/classify.ts', 'seconds === null ? rest : {', 'false ? rest : {'],
  // Evidence is about one exchange, and GPUs answer the same challenge.
  ['src/providers/node-report.ts', ', ...devices]', ']'],
  ['src/providers/node-report.ts', "report.nvidia_payload ?? ''", "''"],
  ['src/providers/node-report.ts', 'nonce: fromHex(nonce), policy', 'nonce: fromHex(""), policy'],
  ['src/providers/node-report.ts', 'collectedAt: clock.now()', 'collectedAt: 0'],
  ['src/providers/node-report.ts', 'spkiSha256 === null ? null : toHex(spkiSha256)', 'null'],
  ['src/providers/node-report.ts', '    model,\n', '    model: null,\n'],
  ['src/providers/node-report.ts', '    origin,\n', "    origin: 'https://other.example',\n"],
]

/** As `EQUIVALENT` in `steps-equivalent.ts`. */
export const EDGE_EQUIVALENT: readonly (readonly [file: string, text: string, why: string])[] = [
  ['src/dialects/cohere/openai.ts', '!isList(input) || ', READ_BEFORE],
  ['src/dialects/cohere/openai.ts', 'query === null || ', READ_BEFORE],
  ['src/dialects/cohere/openai.ts', '!isList(given) || ', READ_BEFORE],
  [
    'src/preferences.ts',
    "typeof value !== 'object' || value === null) throw",
    'what is no object has no member with a known name; this only narrows the type',
  ],
  [
    'src/prompt.ts',
    'return { verified: true, sessions:',
    'pinned sessions alone refuse a plain model, and an attested one is verified in any case',
  ],
]
