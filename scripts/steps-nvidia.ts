import { NRAS_STEPS } from './steps-nras.ts'
import { OCSP_STEPS } from './steps-ocsp.ts'
import { RIM_STEPS } from './steps-rim.ts'

/** The tests that must notice a removal below a path; the first path that fits counts. */
export const NVIDIA_SUITES: readonly (readonly [path: string, tests: readonly string[]])[] = [
  [
    'attestation/nvidia/rim',
    ['test/attestation/nvidia-rim', 'test/attestation/nvidia-measurements'],
  ],
  ['attestation/nvidia/measurements.ts', ['test/attestation/nvidia-measurements']],
  ['attestation/nvidia/ocsp', ['test/attestation/nvidia-ocsp']],
  ['attestation/nvidia/nras', ['test/attestation/nvidia-nras']],
  ['attestation/nvidia/evidence.ts', ['test/attestation/nvidia-evidence']],
  ['attestation/nvidia/platform.ts', ['test/attestation/nvidia-platform']],
  ['attestation/nvidia/binding.ts', ['test/attestation/nvidia-platform']],
  ['attestation/nvidia/accept.ts', ['test/attestation/nvidia-accept']],
  ['attestation/nvidia/measure.ts', ['test/attestation/nvidia-accept']],
  ['attestation/nvidia/claims.ts', ['test/attestation/nvidia-accept']],
  ['attestation/nvidia/policy.ts', ['test/attestation/nvidia-accept']],
  ['attestation/nvidia', ['test/attestation/nvidia-device']],
]

/** Edits by name: conditions that share one refusal, and the steps themselves. */
export const NVIDIA_STEPS: readonly (readonly [file: string, find: string, replace: string])[] = [
  // attestation/nvidia/verify.ts
  ['attestation/nvidia/verify.ts', '  checkStatedArch(item, chip)\n', ''],
  ['attestation/nvidia/verify.ts', '  await verifyReportSignature(report, chain)\n', ''],
  ['attestation/nvidia/verify.ts', "  checkValidNow(certificates, now, 'gpu_chain')\n", ''],
  // attestation/nvidia/chain.ts
  ['attestation/nvidia/chain.ts', '  checkLeaf(leaf, refuse)\n', ''],
  ['attestation/nvidia/chain.ts', '    checkAuthority(issuer, depth, refuse)\n', ''],
  ['attestation/nvidia/chain.ts', 'constraints?.ca === true || !maySignData', '!maySignData'],
  ['attestation/nvidia/chain.ts', ' || !maySignData', ''],
  ['attestation/nvidia/chain.ts', ' || p384 === null', ''],
  ['attestation/nvidia/chain.ts', 'constraints?.ca === true && mayCertify', 'mayCertify'],
  ['attestation/nvidia/chain.ts', ' && mayCertify', ''],
  ['attestation/nvidia/chain.ts', 'notBefore <= now && ', ''],
  ['attestation/nvidia/chain.ts', ' && now <= notAfter', ''],
  // attestation/nvidia/platform.ts
  ['attestation/nvidia/platform.ts', '  for (const device of switches) checkSwitch(device)\n', ''],
  [
    'attestation/nvidia/platform.ts',
    '    gpus.every(({ info }) => nameSet(info.switchPdis) === switchPdis) &&\n',
    '',
  ],
  // attestation/nvidia/binding.ts
  ['attestation/nvidia/binding.ts', 'equalBytes(first, bound) && ', ''],
  ['attestation/nvidia/binding.ts', ' && isZero(second)', ''],
  ['attestation/nvidia/binding.ts', ' && holdsSame(evidence, rule.documents)', ''],
  // attestation/nvidia/accept.ts
  [
    'attestation/nvidia/accept.ts',
    '  for (const device of evidence.devices) checkDevice(device, policy)\n',
    '',
  ],
  ['attestation/nvidia/accept.ts', '  checkCount(platform, policy)\n', ''],
  [
    'attestation/nvidia/accept.ts',
    '  for (const rim of rims) checkSigner(rim, revocation, policy)\n',
    '',
  ],
  ['attestation/nvidia/accept.ts', "verdict.environment === 'production' && ", ''],
  ['attestation/nvidia/accept.ts', ' && now < verdict.expiresAt', ''],
  ['attestation/nvidia/accept.ts', 'verdict.covers(device)', 'verdict !== null'],
  ['attestation/nvidia/accept.ts', ' && result !== undefined', ''],
  // attestation/nvidia/measure.ts
  ['attestation/nvidia/measure.ts', 'rim.product === device.chip &&', ''],
  ['attestation/nvidia/measure.ts', ' && rims.every((rim) => GenuineRim.is(rim))', ''],
  // attestation/nvidia/verdict and claims
  ['attestation/nvidia/claims.ts', ' && GpuBinding.is(binding)', ''],
  ...RIM_STEPS,
  ...OCSP_STEPS,
  ...NRAS_STEPS,
]
