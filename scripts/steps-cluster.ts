const TRUST = ['test/src/cluster-trust.test.ts', 'test/src/cluster-crew.test.ts']

/** Which tests stand for the parts of `src/cluster/`. Part of `steps.ts`. */
export const CLUSTER_SUITES: readonly (readonly [path: string, tests: readonly string[]])[] = [
  ['src/cluster/link.ts', TRUST],
  ['src/cluster/crew.ts', TRUST],
  ['src/cluster/messages.ts', TRUST],
  ['src/cluster/exchange.ts', TRUST],
  ['src/cluster/processes.ts', TRUST],
  ['src/cluster', ['test/src/cluster.test.ts', ...TRUST]],
  ['src/config/parse.ts', ['test/src/config.test.ts']],
]

/** Conditions and calls, as in `STEPS`: [file, text, replacement]. */
export const CLUSTER_STEPS: readonly (readonly [
  file: string,
  step: string,
  replacement: string,
])[] = [
  // A worker is believed nothing.
  ['src/cluster/link.ts', 'message === null || !this.#isInTurn(message)', 'message === null'],
  ['src/cluster/link.ts', 'this.#asked < MAX_ASKED ?', 'true ?'],
  [
    'src/cluster/answers.ts',
    '        if (!this.#options.attested.has(question.provider)) return null\n',
    '',
  ],
  // The keys go to what was attested.
  [
    'src/cluster/crew.ts',
    "    if (configDigest !== this.#options.configDigest) return link.refuse('config_changed')\n",
    '',
  ],
  ['src/cluster/crew.ts', "    if (worse) return link.refuse('facts_worse')\n", ''],
  ['src/cluster/crew.ts', "link.refuse('silent')", 'undefined'],
  ['src/cluster/crew.ts', ' && this.#breaker.waitSeconds === null', ''],
  // One round for all, each judged where it is used.
  ['src/cluster/answers.ts', 'rounds.sequence(provider) <= after && ', ''],
  ['src/cluster/rounds.ts', 'at: outcome.at }', '}'],
  // Bounds of what is asked.
  ['src/cluster/exchange.ts', 'if (alike.length >= limits[kind]) return Promise.resolve(null)', ''],
  ['src/config/parse.ts', '  checkWorkers(file, problems)\n', ''],
]
