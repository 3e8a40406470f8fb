import { z } from 'zod'
import { EvidenceError } from '../errors.ts'
import { nrasAuthorities } from './nras/policy.ts'
import { NVIDIA_ROOTS, testNvidiaRoots, type NvidiaRoots } from './root.ts'

const any = z.literal('any')
/** Numbers between dots, compared from the left; those of a VBIOS are hex. */
const driverVersion = z.string().regex(/^\d{1,5}(?:\.\d{1,5}){1,3}$/)
const vbiosVersion = z
  .string()
  .regex(/^[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f]{2}){4}$/)
  .toUpperCase()
const atLeast = <T extends z.ZodType>(version: T) => z.union([any, version]).default('any')
const pem = z.string().max(1 << 14)

const gpuPolicySchema = z.strictObject({
  trusted_root: z
    .union([
      z.literal('nvidia'),
      z.strictObject({
        test_pki: z.strictObject({
          device_pem: pem,
          rim_pem: pem,
          /** Of a stand-in for NVIDIA's service; left out, only NVIDIA's own counts. */
          nras_authorities: nrasAuthorities.optional(),
        }),
      }),
    ])
    .default('nvidia'),
  /** How many GPUs there must be; with `any`, at least one. */
  gpu_count: z.union([any, z.number().int().min(1).max(64)]).default('any'),
  architectures: z.union([any, z.array(z.enum(['HOPPER', 'BLACKWELL'])).min(1)]).default('any'),
  min_driver: z
    .strictObject({ HOPPER: atLeast(driverVersion), BLACKWELL: atLeast(driverVersion) })
    .prefault({}),
  /** Of the VBIOS, and of a switch's BIOS under `LS10`. */
  min_vbios: z
    .strictObject({
      HOPPER: atLeast(vbiosVersion),
      BLACKWELL: atLeast(vbiosVersion),
      LS10: atLeast(vbiosVersion),
    })
    .prefault({}),
  /** Drivers before 550 report no firmware id. */
  firmware_id: z.enum(['require', 'if-reported']).default('require'),
  /**
   * Who compares measurements and asks about certificates. `nras`: NVIDIA's service, which then learns the devices;
   * the four rules that follow are its own then.
   */
  judge: z.enum(['local', 'nras']).default('local'),
  /** Whether the measurements must equal NVIDIA's reference values. */
  measurements: z.enum(['require', 'unchecked']).default('require'),
  /**
   * Certificates that sign reference values live for two years, drivers longer. `allow-if-ocsp-good`: an expired
   * signer is accepted while NVIDIA's responder still vouches for every certificate of its chain.
   */
  rim_signer_expiry: z.enum(['reject', 'allow-if-ocsp-good', 'allow']).default('reject'),
  /** NVIDIA puts signers of pre-release drivers on hold. A device on hold is never accepted. */
  rim_signer_hold: z.enum(['reject', 'allow']).default('reject'),
  /** Whether NVIDIA must vouch for each certificate that is not a root. */
  revocation: z.enum(['require', 'unchecked']).default('require'),
  /** Whether GPUs in protected PCIe mode need the evidence of their switches. */
  switch_evidence: z.enum(['require', 'optional']).default('require'),
})

/**
 * What a relying party wants of GPU evidence that is genuine. Every member has a value; "not checked" is the named
 * value `any` or `unchecked`, never an absent member.
 */
export type GpuPolicy = z.output<typeof gpuPolicySchema>

/**
 * Reads a policy document. A rule left out takes its strictest value; expected values (count, architectures,
 * versions) have no strictest one and are compared only where they are written. Throws `policy_malformed`.
 */
export function parseGpuPolicy(value: unknown): GpuPolicy {
  const parsed = gpuPolicySchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('policy_malformed')
  return parsed.data
}

/** Reference values, revocation, firmware id and switch evidence required; any version and count. */
export const DEFAULT_GPU_POLICY: GpuPolicy = parseGpuPolicy({})

export const gpuRoots = async ({ trusted_root: root }: GpuPolicy): Promise<NvidiaRoots> =>
  root === 'nvidia'
    ? NVIDIA_ROOTS
    : testNvidiaRoots(root.test_pki.device_pem, root.test_pki.rim_pem)
