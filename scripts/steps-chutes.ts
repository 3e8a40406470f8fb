/** The tests that must notice a removal below a path; the first path that fits counts. */
export const CHUTES_SUITES: readonly (readonly [path: string, tests: readonly string[]])[] = [
  ['attestation/providers/chutes.ts', ['test/attestation/chutes.test.ts']],
  ['attestation/providers/chutes-evidence.ts', ['test/attestation/chutes.test.ts']],
  ['attestation/providers/chutes-instances.ts', ['test/attestation/chutes.test.ts']],
  ['attestation/providers/openai-ra-tls.ts', ['test/attestation/openai-ra-tls.test.ts']],
  ['attestation/providers/secretai.ts', ['test/attestation/secretai.test.ts']],
  ['src/providers/secretai.ts', ['test/src/secretai.test.ts']],
  [
    'attestation/ra-tls',
    ['test/attestation/ra-tls.test.ts', 'test/attestation/openai-ra-tls.test.ts'],
  ],
  ['src/providers/chutes-tokens.ts', ['test/src/seal-chutes.test.ts', 'test/src/chutes.test.ts']],
  ['src/providers/chutes.ts', ['test/src/chutes.test.ts']],
  ['src/providers/openai-ra-tls.ts', ['test/src/ra-tls.test.ts']],
  ['src/upstream/answer-end.ts', ['test/src/seal-chutes.test.ts']],
  ['src/upstream/chutes-cipher.ts', ['test/src/seal-chutes.test.ts']],
  ['src/upstream/chutes-stream.ts', ['test/src/seal-chutes.test.ts']],
  ['src/upstream/event-lines.ts', ['test/src/seal-chutes.test.ts']],
  ['src/upstream/seal-chutes.ts', ['test/src/seal-chutes.test.ts', 'test/src/chutes.test.ts']],
]

/** Edits by name: conditions that share one refusal, and the steps themselves. */
export const CHUTES_STEPS: readonly (readonly [file: string, find: string, replace: string])[] = [
  // attestation/providers/chutes.ts
  ['attestation/providers/chutes.ts', '  checkRuntimeMeasured(shown)\n', ''],
  ['attestation/providers/chutes.ts', '  await checkReportData(quote, shown, nonce)\n', ''],
  ['attestation/providers/chutes.ts', '  await verifyRuntimeLaunch(null, quote, input)\n', ''],
  ['attestation/providers/chutes.ts', "half: 'first'", "half: 'second'"],
  ['attestation/providers/chutes.ts', " || policy.instances === 'all'", ''],
  ['attestation/providers/chutes.ts', 'if (refused && failure !== undefined) throw failure', ''],
  // attestation/providers/chutes-evidence.ts
  [
    'attestation/providers/chutes-evidence.ts',
    '  return withoutTwins(shown)\n',
    '  return shown\n',
  ],
  ['attestation/providers/chutes-evidence.ts', ' || counts.get(instanceId)?.length !== 1', ''],
  // attestation/providers/chutes-instances.ts
  ['attestation/providers/chutes-instances.ts', 'text?.length !== KEY_LENGTH || ', '!text || '],
  [
    'attestation/providers/chutes-instances.ts',
    'bytes.length === CHUTES_KEY_BYTES ? { text, bytes } : null',
    '{ text, bytes }',
  ],
  // attestation/providers/openai-ra-tls.ts
  ['attestation/providers/openai-ra-tls.ts', '  checkValidity(carried, now)\n', ''],
  ['attestation/providers/openai-ra-tls.ts', 'now < certificate.notBefore || ', ''],
  ['attestation/providers/openai-ra-tls.ts', ' || now >= certificate.notAfter', ''],
  [
    'attestation/providers/openai-ra-tls.ts',
    '  await carried.checkBinding(quote.reportData)\n',
    '',
  ],
  ['attestation/providers/openai-ra-tls.ts', '  checkObserved(digest, evidence)\n', ''],
  [
    'attestation/providers/openai-ra-tls.ts',
    'Math.min(quote.expiresAt, carried.certificate.notAfter)',
    'quote.expiresAt',
  ],
  // attestation/providers/secretai.ts
  ['attestation/providers/secretai.ts', '  checkObserved(digest, evidence)\n', ''],
  ['attestation/providers/secretai.ts', '  checkNothingElse(launch)\n', ''],
  ['attestation/providers/secretai.ts', "half: 'second'", "half: 'first'"],
  // attestation/ra-tls/
  ['attestation/ra-tls/certificate.ts', '  await checkClaims(claims, spki)\n', ''],
  ['attestation/ra-tls/interoperable.ts', 'document.tag === TAG', 'true'],
  ['attestation/ra-tls/interoperable.ts', ' || others.length > 0', ''],
  // src/upstream/: what a relay could do to a reply
  [
    'src/upstream/chutes-stream.ts',
    "    if (this.#key !== null) throw new SendError('undecryptable')\n",
    '',
  ],
  [
    'src/upstream/chutes-stream.ts',
    "    if (this.#boxes.has(id)) throw new SendError('undecryptable')\n",
    '',
  ],
  [
    'src/upstream/chutes-stream.ts',
    "    if (this.#boxes.size === this.#maxBoxes) throw new SendError('too_large')\n",
    '',
  ],
  ['src/upstream/chutes-stream.ts', "!('usage' in rest) || 'choices' in rest", 'false'],
  ['src/upstream/chutes-stream.ts', " || 'choices' in rest", ''],
  ['src/upstream/chutes-stream.ts', 'this.#answer.finishes() ? DONE_EVENT : EMPTY', 'DONE_EVENT'],
  ['src/upstream/answer-end.ts', ' || !this.#began', ''],
  ['src/upstream/answer-end.ts', ' || this.#running.size > 0', ''],
  [
    'src/upstream/event-lines.ts',
    "    if (this.#length > this.#maxBytes) throw new SendError('too_large')\n",
    '',
  ],
  [
    'src/upstream/seal-chutes.ts',
    "    if (mediaType(headers) !== expected) throw new SendError('not_encrypted')\n",
    '',
  ],
  ['src/upstream/seal-chutes.ts', '    if (status === TOKEN_REFUSED) throw new SealUsedUp()\n', ''],
  [
    'src/upstream/seal-chutes.ts',
    'gunzipSync(bytes, { maxOutputLength: MAX_REPLY })',
    'gunzipSync(bytes)',
  ],
  ['src/upstream/seal-chutes.ts', ', { level: constants.Z_NO_COMPRESSION }', ''],
  ['src/upstream/chutes-cipher.ts', '  decipher.setAuthTag(box.subarray(tagAt))\n', ''],
  // src/providers/chutes-tokens.ts
  [
    'src/providers/chutes-tokens.ts',
    "      if (held !== undefined && !same && asked > 0) throw new SendError('key_mismatch')\n",
    '',
  ],
  ['src/providers/chutes-tokens.ts', 'if (token.expiresAt > now) return', 'return'],
  ['src/providers/chutes-tokens.ts', '    this.#asking ??=', '    this.#asking ='],
]
