import { z } from 'zod'
import { EvidenceError } from '../errors.ts'
import { decodeUtf8 } from '../bytes.ts'
import { memberSpans } from '../json.ts'
import { parseGpuPolicy, type GpuPolicy } from '../nvidia/policy.ts'
import { parsePolicy, type Policy } from '../policy.ts'
import { parseSnpPolicy, type SnpPolicy } from '../sev-snp/policy.ts'
import { TCB_STATUSES } from '../tdx/tcb.ts'
import { decodeProviderEvidence, isAciEvidence, type ProviderEvidence } from './evidence.ts'
import { RELEASE_REPOSITORY } from './release.ts'
import { TINFOIL_DOCUMENT } from './tinfoil-document.ts'
import { isUnchallenged, showsNoGpus } from './unchallenged.ts'

const hexList = (bytes: number) =>
  z
    .union([
      z.literal('any'),
      z
        .array(
          z
            .string()
            .regex(/^[0-9a-fA-F]+$/)
            .length(2 * bytes)
            .toLowerCase(),
        )
        .min(1)
        .max(1024),
    ])
    .default('any')

/** What a dstack guest measured of its launch. A value that is expected and was not measured is refused. */
const launchSchema = z.strictObject({
  /** Images that let developers in: by a known hash, or by what the machine says of itself. */
  development_images: z.enum(['reject', 'allow']).default('reject'),
  os_image_hash: hexList(32),
  compose_hash: hexList(32),
  app_id: hexList(20),
  /** SHA-256 or DER of the key that hands the guest its own, as hex in the event log. */
  key_provider_id: z
    .union([
      z.literal('any'),
      z
        .array(
          z
            .string()
            .regex(/^[0-9a-fA-F]{2,1024}$/)
            .toLowerCase(),
        )
        .min(1)
        .max(64),
    ])
    .default('any'),
})
export type LaunchPolicy = z.output<typeof launchSchema>

/** A release whose measurements a public log vouches for. */
const releaseSchema = z.strictObject({
  /** `owner/name` on GitHub: only its own workflows may have made the release. */
  repository: z.string().regex(/^[A-Za-z0-9-]{1,39}\/[A-Za-z0-9._-]{1,100}$/),
  /** Tags that are accepted, or `any`: then the newest release is trusted as soon as it is out. */
  tags: z
    .union([z.literal('any'), z.array(z.string().min(1).max(128)).min(1).max(256)])
    .default('any'),
  /** Sigstore's public-good instance, or the `trusted_root.json` of one of a test's own. */
  trusted_root: z
    .union([
      z.literal('public-good'),
      z.strictObject({ test_trusted_root: z.string().max(1 << 16) }),
    ])
    .default('public-good'),
})
export type ReleaseRequirement = z.output<typeof releaseSchema>

const outerSchema = z.strictObject({
  tdx: z.unknown().optional(),
  snp: z.unknown().optional(),
  /** `amd`, or the ARK of a test PKI in PEM. */
  snp_trusted_root: z
    .union([z.literal('amd'), z.strictObject({ test_pki_pem: z.string().max(1 << 16) })])
    .default('amd'),
  gpu: z.unknown().optional(),
  /** The weakest tie between GPUs and CPU that is accepted. */
  gpu_binding: z.enum(['any', 'weak', 'strong']).default('weak'),
  launch: launchSchema.prefault({}),
  release: z.union([z.literal('any'), releaseSchema]).default('any'),
  /** `challenge`: evidence must answer this caller. `key`: holding the attested key is enough. */
  freshness: z.enum(['challenge', 'key']).default('challenge'),
  /** Where one round covers several instances: whether one that fails is left out, or fails them all. */
  instances: z.enum(['any', 'all']).default('any'),
})

/**
 * What a relying party wants of a provider whose evidence is genuine. Every member has a value; "not checked" is a
 * named value (`any`, `unchecked`, `allow`), never an absent member.
 */
export interface ProviderPolicy {
  /** `reject`: a TDX guest is not accepted. */
  readonly tdx: Policy | 'reject'
  readonly snp: SnpPolicy | 'reject'
  readonly snp_trusted_root: z.output<typeof outerSchema>['snp_trusted_root']
  /** `unchecked`: nobody looks at GPUs, and no claim says that there are any. */
  readonly gpu: GpuPolicy | 'unchecked'
  readonly gpu_binding: 'any' | 'weak' | 'strong'
  readonly launch: LaunchPolicy
  readonly release: ReleaseRequirement | 'any'
  readonly freshness: 'challenge' | 'key'
  /** `observe`: evidence of a key that no prompt is ever sent to is shown all the same. No document can ask for it. */
  readonly channel: 'require' | 'observe'
  readonly instances: 'any' | 'all'
}

/**
 * Reads a policy document. A rule left out takes its strictest value, with these exceptions: `tdx` and `snp` are
 * `reject` where they are absent, one of them must be there; and expected values are compared only where they are
 * written. Throws `policy_malformed`.
 */
