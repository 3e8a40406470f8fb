import { UNKNOWN, type Claim } from '../aci/claim.ts'

export interface GpuClaims {
  readonly gpu_attested: Claim
  /** GPUs that are genuine may still be those of another machine. */
  readonly gpu_bound_to_cpu: Claim
}

/** Of an endpoint whose GPUs nobody looked at. */
export const NO_GPU_CLAIMS: GpuClaims = { gpu_attested: UNKNOWN, gpu_bound_to_cpu: UNKNOWN }
