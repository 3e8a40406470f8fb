const PROVIDERS = 'attestation/providers'
const NEAR = 'test/src/providers/near.test.ts'
const VLLM = 'test/src/providers/dstack-vllm.test.ts'
const SEAL = ['test/src/seal-near']

/** As in `SUITES`. */
export const NEAR_SUITES: readonly (readonly [prefix: string, suites: readonly string[]])[] = [
  ...['near-direct', 'near-node', 'near-compose', 'near-report'].map(
    (name) => [`${PROVIDERS}/${name}.ts`, [NEAR, VLLM]] as const,
  ),
  ...['near-cloud', 'near-cloud-report'].map(
    (name) => [`${PROVIDERS}/${name}.ts`, [NEAR]] as const,
  ),
  [`${PROVIDERS}/dstack-vllm.ts`, [VLLM]],
  ['client/evidence-fetch.ts', ['test/client', NEAR]],
  ...['near-field', 'near-reply', 'near-request', 'seal-near', 'opening-sink', 'json-rules'].map(
    (name) => [`src/upstream/${name}.ts`, SEAL] as const,
  ),
]

/** Calls, conditions and rules, as in `STEPS`: [file, text, replacement]. */
export const NEAR_STEPS: readonly (readonly [file: string, step: string, replacement: string])[] = [
  [`${PROVIDERS}/near-direct.ts`, '  checkSubject(report, evidence, nonce)\n', ''],
  [`${PROVIDERS}/near-direct.ts`, '  checkObserved(node.tlsFingerprint, evidence)\n', ''],
  [
    `${PROVIDERS}/near-node.ts`,
    '  await checkReportData(quote, [signingKey, tlsFingerprint], nonce)\n',
    '',
  ],
  [
    `${PROVIDERS}/near-node.ts`,
    'const actionsHash = await checkComposeManager(report, nonce, quote, input)',
    'const actionsHash = report.compose_manager_attestation?.actions_hash ?? null',
  ],
  [`${PROVIDERS}/near-compose.ts`, '(await isHashOf(stated, actions)) &&', ''],
  [
    `${PROVIDERS}/near-compose.ts`,
    '    equalBytes(own.reportData, concatBytes(fromHex(stated), fromHex(nonce))) &&\n',
    '',
  ],
  [
    `${PROVIDERS}/near-compose.ts`,
    ' &&\n    SAME_TD.every((register) => own.measurements[register] === quote.measurements[register])',
    '',
  ],
  [`${PROVIDERS}/near-cloud.ts`, '  checkSubject(report.node, evidence, nonce)\n', ''],
  [`${PROVIDERS}/near-cloud.ts`, '  checkObserved(gateway.tlsFingerprint, evidence)\n', ''],
  [
    `${PROVIDERS}/near-cloud.ts`,
    '  await checkReportData(quote, [signingKey, tlsFingerprint], nonce)\n',
    '',
  ],
  [
    `${PROVIDERS}/near-cloud.ts`,
    'Math.min(expiryOf(gateway.quote, null), expiryOf(node.quote, node.gpus))',
    'expiryOf(node.quote, node.gpus)',
  ],
  [
    `${PROVIDERS}/near-cloud.ts`,
    'lower(claims.tcb_up_to_date, gateway.quote)',
    'claims.tcb_up_to_date',
  ],
  [`${PROVIDERS}/dstack-vllm.ts`, '    await checkReportData(quote, [address, tls], nonce)\n', ''],
  [
    `${PROVIDERS}/dstack-vllm.ts`,
    'const gpus = await gpusOf(report, nonce, quote, input)',
    'const gpus = null',
  ],
  [`${PROVIDERS}/dstack-vllm.ts`, '  await checkKeys(keys, quote, nonce)\n', ''],
  [
    `${PROVIDERS}/dstack-vllm.ts`,
    '  if (keys.tls !== null) checkObserved(keys.tls, evidence)\n',
    '',
  ],
  [`${PROVIDERS}/dstack-vllm.ts`, "channel === 'require' || ", ''],
  [`${PROVIDERS}/dstack-vllm.ts`, ' && ethereumAddress(fromHex(point)) === toHex(address)', ''],
  [`${PROVIDERS}/dstack-vllm.ts`, '  checkModel(report, evidence.model)\n', ''],
  ['client/evidence-fetch.ts', 'if (socket.authorized) return asked', 'return asked'],
  ['src/upstream/json-rules.ts', 'if (!allows(value)) throw refused()', ''],
  ['src/upstream/json-rules.ts', "if (typeof value !== 'string') throw refused()", ''],
  ['src/upstream/near-field.ts', 'if (!looksSealed(sealed))', 'if (sealed === "")'],
  ['src/upstream/near-field.ts', "      this.seal('')\n", ''],
  [
    'src/upstream/near-request.ts',
    '  if (value === null || (Array.isArray(value) && value.length === 0)) return undefined\n',
    '  return undefined\n',
  ],
  ['src/upstream/near-request.ts', 'isJsonList(value)', 'false'],
  ['src/upstream/near-reply.ts', " || !Array.isArray(value['choices'])", ''],
  ['src/upstream/near-reply.ts', " && !('choices' in value)", ''],
  ['src/upstream/near-reply.ts', 'clear((value) => !hasText(value))', 'clear(() => true)'],
  [
    'src/upstream/opening-sink.ts',
    "    if (this.#length > this.#limit) throw new SendError('too_large')\n    if (part",
    '    if (part',
  ],
  [
    'src/upstream/opening-sink.ts',
    "    if (this.#length > this.#limit) throw new SendError('too_large')\n    this.#chunks",
    '    this.#chunks',
  ],
  [
    'src/upstream/opening-sink.ts',
    "    if (this.#afterDone > MAX_AFTER_DONE) throw new SendError('too_large')\n",
    '',
  ],
  [
    'src/upstream/opening-sink.ts',
    "    throw new SendError('not_encrypted')\n",
    '    return asItIs\n',
  ],
]
