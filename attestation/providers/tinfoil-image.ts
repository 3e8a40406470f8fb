import { z } from 'zod'
import { UNKNOWN, type Claim } from '../aci/claim.ts'
import { decodeUtf8, encodeUtf8, fromBase64, sha256, toHex, type Bytes } from '../bytes.ts'
import { EvidenceError, isVerificationError, PolicyError } from '../errors.ts'
import { parseJson, type JsonValue } from '../json.ts'
import { GenuineSnpReport, type AcceptedSnpReport } from '../sev-snp/verdict.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { documentsOf } from './evidence.ts'
import type { KindInput } from './kind.ts'
import type { ReleaseRequirement } from './policy.ts'
import { RELEASE_REPOSITORY, type ReleaseStatement } from './release.ts'
import { TINFOIL_DOCUMENT } from './tinfoil-document.ts'
import {
  findTinfoilHardware,
  matchTinfoilSnp,
  matchTinfoilTdx,
  TINFOIL_HARDWARE_TYPE,
  TINFOIL_RELEASE_TYPE,
  tinfoilHardware,
  tinfoilMeasurements,
  type TinfoilHardware,
} from './tinfoil-release.ts'

/** The names under which the evidence of an enclave is kept. */
export const TINFOIL_DOCUMENTS = {
  document: TINFOIL_DOCUMENT,
  repository: RELEASE_REPOSITORY,
  release: { digest: 'release/digest', attestations: 'release/attestations' },
  hardware: { digest: 'hardware/digest', attestations: 'hardware/attestations' },
} as const

/** Whose CI measures the firmware and the virtual hardware of Tinfoil's platforms. */
export const TINFOIL_HARDWARE_REPOSITORY = 'tinfoilsh/hardware-measurements'

/** An image that the enclave was measured to run. */
export interface TinfoilImage {
  readonly identity: { readonly repository: string; readonly tag: string }
  readonly claims: { readonly os: Claim; readonly software: Claim; readonly weights: Claim }
  readonly extra: Readonly<Record<keyof typeof NO_IMAGE, JsonValue>>
}

export const NO_IMAGE = {
  release_repository: null,
  release_tag: null,
  release_logged_at: null,
  release_trusted_root: null,
  /** On SEV-SNP null: there one measurement covers firmware and image. */
  hardware_platform: null,
}

/**
 * Proves that the enclave runs a release of the wanted repository. Null where the policy does not ask: then nothing is
 * claimed of what it runs either.
 *
 * @throws EvidenceError `sigstore_*`, `tinfoil_*`, `release_*`; PolicyError `release_not_expected`
 */
export async function verifyTinfoilImage(
  cpu: AcceptedQuote | AcceptedSnpReport,
  input: KindInput,
): Promise<TinfoilImage | null> {
  const { release: wanted } = input.policy
  if (wanted === 'any') return null
  // 1. A release of the repository, by its own CI and in the public log, is what was measured.
  const release = await findRelease(cpu, wanted, input)
  // 2. Its tag is one that the policy names.
  if (wanted.tags !== 'any' && !wanted.tags.includes(release.tag)) {
    throw new PolicyError('release_not_expected', release.tag, wanted.tags.join(', '))
  }
  // 3. The registers that no image determines are those of a released platform.
  const hardware = GenuineSnpReport.is(cpu) ? null : await hardwareOf(cpu, wanted, input)
  const { repository, tag, loggedAt } = release
  return {
    identity: { repository, tag },
    claims: {
      os: released(release),
      software: released(release),
      weights: await weightsClaim(release),
    },
    extra: {
      release_repository: repository,
      release_tag: tag,
      release_logged_at: loggedAt,
      release_trusted_root: wanted.trusted_root === 'public-good' ? 'public-good' : 'test',
      hardware_platform: hardware?.id ?? null,
    },
  }
}

const released = ({ repository, tag }: ReleaseStatement): Claim => ({
  status: 'asserted',
  source: 'verifier_derived',
  reason: `the measurements are those that the CI of ${repository} logged for ${tag}`,
})

