/** As in `SUITES`. */
export const OPERATION_SUITES: readonly (readonly [prefix: string, suites: readonly string[]])[] = [
  ['src/telemetry', ['test/src/telemetry.test.ts']],
  ['src/prices', ['test/src/prices.test.ts']],
  ['src/metering.ts', ['test/src/prices.test.ts']],
  ['src/call.ts', ['test/src/prices.test.ts', 'test/src/telemetry.test.ts']],
  ['src/config/prices.ts', ['test/src/prices.test.ts']],
  ['src/config/describe.ts', ['test/src/admin.test.ts']],
  ['src/admin.ts', ['test/src/admin.test.ts']],
]

/** Calls, conditions and rules, as in `STEPS`: [file, text, replacement]. */
export const OPERATION_STEPS: readonly (readonly [
  file: string,
  step: string,
  replacement: string,
])[] = [
  ['src/telemetry/attributes.ts', 'NAMES.has(name) && ', ''],
  ['src/telemetry/attributes.ts', ' && WORD.test(value)', ''],
  [
    'src/prices/cost.ts',
    '    if (each === null) return null\n',
    '    if (each === null) continue\n',
  ],
  ['src/prices/prices.ts', 'entry.origin === origin && ', ''],
  ['src/metering.ts', "cost === null ? 'unknown' : 'known'", "'known'"],
  ['src/call.ts', ' || !this.receipt.sent', ''],
  ['src/config/prices.ts', '    if (!used) {', '    if (false) {'],
  ['src/config/describe.ts', 'admin.port === null || loopback', 'true'],
  ['src/admin.ts', '    await admin?.close()\n', ''],
  ['src/admin.ts', '  app.removeAllContentTypeParsers()\n', ''],
  ['src/admin.ts', ' || host === listening.toLowerCase()', ''],
  ['src/admin.ts', 'LOOPBACK.has(host) || ', ''],
  ['src/admin.ts', 'ANY_ADDRESS.has(listening) && ', ''],
  ['src/admin.ts', ' && isIP(host) !== 0', ''],
  ['src/admin.ts', '(?::\\d{1,5})?$/i', '/i'],
  ['src/admin.ts', 'error instanceof GatewayError ? error : new', 'new'],
]