export function parseProviderPolicy(value: unknown): ProviderPolicy {
  const parsed = outerSchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('policy_malformed')
  const { tdx, snp, gpu, ...rest } = parsed.data
  if (tdx === undefined && snp === undefined) throw new EvidenceError('policy_malformed')
  return {
    ...rest,
    channel: 'require',
    tdx: tdx === undefined ? 'reject' : parsePolicy(tdx),
    snp: snp === undefined ? 'reject' : parseSnpPolicy(snp),
    gpu: gpu === 'unchecked' ? 'unchecked' : parseGpuPolicy(gpu ?? {}),
  }
}

/** A plain TDX policy as the policy of a service without GPUs that anyone looks at. */
export const tdxOnlyPolicy = (tdx: Policy): ProviderPolicy => ({
  ...parseProviderPolicy({ tdx: { workload: 'any' }, gpu: 'unchecked' }),
  tdx,
})

/**
 * The policy to judge kept evidence by where nobody has named one: genuine, up to date, no development image, any
 * workload, or a release of the repository that was asked; and of its GPUs what the evidence can show. Where reference values were kept they are compared; else the
 * verdict of NVIDIA's service counts where one was kept; else firmware and revocation stay unchecked, and the claim
 * says so. Evidence that answers no challenge is judged by who holds its key.
 */
export function recordedPolicy({ documents }: Pick<ProviderEvidence, 'documents'>): ProviderPolicy {
  const has = (prefix: string): boolean =>
    [...documents.keys()].some((name) => name.startsWith(`${prefix}/`))
  const repository = documents.get(RELEASE_REPOSITORY)
  const shown = { firmware_id: 'if-reported', switch_evidence: 'optional' }
  const judged = has('nvidia/nras-gpu')
    ? { judge: 'nras', ...shown }
    : { measurements: 'unchecked', revocation: 'unchecked', ...shown }
  return parseProviderPolicy({
    tdx: { workload: 'any' },
    snp: { min_tcb: 'any', measurement: 'any', revocation: 'any', alias_check: 'any' },
    release: repository === undefined ? 'any' : { repository: decodeUtf8(repository) },
    gpu:
      hasNoGpus(documents) || showsNoGpus(documents)
        ? 'unchecked'
        : has('nvidia/rim')
          ? {}
          : judged,
    ...(isUnchallenged(documents) ? { freshness: 'key' } : {}),
  })
}

/** A router of Tinfoil: what it shows of itself has no place for devices that are not there. */
function hasNoGpus(documents: ProviderEvidence['documents']): boolean {
  const document = documents.get(TINFOIL_DOCUMENT)
  return document !== undefined && !memberSpans(decodeUtf8(document)).has('gpu')
}

/** `policy`, but of GPUs whatever the evidence can show: see {@link recordedPolicy}. */
export function asRecorded(bytes: Uint8Array, policy: ProviderPolicy): ProviderPolicy {
  const { gpu } = recordedPolicyOf(bytes)
  const root = policy.gpu === 'unchecked' ? 'nvidia' : policy.gpu.trusted_root
  return {
    ...policy,
    gpu: gpu === 'unchecked' ? gpu : { ...gpu, trusted_root: root },
    gpu_binding: 'any',
  }
}

/** {@link recordedPolicy} of encoded evidence of any kind. */
export const recordedPolicyOf = (bytes: Uint8Array): ProviderPolicy =>
  recordedPolicy(documentsIn(bytes))

/** An ACI/1 service shows no GPUs. */
const documentsIn = (bytes: Uint8Array): Pick<ProviderEvidence, 'documents'> =>
  isAciEvidence(bytes) ? { documents: new Map() } : decodeProviderEvidence(bytes)

/** `policy` with everything allowed that genuine evidence can show: to see what is there, never to send. */
export const observingPolicy = (policy: ProviderPolicy): ProviderPolicy => ({
  tdx: policy.tdx === 'reject' ? parsePolicy(OBSERVING_TDX) : observeTdx(policy.tdx),
  snp: parseSnpPolicy(OBSERVING_SNP),
  snp_trusted_root: policy.snp_trusted_root,
  gpu:
    policy.gpu === 'unchecked'
      ? 'unchecked'
      : {
          ...parseGpuPolicy({
            measurements: 'unchecked',
            revocation: 'unchecked',
            firmware_id: 'if-reported',
            switch_evidence: 'optional',
          }),
          trusted_root: policy.gpu.trusted_root,
        },
  gpu_binding: 'any',
  launch: launchSchema.parse({ development_images: 'allow' }),
  release: 'any',
  freshness: 'key',
  channel: 'observe',
  instances: 'any',
})

const OBSERVING_TDX = {
  workload: 'any',
  tcb: {
    accept: TCB_STATUSES.filter((status) => status !== 'Revoked' && status !== 'TcbNotSupported'),
    tolerated_advisories: 'any',
  },
  tee: {
    debug: 'allow',
    sept_ve_disable: 'any',
    migratable: 'allow',
    unknown_attributes: 'allow',
    unknown_xfam: 'allow',
    service_td: 'allow',
  },
}
const OBSERVING_SNP = {
  min_tcb: 'any',
  measurement: 'any',
  debug: 'allow',
  migration_agent: 'allow',
  cxl: 'allow',
  alias_check: 'any',
  provisional_firmware: 'allow',
  revocation: 'any',
}

const observeTdx = (policy: Policy): Policy => ({
  ...parsePolicy(OBSERVING_TDX),
  trusted_root: policy.trusted_root,
})
