const PROVIDERS = 'attestation/providers'
const CORE = 'test/attestation/provider-evidence.test.ts'
const NEAR = 'test/src/providers/near.test.ts'
const GPUS = 'test/src/nvidia-gpus.test.ts'

/** As in `SUITES`: what every kind of provider shares. */
export const PROVIDER_SUITES: readonly (readonly [prefix: string, suites: readonly string[]])[] = [
  [`${PROVIDERS}/gpus.ts`, [GPUS]],
  [`${PROVIDERS}/dstack.ts`, [NEAR, 'test/src/providers/dstack-vllm.test.ts']],
  [PROVIDERS, [CORE, NEAR]],
  ['client/capture.ts', ['test/cli/appraise.test.ts', 'test/client/capture.test.ts']],
  ['client/recorder.ts', ['test/cli/appraise.test.ts']],
]

/** As `EQUIVALENT` in `steps-equivalent.ts`. */
export const PROVIDER_EQUIVALENT: readonly (readonly [file: string, text: string, why: string])[] =
  [
    [
      `${PROVIDERS}/appraise.ts`,
      "throw new TypeError('a kind appraises one channel or throws')",
      'no kind gives an empty list; the line turns a mistake in a new one into an error that says so',
    ],
  ]

/** As in `STEPS`. */
export const PROVIDER_STEPS: readonly (readonly [
  file: string,
  step: string,
  replacement: string,
])[] = [
  [`${PROVIDERS}/appraise.ts`, '  checkChallenge(evidence, input.challenge, policy)\n', ''],
  [`${PROVIDERS}/gpus.ts`, '  checkStrength(binding, policy.gpu_binding)\n', ''],
  [`${PROVIDERS}/dstack.ts`, '  checkStated(published.composeHash, measured.composeHash)\n', ''],
  [`${PROVIDERS}/dstack.ts`, '  checkStated(published.osImageHash, measured.osImageHash)\n', ''],
  [
    `${PROVIDERS}/dstack.ts`,
    '  checkDevelopment(measured, published.imageName, policy.launch)\n',
    '',
  ],
  // The deep audit
  ['attestation/aci/session.ts', '    document.endpoint === endpoint.origin &&\n', ''],
  [
    'attestation/aci/session.ts',
    '    sameJson(document.identity ?? {}, endpoint.identity) &&\n',
    '',
  ],
  ['attestation/aci/session.ts', '    sameNames(claims, shown) &&\n', ''],
  ['attestation/aci/session.ts', '    sameNames(extra, expected) &&\n', ''],
]
