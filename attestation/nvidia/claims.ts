import { UNKNOWN, type Claim } from '../aci/claim.ts'
import { AcceptedGpuEvidence } from './accepted.ts'
import { GpuBinding, type GpuBindingKind } from './binding.ts'

export interface GpuClaims {
  readonly gpu_attested: Claim
  /** GPUs that are genuine may still be those of another machine. */
  readonly gpu_bound_to_cpu: Claim
}

/** Of an endpoint whose GPUs nobody looked at. */
export const NO_GPU_CLAIMS: GpuClaims = { gpu_attested: UNKNOWN, gpu_bound_to_cpu: UNKNOWN }

const BINDINGS: Readonly<Record<GpuBindingKind, Claim>> = {
  none: { status: 'unknown', reason: 'nothing ties the GPUs to the CPU TEE' },
  'shared-nonce': {
    status: 'unknown',
    reason: 'GPUs and CPU answered one nonce, which GPUs of another machine could do as well',
  },
  'nonce-from-report-data': {
    status: 'asserted',
    source: 'hardware_proven',
    reason: 'the GPUs signed a value that the CPU quote commits to',
  },
  'evidence-hash': {
    status: 'asserted',
    source: 'hardware_proven',
    reason: 'the CPU quote commits to the GPU evidence',
  },
}

/** The two are always stated together, so that neither is read as the other. Throws TypeError for look-alikes. */
export function gpuClaims(gpus: AcceptedGpuEvidence, binding: GpuBinding): GpuClaims {
  const isReal = AcceptedGpuEvidence.is(gpus) && GpuBinding.is(binding)
  if (!isReal) throw new TypeError('not accepted and bound GPU evidence')
  const firmware =
    gpus.measurements === 'match'
      ? 'with the firmware that NVIDIA published'
      : 'with firmware that was not compared'
  const judge = gpus.judge === 'nras' ? ", by NVIDIA's service" : ''
  const revocation = gpus.revocation === 'checked' ? '' : ', revocation not checked'
  return {
    gpu_attested: {
      status: 'asserted',
      source: 'hardware_proven',
      reason: `${gpus.platform.gpus} genuine NVIDIA GPU(s) ${firmware}${judge}${revocation}`,
    },
    gpu_bound_to_cpu: BINDINGS[binding.kind],
  }
}
