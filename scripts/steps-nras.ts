/** Of `attestation/nvidia/nras` and its collector: steps, and conditions that share one refusal. Part of `steps.ts`. */
export const NRAS_STEPS: readonly (readonly [file: string, step: string, replacement: string])[] = [
  ['attestation/nvidia/nras/verify.ts', '  checkResult(overall, judged, version)\n', ''],
  [
    'attestation/nvidia/nras/verify.ts',
    '  await checkSubmods(overall, response.devices, [...expected.keys()])\n',
    '',
  ],
  ['attestation/nvidia/nras/verify.ts', '.filter((device) => device.kind === kind)', ''],
  [
    'attestation/nvidia/nras/verify.ts',
    "tokens.every(({ pin }) => pin === 'pinned')",
    "tokens.some(({ pin }) => pin === 'pinned')",
  ],
  // attestation/nvidia/nras/token.ts
  [
    'attestation/nvidia/nras/token.ts',
    '  await verifySignature(text, key, { issuer: environment.issuer, now, policy })\n',
    '',
  ],
  ['attestation/nvidia/nras/token.ts', ' || Object.keys(header).length !== 2', ''],
  ['attestation/nvidia/nras/token.ts', "typeof kid !== 'string' || ", ''],
  ['attestation/nvidia/nras/token.ts', '      issuer,\n', ''],
  ['attestation/nvidia/nras/token.ts', '      requiredClaims: REQUIRED,\n', ''],
  ['attestation/nvidia/nras/token.ts', '      currentDate: new Date(now * 1000),\n', ''],
  [
    'attestation/nvidia/nras/token.ts',
    "      maxTokenAge: age === 'recorded' ? MAX_LIFETIME_SECONDS : age,\n",
    '',
  ],
  ['attestation/nvidia/nras/token.ts', 'jti: z.string().min(1) ', ''],
  // attestation/nvidia/nras/overall.ts
  ['attestation/nvidia/nras/overall.ts', '!areNamed(listed) || ', ''],
  ['attestation/nvidia/nras/overall.ts', ' || !areNamed(devices)', ''],
  ['attestation/nvidia/nras/overall.ts', 'found.size === names.length && ', ''],
  ['attestation/nvidia/nras/overall.ts', "kind === 'DIGEST' && ", ''],
  ['attestation/nvidia/nras/overall.ts', "algorithm === 'SHA-256' && ", ''],
  ['attestation/nvidia/nras/overall.ts', 'rest.length === 0 && ', ''],
  ['attestation/nvidia/nras/overall.ts', ' && more.length === 0', ''],
  ['attestation/nvidia/nras/overall.ts', ' || !DIGEST.test(digest)', ''],
  // attestation/nvidia/nras/device.ts
  [
    'attestation/nvidia/nras/device.ts',
    "  demand(claims[ERROR_DETAILS] === undefined, 'nras_device_failed')\n",
    '',
  ],
  [
    'attestation/nvidia/nras/device.ts',
    "  demand(claims['measres'] === 'success', 'nras_measurements_failed', ['measres'])\n",
    '',
  ],
  [
    'attestation/nvidia/nras/device.ts',
    "  demand(finding.checks.length === 0, 'nras_check_failed', finding.checks)\n",
    '',
  ],
  [
    'attestation/nvidia/nras/device.ts',
    'checkChains(claims, checks, policy, demand)\n',
    "'valid'\n",
  ],
  [
    'attestation/nvidia/nras/device.ts',
    "  demand(claims['secboot'] === true, 'nras_debug_enabled', ['secboot'])\n",
    '',
  ],
  [
    'attestation/nvidia/nras/device.ts',
    "  demand(claims['dbgstat'] === 'disabled', 'nras_debug_enabled', ['dbgstat'])\n",
    '',
  ],
  [
    'attestation/nvidia/nras/device.ts',
    "  demand(policy.warnings === 'allow' || warning === null, 'nras_warning')\n",
    '',
  ],
  ['attestation/nvidia/nras/device.ts', '  checkIdentity(claims, device)\n', ''],
  ['attestation/nvidia/nras/device.ts', "claims['ueid'] !== device.ueid || ", ''],
  ['attestation/nvidia/nras/device.ts', ' || !isModel', ''],
  ['attestation/nvidia/nras/device.ts', 'rimChains.includes(name) && ', ''],
  [
    'attestation/nvidia/nras/device.ts',
    " && status === 'expired' && ocsp === 'good'",
    " && status === 'expired'",
  ],
  [
    'attestation/nvidia/nras/device.ts',
    "      demand(expiry === 'allow-if-ocsp-good', 'nras_rim_signer_expired', [name])\n",
    '',
  ],
  ['attestation/nvidia/nras/device.ts', "demand(status === 'valid' && ocsp", 'demand(ocsp'],
  ['attestation/nvidia/nras/device.ts', "'valid' && ocsp === 'good', 'nras", "'valid', 'nras"],
  // attestation/nvidia/nras/pin.ts
  ['attestation/nvidia/nras/pin.ts', '    equalBytes(certified.key, coordinates(x, y)) &&\n', ''],
  ['attestation/nvidia/nras/pin.ts', '    certified.notBefore <= at &&\n', ''],
  ['attestation/nvidia/nras/pin.ts', '    at <= certified.notAfter &&\n', ''],
  ['attestation/nvidia/nras/pin.ts', ' &&\n    authorities.includes(certified.authority)', ''],
  ['attestation/nvidia/nras/pin.ts', ' || !(await leaf.isSignedBy(authority.spki))', ''],
  ['attestation/nvidia/nras/pin.ts', '!isAlgorithm(SHA256_WITH_RSA) || ', ''],
  // src/nvidia: what is asked, and of what key set
  ['src/nvidia/nras.ts', '  checkConnection(service, policy)\n', ''],
  ['src/nvidia/nras.ts', ' && !(error instanceof NrasFailure)', ''],
  ['src/nvidia/nras-keys.ts', '    checkReadable(jwks)\n', ''],
  ['src/nvidia/nras-keys.ts', '    this.#triedAt = fetchedAt\n', ''],
  ['src/nvidia/nras-keys.ts', '    if (current !== jwks) return current\n', ''],
  ['src/nvidia/nras-keys.ts', 'this.#loading === null && ', ''],
  ['src/nvidia/nras-keys.ts', 'return wait ? current : this.#load()', 'return this.#load()'],
]
