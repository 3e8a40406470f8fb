/** Which tests judge releases and the enclaves that run them. */
export const RELEASE_SUITES: readonly (readonly [prefix: string, suites: readonly string[]])[] = [
  ...['', '-document', '-image', '-release'].map(
    (part) => [`attestation/providers/tinfoil${part}.ts`, ['test/attestation/tinfoil']] as const,
  ),
  ['attestation/providers/release.ts', ['test/client/sigstore']],
  ['client/sigstore.ts', ['test/client/sigstore']],
  ['client/sigstore-trust.ts', ['test/client/sigstore']],
  ['src/providers/releases.ts', ['test/src/tinfoil.test.ts']],
  ['src/upstream/seal-ehbp.ts', ['test/src/seal-ehbp']],
  ['src/upstream/ehbp-frames.ts', ['test/src/seal-ehbp']],
]

/** Steps that are calls or conditions, beyond the refusals themselves. */
export const RELEASE_STEPS: readonly (readonly [
  file: string,
  step: string,
  replacement: string,
])[] = [
  // attestation/providers/tinfoil.ts, the steps an auditor reads first
  ['attestation/providers/tinfoil.ts', '  await checkReportData(cpu, document)\n', ''],
  ['attestation/providers/tinfoil.ts', '  checkObserved(document.tlsKey, evidence)\n', ''],
  ['attestation/providers/tinfoil.ts', '  checkNoLaunch(input.policy.launch)\n', ''],
  ['attestation/providers/tinfoil-document.ts', '  body: z.undefined().optional(),\n', ''],
  ['attestation/providers/tinfoil-release.ts', "seen['rtmr1'] !== release.rtmr1 || ", ''],
  ['attestation/providers/tinfoil-release.ts', " || seen['rtmr2'] !== release.rtmr2", ''],
  ['attestation/providers/tinfoil-release.ts', 'mrtd === seen.mrtd && ', ''],
  ['attestation/providers/tinfoil-release.ts', ' && rtmr0 === seen.rtmr0', ''],
  // attestation/providers/release.ts: conditions that share one refusal
  ['attestation/providers/release.ts', 'san !== `${before}${file}${after}` || ', ''],
  ['attestation/providers/release.ts', ' || !/^[^/@]+$/.test(file)', ''],
  // client/sigstore.ts: what the library leaves to its caller
  ['client/sigstore.ts', 'bundle.mediaType !== BUNDLE_V03_MEDIA_TYPE || ', ''],
  ['client/sigstore.ts', '    for (const entry of entity.tlogEntries) checkRoot(entry)\n', ''],
  ['client/sigstore.ts', 'proof?.treeSize !== size || ', ''],
  ['client/sigstore.ts', "|| proof?.rootHash.toString('base64') !== root", ''],
  ['client/sigstore.ts', 'withoutRepeats(toSignedEntity(bundle))', 'toSignedEntity(bundle)'],
  // src/upstream: a reply that must be encrypted, whole and in order
  ['src/upstream/seal-ehbp.ts', "throw new SendError('not_encrypted')", 'return'],
  ['src/upstream/seal-ehbp.ts', "throw new SendError('key_mismatch')", 'return'],
  ['src/upstream/seal-ehbp.ts', "typeof header !== 'string' || ", ''],
  ['src/upstream/seal-ehbp.ts', 'status === 422 && ', ''],
  ['src/upstream/seal-ehbp.ts', "&& PROBLEM.test(type ?? '')", ''],
  ['src/upstream/seal-ehbp.ts', '    this.#frames?.end()\n', ''],
  ['src/upstream/ehbp-frames.ts', '      decipher.final()\n', ''],
  ['src/upstream/ehbp-frames.ts', '    this.#sequence += 1n\n', ''],
  ['src/upstream/ehbp-frames.ts', 'size > MAX_FRAME || ', ''],
  ['src/upstream/ehbp-frames.ts', ' || (size > 0 && size < TAG_LENGTH)', ''],
  ['src/attempt.ts', '        this.#call.receipt.retrying()\n', ''],
]

/** Refusals that something further on makes again. */
