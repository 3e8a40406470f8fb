/** Which tests stand for what a request may ask of its routes, and what is kept from providers and watchers. Part of `steps.ts`. */
export const REQUEST_SUITES: readonly (readonly [path: string, tests: readonly string[]])[] = [
  ['src/first-answer.ts', ['test/src/routing.test.ts', 'test/src/chat.test.ts']],
  ['src/plan.ts', ['test/src/chat.test.ts', 'test/src/requests.test.ts']],
  ['src/preferences.ts', ['test/src/requests.test.ts']],
  ['src/model-names.ts', ['test/src/requests.test.ts']],
  ['src/tenant.ts', ['test/src/requests.test.ts', 'test/src/streams.test.ts']],
  ['src/padding.ts', ['test/src/streams.test.ts']],
  ['src/keep-alive.ts', ['test/src/streams.test.ts']],
  [
    'src/prompt.ts',
    [
      'test/src/refusals.test.ts',
      'test/src/chat.test.ts',
      'test/src/requests.test.ts',
      'test/src/hostile-requests.test.ts',
      'test/src/endpoints.test.ts',
    ],
  ],
]

/** Conditions and calls beside the refusals: [file, text, replacement]. */
export const REQUEST_STEPS: readonly (readonly [
  file: string,
  step: string,
  replacement: string,
])[] = [
  // A preference only leaves routes out.
  ['src/plan.ts', '(only === null || only.has(provider)) && ', ''],
  ['src/plan.ts', ' && !ignore.has(provider)', ''],
  ['src/prompt.ts', 'edits.push(removal(shape.members, member))', 'void 0'],
  ['src/prompt.ts', '  checkProvider(bytes, members)\n', ''],
  ['src/plan.ts', '    .filter((route) => affordable(route, maxPrice, prices))\n', ''],
  ['src/plan.ts', 'price.input <= most.prompt && ', ''],
  ['src/plan.ts', ' && price.output <= most.completion', ''],
  ['src/plan.ts', 'price !== null && price.input', 'price === null || price.input'],
  ['src/preferences.ts', ' || value.length > MAX_NAMED', ''],
  ['src/preferences.ts', ' || name.length > MAX_NAME', ''],
  ['src/preferences.ts', "typeof name !== 'string' || ", ''],
  ['src/preferences.ts', "typeof usd !== 'number' || ", ''],
  ['src/preferences.ts', ' || !(usd >= 0)', ''],
  ['src/preferences.ts', "typeof value !== 'object' || value === null", 'value === null'],
  // A body is read once, strictly, and nothing that is said to the gateway goes on.
  ['src/prompt.ts', '{ fatal: true, ignoreBOM: true }', '{ ignoreBOM: true }'],
  ['src/prompt.ts', '{ fatal: true, ignoreBOM: true }', '{ fatal: true }'],
  ['src/prompt.ts', "typeof model === 'string' && ", ''],
  ['src/prompt.ts', 'model.length > 0 && ', ''],
  ['src/prompt.ts', 'model.length <= MAX_MODEL && ', ''],
  ['src/prompt.ts', ' && model.isWellFormed()', ''],
  ['src/prompt.ts', 'return unaddressed(expose(this.#value))', 'return expose(this.#value)'],
  ['src/prompt.ts', 'unaddressed(parse(applyEdits', '(parse(applyEdits'],
  ['src/prompt.ts', 'wanted.length === 0 ? ', 'true ? '],
  ['src/prompt.ts', ' || value.length === 0', ''],
  ['src/prompt.ts', ' || value.length > MAX_PINNED', ''],
  ['src/prompt.ts', ' || !isSessionId(id)', ''],
  ['src/prompt.ts', 'return { verified: true, sessions:', 'return { verified: false, sessions:'],
  ['src/prompt.ts', 'edits.toSorted((left, right) => left.start - right.start)', 'edits'],
  // A name never widens what its model allows.
  [
    'src/model-names.ts',
    'route.provider === provider && route.model === name',
    'route.model === name',
  ],
  ['src/model-names.ts', 'more.length > 0 ? null : first', 'first'],
  // Names that clients give are a team's own.
  ['src/tenant.ts', '[member, team, value]', '[member, value]'],
  // A frame has one size, whatever is in it.
  ['src/padding.ts', 'least <= this.#common ? this.#common : blocks', 'blocks'],
  // A comment's empty line within a frame would end it early.
  ['src/keep-alive.ts', 'if (!this.#begun || endsFrame(this.#tail)) send', 'send'],
  ['src/routing.ts', 'price === null ? Infinity : ', 'price === null ? 0 : '],
  // Who fails often enough is left alone.
  ['src/first-answer.ts', 'lost || countsAsFailure(failure.code)', 'lost'],
]
