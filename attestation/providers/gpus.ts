import type { Bytes, UnixSeconds } from '../bytes.ts'
import { EvidenceError, PolicyError } from '../errors.ts'
import { acceptGpuEvidence } from '../nvidia/accept.ts'
import type { AcceptedGpuEvidence } from '../nvidia/accepted.ts'
import { bindGpuEvidence, type GpuBinding, type GpuBindingRule } from '../nvidia/binding.ts'
import type { DeviceKind } from '../nvidia/chip.ts'
import { parseGpuEvidence } from '../nvidia/evidence.ts'
import { parseNrasPolicy, type NrasPolicy } from '../nvidia/nras/policy.ts'
import type { GenuineNrasVerdict } from '../nvidia/nras/verdict.ts'
import { verifyNrasResponse } from '../nvidia/nras/verify.ts'
import { gpuRoots, type GpuPolicy } from '../nvidia/policy.ts'
import type { GenuineRim } from '../nvidia/rim/verdict.ts'
import { verifyRim } from '../nvidia/rim/verify.ts'
import type { GenuineGpuEvidence } from '../nvidia/verdict.ts'
import { verifyGpuEvidence } from '../nvidia/verify.ts'
import type { GenuineSnpReport } from '../sev-snp/verdict.ts'
import type { GenuineQuote } from '../tdx/verdict.ts'
import { documentOf, documentsOf, type ProviderEvidence } from './evidence.ts'
import type { KindInput } from './kind.ts'

/** The names under which what NVIDIA says of devices is kept. */
export const NVIDIA_DOCUMENTS = {
  /** Reference manifests, XML. */
  rim: 'nvidia/rim',
  /** OCSP responses, DER. */
  ocsp: 'nvidia/ocsp',
  /** Answers of the Remote Attestation Service about GPUs and about switches, JSON. */
  nras: { gpu: 'nvidia/nras-gpu', switch: 'nvidia/nras-switch' },
  /** The keys of that service that signed each, JSON. */
  nrasKeys: { gpu: 'nvidia/nras-gpu-keys', switch: 'nvidia/nras-switch-keys' },
} as const

export interface GpuQuestion {
  /** The evidence in any shape that `parseGpuEvidence` reads. */
  readonly json: string
  /** 32 bytes: what every device must have been asked with. */
  readonly nonce: Bytes
  readonly cpu: GenuineQuote | GenuineSnpReport
  readonly rule: GpuBindingRule
}

export interface BoundGpus {
  readonly gpus: AcceptedGpuEvidence
  readonly binding: GpuBinding
}

/**
 * GPUs that are genuine, bound to the CPU TEE in the way of their provider, and wanted. Null where the policy does
 * not look at GPUs: then nothing is claimed of them either.
 *
 * @throws EvidenceError, PolicyError
 */
export async function acceptGpus(
  question: GpuQuestion,
  { evidence, now, policy }: KindInput,
): Promise<BoundGpus | null> {
  const { gpu } = policy
  if (gpu === 'unchecked') return null
  // 1. Every device is NVIDIA's and answered this nonce.
  const genuine = await verifyGpuEvidence({
    evidence: parseGpuEvidence(question.json),
    nonce: question.nonce,
    now,
    roots: await gpuRoots(gpu),
  })
  // 2. They are tied to the CPU TEE as strongly as wanted.
  const binding = await bindGpuEvidence(genuine, question.cpu, question.rule)
  checkStrength(binding, policy.gpu_binding)
  // 3. They are wanted ones, by reference values or by NVIDIA's own word.
  const gpus = await acceptGpuEvidence({
    evidence: genuine,
    rims: gpu.judge === 'local' ? await rimsOf(evidence, gpu, now) : [],
    ocsp: documentsOf(evidence, NVIDIA_DOCUMENTS.ocsp),
    nras: gpu.judge === 'nras' ? await nrasVerdicts(genuine, evidence, { now, gpu }) : [],
    now,
    policy: gpu,
  })
  return { gpus, binding }
}

const STRENGTHS = { none: 0, weak: 1, strong: 2 } as const

function checkStrength({ strength }: GpuBinding, wanted: 'any' | 'weak' | 'strong'): void {
  if (wanted !== 'any' && STRENGTHS[strength] < STRENGTHS[wanted]) {
    throw new PolicyError('gpu_binding_too_weak', strength, wanted)
  }
}

const rimsOf = (
  evidence: ProviderEvidence,
  policy: GpuPolicy,
  now: UnixSeconds,
): Promise<GenuineRim[]> =>
  Promise.all(
    documentsOf(evidence, NVIDIA_DOCUMENTS.rim).map(async (document) =>
      verifyRim(document, { now, roots: await gpuRoots(policy) }),
    ),
  )

interface JudgedAt {
  readonly now: UnixSeconds
  readonly gpu: GpuPolicy
}

/**
 * The keys come with the evidence, from whoever kept it: unless NVIDIA's authority certified them, anyone could have
 * made them.
 */
function nrasPolicy({ trusted_root: root }: GpuPolicy): NrasPolicy {
  const authorities = root === 'nvidia' ? undefined : root.test_pki.nras_authorities
  return parseNrasPolicy({
    max_token_age_seconds: 'recorded',
    jwks_pin: 'enforce',
    ...(authorities === undefined ? {} : { jwks_authorities: authorities }),
  })
}

/** Answers about other devices are passed over; of those about these, the first that does not hold is told. */
async function nrasVerdicts(
  genuine: GenuineGpuEvidence,
  evidence: ProviderEvidence,
  at: JudgedAt,
): Promise<GenuineNrasVerdict[]> {
  const kinds = [...new Set(genuine.devices.map(({ kind }) => kind))]
  const verdicts = await Promise.all(
    kinds.map(async (kind) => verdictOn(kind, genuine, evidence, at)),
  )
  return verdicts.filter((verdict) => verdict !== null)
}

async function verdictOn(
  kind: DeviceKind,
  genuine: GenuineGpuEvidence,
  evidence: ProviderEvidence,
  { now, gpu }: JudgedAt,
): Promise<GenuineNrasVerdict | null> {
  const policy = nrasPolicy(gpu)
  const jwks = documentOf(evidence, NVIDIA_DOCUMENTS.nrasKeys[kind])
  for (const response of documentsOf(evidence, NVIDIA_DOCUMENTS.nras[kind])) {
    try {
      return await verifyNrasResponse({ response, jwks, evidence: genuine, kind, now, policy })
    } catch (error) {
      const elsewhere = error instanceof EvidenceError && error.code === 'nras_nonce_mismatch'
      if (!elsewhere) throw error
    }
  }
  return null
}
