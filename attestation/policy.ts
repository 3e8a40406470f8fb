import { z } from 'zod'
import { EvidenceError } from './errors.ts'
import { INTEL_SGX_ROOT, testPkiRoot, type TrustedRoot } from './tdx/root.ts'
import { TCB_STATUSES } from './tdx/tcb.ts'

const any = z.literal('any')
const hex = (bytes: number) =>
  z
    .string()
    .regex(/^[0-9a-fA-F]+$/)
    .length(2 * bytes)
    .toLowerCase()
const measurement = (bytes: number) => z.union([any, hex(bytes)])
const listOf = (bytes: number) =>
  z.union([any, z.array(hex(bytes)).min(1).max(4096)]).default('any')
/** Bits as the quote has them (little-endian hex); only those of the mask are compared. */
const maskedBits = z.union([any, z.strictObject({ value: hex(8), mask: hex(8) })]).default('any')
const advisoryId = z.string().regex(/^[A-Z0-9-]{1,64}$/)
const seconds = z.number().int().min(0)

const workloadRow = z
  .strictObject({
    mrtd: measurement(48),
    rtmr0: measurement(48),
    rtmr1: measurement(48),
    rtmr2: measurement(48),
    rtmr3: measurement(48),
    mr_config_id: measurement(48),
    mr_owner: measurement(48),
    mr_owner_config: measurement(48),
    config_digest: z.union([z.literal('any'), z.string().regex(/^sha256:[0-9a-f]{64}$/)]),
  })
  .refine((row) => row.mrtd !== 'any', 'a row must at least name the MRTD')

/** Statuses that no policy can accept: a revoked or unknown platform proves nothing. */
const ACCEPTABLE = TCB_STATUSES.filter(
  (status) => status !== 'Revoked' && status !== 'TcbNotSupported',
)

const tcbSchema = z.strictObject({
  accept: z.array(z.enum(ACCEPTABLE)).min(1).default(['UpToDate']),
  min_evaluation_data_number: z.union([any, seconds]).default('any'),
  /** Advisories that may apply to a platform which is not UpToDate: by name, or `any`. */
  tolerated_advisories: z.union([any, z.array(advisoryId).max(256)]).default([]),
  /** How long after a new baseline an OutOfDate platform is still accepted. */
  out_of_date_grace_seconds: seconds.default(0),
  /** Collateral of the retired API v3, which exists for SGX alone. */
  retired_tcb_info: z.enum(['reject', 'allow']).default('reject'),
})

/** Which machines and TDX modules; the answer to attestation keys that were extracted from others. */
const platformSchema = z.strictObject({
  fmspc: listOf(6),
  ppid: listOf(16),
  mrseam: listOf(48),
  mrsignerseam: listOf(48),
  /** Each byte is a component's minimum. */
  min_tee_tcb_svn: measurement(16).default('any'),
})

const reject = z.enum(['reject', 'allow']).default('reject')

const teeSchema = z.strictObject({
  debug: reject,
  sept_ve_disable: z.enum(['require', 'any']).default('require'),
  migratable: reject,
  unknown_attributes: reject,
  unknown_xfam: reject,
  service_td: reject,
  attributes: maskedBits,
  xfam: maskedBits,
})

const policySchema = z.strictObject({
  trusted_root: z
    .union([z.literal('intel'), z.strictObject({ test_pki_pem: z.string().max(1 << 16) })])
    .default('intel'),
  tcb: tcbSchema.prefault({}),
  platform: platformSchema.prefault({}),
  tee: teeSchema.prefault({}),
  report_data: measurement(64).default('any'),
  workload: z.union([z.literal('any'), z.array(workloadRow).min(1).max(256)]),
})

/**
 * What a relying party wants of evidence that is genuine. Every member has a value; "not checked" is the
 * named value `any` or `allow`, never an absent member.
 */
export type Policy = z.output<typeof policySchema>
export type WorkloadRow = z.output<typeof workloadRow>

/**
 * Reads a policy document. A rule left out takes its strictest value. Expected values (`platform`,
 * `report_data`, masked bits) have no strictest one and are compared only where they are written. `workload`
 * must be written: a list of expected measurements, or `any` by name. Throws `policy_malformed`.
 */
export function parsePolicy(value: unknown): Policy {
  const parsed = policySchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('policy_malformed')
  return parsed.data
}

/** UpToDate, no debug, SEPT_VE_DISABLE, not migratable, known attributes and XFAM only, any workload. */
export const DEFAULT_POLICY: Policy = parsePolicy({ workload: 'any' })

/** False where the policy expects no measurement, so that it proves genuineness and not identity. */
export const namesWorkload = (policy: Policy): boolean => policy.workload !== 'any'

export const trustedRoot = async (policy: Policy): Promise<TrustedRoot> =>
  policy.trusted_root === 'intel' ? INTEL_SGX_ROOT : testPkiRoot(policy.trusted_root.test_pki_pem)
