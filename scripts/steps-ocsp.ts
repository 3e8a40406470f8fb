/** Conditions that share one refusal, as in `STEPS`: [file, text, replacement]. */
export const OCSP_STEPS: readonly (readonly [file: string, step: string, replacement: string])[] = [
  [
    'attestation/nvidia/ocsp/verify.ts',
    'thisUpdate <= latest && producedAt <= latest && now <= nextUpdate',
    'producedAt <= latest && now <= nextUpdate',
  ],
  [
    'attestation/nvidia/ocsp/verify.ts',
    'thisUpdate <= latest && producedAt <= latest && now',
    'thisUpdate <= latest && now',
  ],
  ['attestation/nvidia/ocsp/verify.ts', ' && now <= nextUpdate', ''],
  ['attestation/nvidia/ocsp/verify.ts', 'nonce === null || ', ''],
  [
    'attestation/nvidia/ocsp/verify.ts',
    "  if (nonce !== 'stapled') checkNonce(response, nonce)\n",
    '',
  ],
  [
    'attestation/nvidia/ocsp/verify.ts',
    'checkTimes(response, now)\n',
    'response.nextUpdate ?? 0\n',
  ],
  ['attestation/nvidia/ocsp/responder.ts', 'equalBytes(responder.issuer, issuer.subject) && ', ''],
  ['attestation/nvidia/ocsp/responder.ts', ' && (await responder.isSignedBy(issuer.p384))', ''],
  ['attestation/nvidia/ocsp/responder.ts', '!maySign || ', ''],
  ['attestation/nvidia/ocsp/responder.ts', ' || !usages(responder).includes(OID.ocspSigning)', ''],
  ['attestation/nvidia/ocsp/responder.ts', '[response.producedAt, now]', '[now]'],
  ['attestation/nvidia/ocsp/responder.ts', '[response.producedAt, now]', '[response.producedAt]'],
  ['attestation/nvidia/ocsp/responder.ts', 'notBefore <= at && ', ''],
  ['attestation/nvidia/ocsp/responder.ts', ' && at <= notAfter', ''],
  ['attestation/nvidia/ocsp/response.ts', 'trailing.length > 0 || ', ''],
  ['attestation/nvidia/ocsp/response.ts', ' || more.length > 0', ''],
  ['attestation/nvidia/ocsp/response.ts', ' || after.length > 0', ''],
  ['attestation/nvidia/ocsp/response.ts', ' || parts.length > 3', ''],
  ['attestation/nvidia/ocsp/response.ts', 'answer === undefined || ', ''],
  ['attestation/nvidia/ocsp/response.ts', 'single.unknownCritical || ', ''],
  ['attestation/nvidia/ocsp/response.ts', ' || extensions.some(isUnknownCritical)', ''],
  [
    'attestation/nvidia/ocsp/revocation.ts',
    "verdict.state === 'hold' && kind === 'device'",
    'false',
  ],
  // src/nvidia: what is verified before it is held
  ['src/nvidia/rim.ts', '      await verify(value, id)\n', ''],
  [
    'src/nvidia/ocsp.ts',
    '{ ...pair, now, nonce })\n  return',
    "{ ...pair, now, nonce: 'stapled' })\n  return",
  ],
  ['src/nvidia/ocsp.ts', 'Math.min(nextUpdate, now + MAX_AGE_SECONDS)', 'nextUpdate'],
  ['src/nvidia/ocsp.ts', 'Math.min(nextUpdate, now + MAX_AGE_SECONDS)', 'now + MAX_AGE_SECONDS'],
]
