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
  ['src/keep-alive.ts', 'if (endsFrame(this.#tail)) send', 'send'],
  // Who fails often enough is left alone.
  ['src/first-answer.ts', 'lost || countsAsFailure(failure.code)', 'lost'],
]
