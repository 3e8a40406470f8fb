import { z } from 'zod'
import { EvidenceError } from '../errors.ts'

const reject = z.enum(['reject', 'allow']).default('reject')
const hex = (bytes: number) =>
  z
    .string()
    .regex(/^[0-9a-fA-F]+$/)
    .length(2 * bytes)
    .toLowerCase()
const expected = (bytes: number) =>
  z.union([z.literal('any'), z.array(hex(bytes)).min(1).max(4096)])

const level = z.union([z.literal('any'), z.number().int().min(0).max(255)])
const minimum = z.strictObject({
  bootloader: level,
  tee: level,
  snp: level,
  microcode: level,
  /** Turin only; Milan and Genoa have none. */
  fmc: level.default('any'),
})
/** Levels of one product say nothing about another's, so a product that is not named is refused. */
const productMinimum = z.union([z.literal('reject'), z.literal('any'), minimum]).default('reject')

const snpPolicySchema = z.strictObject({
  /** For the TCB that the endorsement key is bound to, and for the one the guest was launched on. */
  min_tcb: z.union([
    z.literal('any'),
    z.strictObject({ Milan: productMinimum, Genoa: productMinimum, Turin: productMinimum }),
  ]),
  debug: reject,
  migration_agent: reject,
  /** Threads of a core leak to each other; nearly every cloud guest allows them all the same. */
  smt: z.enum(['reject', 'allow']).default('allow'),
  single_socket: z.enum(['require', 'any']).default('any'),
  cxl: reject,
  alias_check: z.enum(['require', 'any']).default('require'),
  provisional_firmware: reject,
  /** Whether a CRL must have been checked. */
  revocation: z.enum(['require', 'any']).default('require'),
  /** A report requested by the host has another VMPL and is never accepted. */
  vmpl: z.array(z.number().int().min(0).max(3)).min(1).default([0]),
  min_guest_svn: z.union([z.literal('any'), z.number().int().min(0)]).default('any'),
  measurement: expected(48),
  host_data: expected(32).default('any'),
  report_data: expected(64).default('any'),
  id_key_digest: expected(48).default('any'),
  author_key_digest: expected(48).default('any'),
  chip_id: expected(64).default('any'),
})

/**
 * What a relying party wants of an SNP report that is genuine. Every member has a value; "not checked" is
 * the named value `any` or `allow`, never an absent member.
 */
export type SnpPolicy = z.output<typeof snpPolicySchema>

/**
 * Reads a policy document. `min_tcb` and `measurement` must be written, be it as `any`; a rule left out
 * takes its strictest value that clouds can meet. Throws `policy_malformed`.
 */
export function parseSnpPolicy(value: unknown): SnpPolicy {
  const parsed = snpPolicySchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('policy_malformed')
  return parsed.data
}