/** Of several releases the one that was measured; of several failures the first. */
async function findRelease(
  cpu: AcceptedQuote | AcceptedSnpReport,
  wanted: ReleaseRequirement,
  input: KindInput,
): Promise<ReleaseStatement> {
  const { digest, attestations } = TINFOIL_DOCUMENTS.release
  const digests = documentsOf(input.evidence, digest)
  const bundles = documentsOf(input.evidence, attestations)
  return firstThatHolds(digests, async (each, at) => {
    const question = { repository: wanted.repository, type: TINFOIL_RELEASE_TYPE, wanted }
    const statement = await stated({ digest: each, attestations: bundles[at] }, question, input)
    const measured = tinfoilMeasurements(statement.predicate)
    if (GenuineSnpReport.is(cpu)) matchTinfoilSnp(measured, cpu.measurements['measurement'] ?? '')
    else matchTinfoilTdx(measured, cpu.measurements)
    return statement
  })
}

async function hardwareOf(
  cpu: AcceptedQuote,
  wanted: ReleaseRequirement,
  input: KindInput,
): Promise<TinfoilHardware> {
  const { digest, attestations } = TINFOIL_DOCUMENTS.hardware
  const bundles = documentsOf(input.evidence, attestations)
  return firstThatHolds(documentsOf(input.evidence, digest), async (each, at) => {
    const repository = TINFOIL_HARDWARE_REPOSITORY
    const question = { repository, type: TINFOIL_HARDWARE_TYPE, wanted }
    const statement = await stated({ digest: each, attestations: bundles[at] }, question, input)
    return findTinfoilHardware(tinfoilHardware(statement.predicate), {
      mrtd: cpu.measurements['mrtd'] ?? '',
      rtmr0: cpu.measurements['rtmr0'] ?? '',
    })
  })
}

async function firstThatHolds<In, Out>(
  candidates: readonly In[],
  attempt: (candidate: In, at: number) => Promise<Out>,
): Promise<Out> {
  let first: unknown = new EvidenceError('evidence_document_absent')
  for (const [at, candidate] of candidates.entries()) {
    try {
      return await attempt(candidate, at)
    } catch (error) {
      if (!isVerificationError(error)) throw error
      if (at === 0) first = error
    }
  }
  throw first
}

interface Question {
  readonly repository: string
  readonly type: string
  readonly wanted: ReleaseRequirement
}

interface Published {
  readonly digest: Bytes
  readonly attestations: Bytes | undefined
}

/** What the CI of a repository stated about the artifact of this digest. */
async function stated(
  { digest, attestations }: Published,
  { repository, type, wanted }: Question,
  { verifyRelease, now }: KindInput,
): Promise<ReleaseStatement> {
  if (verifyRelease === undefined) throw new EvidenceError('release_verifier_absent')
  if (attestations === undefined) throw new EvidenceError('evidence_document_absent')
  const [artifactSha256 = ''] = /^[0-9a-f]{64}(?=\s*$)/.exec(decodeUtf8(digest)) ?? []
  const trustedRoot = wanted.trusted_root
  return firstThatHolds(bundlesOf(attestations), async (bundle) => {
    const statement = await verifyRelease({ bundle, artifactSha256, repository, now, trustedRoot })
    if (statement.predicateType !== type) throw new EvidenceError('sigstore_predicate_unexpected')
    return statement
  })
}

const attestationsSchema = z.object({
  attestations: z
    .array(z.object({ bundle: z.json() }))
    .min(1)
    .max(16),
})

function bundlesOf(attestations: Bytes): readonly Bytes[] {
  const parsed = attestationsSchema.safeParse(parseJson(decodeUtf8(attestations)))
  if (!parsed.success) throw new EvidenceError('sigstore_bundle_malformed')
  return parsed.data.attestations.map(({ bundle }) => encodeUtf8(JSON.stringify(bundle)))
}

const configSchema = z.object({ cmdline: z.string(), config: z.base64() })

/** The measured command line names the configuration, which names each model by the root of its dm-verity tree. */
async function weightsClaim({ predicate }: ReleaseStatement): Promise<Claim> {
  const parsed = configSchema.safeParse(predicate)
  if (!parsed.success) return UNKNOWN
  const config = fromBase64(parsed.data.config)
  const measured = `tinfoil-config-hash=${toHex(await sha256(config))}`
  const roots = decodeUtf8(config).match(/^\s*mpk:\s*"?[0-9a-f]{64}_/gm) ?? []
  if (roots.length === 0 || !parsed.data.cmdline.split(' ').includes(measured)) return UNKNOWN
  return {
    status: 'asserted',
    source: 'verifier_derived',
    reason: `the measured configuration mounts ${roots.length} model file system(s) by their dm-verity root`,
  }
}
