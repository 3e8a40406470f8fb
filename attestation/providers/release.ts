import { z } from 'zod'
import { decodeUtf8, type Bytes, type UnixSeconds } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson, type JsonValue } from '../json.ts'

/** The name under which the repository is kept that a release was asked of, `owner/name`. */
export const RELEASE_REPOSITORY = 'release/repository'

/** What the CI of a repository stated, publicly logged, about an artifact that it built. */
export interface ReleaseStatement {
  /** `owner/name` on GitHub. */
  readonly repository: string
  /** The workflow's file: `build.yml`. */
  readonly workflow: string
  /** The tag that it ran for. */
  readonly tag: string
  readonly predicateType: string
  readonly predicate: JsonValue
  /** When the earliest trusted clock saw the signature. */
  readonly loggedAt: UnixSeconds
}

export interface ReleaseInput {
  /** A Sigstore bundle 0.3, byte for byte. */
  readonly bundle: Bytes
  /** Of the artifact that the statement must be about, hex. */
  readonly artifactSha256: string
  /** Whose CI must have signed, `owner/name`. */
  readonly repository: string
  readonly now: UnixSeconds
  /** `public-good`, or the `trusted_root.json` of a Sigstore of a test's own. */
  readonly trustedRoot: SigstoreRoot
}

export type SigstoreRoot = 'public-good' | { readonly test_trusted_root: string }

/**
 * Verifies the provenance of a release. It is a parameter of an appraisal, because the X.509 and ASN.1 of Sigstore is
 * a library's that needs Node. Rejects with `EvidenceError` `sigstore_*`.
 */
export type VerifyRelease = (input: ReleaseInput) => Promise<ReleaseStatement>

/** A statement whose signature, certificate and log entries hold. Nothing says yet that anybody wants it. */
export interface SignedStatement {
  /** Of the signer's identity token; null where the certificate names none, as with the others. */
  readonly issuer: string | null
  readonly subjectAlternativeName: string | null
  readonly repository: string | null
  readonly ref: string | null
  readonly payloadType: string
  readonly payload: Bytes
  readonly loggedAt: UnixSeconds
}

export interface ReleasePolicy {
  readonly issuer: string
  readonly repository: string
  /** The workflow must have run for a ref below this. */
  readonly refPrefix: string
  readonly payloadType: string
  readonly statementTypes: readonly string[] | 'any'
  readonly predicateTypes: readonly string[] | 'any'
}

const TAG_PREFIX = 'refs/tags/'

/** A tag of this repository, built by GitHub's CI. */
export const releasePolicy = (repository: string): ReleasePolicy => ({
  issuer: 'https://token.actions.githubusercontent.com',
  repository,
  refPrefix: TAG_PREFIX,
  payloadType: 'application/vnd.in-toto+json',
  statementTypes: ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'],
  predicateTypes: 'any',
})

const statementSchema = z
  .strictObject({
    _type: z.string(),
    subject: z.array(
      z.object({ name: z.string().optional(), digest: z.record(z.string(), z.string()) }),
    ),
    predicateType: z.string(),
    predicate: z.unknown(),
  })
  .transform(({ _type: type, subject, predicateType }) => ({ type, subject, predicateType }))

export interface AcceptedStatement extends ReleaseStatement {
  readonly artifactSha256: string
  readonly statementType: string
  readonly subject: string | null
}

/** `artifactSha256` is hex. Throws `sigstore_*`, in the order of the steps. */
export function acceptRelease(
  signed: SignedStatement,
  policy: ReleasePolicy,
  artifactSha256: string,
): AcceptedStatement {
  // 1. The identity was vouched for by GitHub's CI, not by an e-mail login of the same name.
  if (signed.issuer !== policy.issuer) throw new EvidenceError('sigstore_issuer_mismatch')
  // 2. The run was of the repository itself: a fork's runs carry the fork's name.
  if (signed.repository !== policy.repository) {
    throw new EvidenceError('sigstore_repository_mismatch')
  }
  // 3. It ran for a tag. Whoever may push a branch may not, for that, release.
  const { ref } = signed
  if (ref === null || !ref.startsWith(policy.refPrefix)) {
    throw new EvidenceError('sigstore_ref_mismatch')
  }
  // 4. The workflow that signed is a file of that repository at that very ref, and not one that it calls elsewhere.
  const workflow = workflowOf(signed.subjectAlternativeName, policy.repository, ref)
  // 5. What was signed is an in-toto statement.
  if (signed.payloadType !== policy.payloadType) {
    throw new EvidenceError('sigstore_payload_unexpected')
  }
  const statement = parseStatement(signed.payload)
  if (!allows(policy.statementTypes, statement.type)) {
    throw new EvidenceError('sigstore_statement_unexpected')
  }
  // 6. It is about this artifact. Only the first subject counts: others could hide which one a reader is shown.
  const [subject] = statement.subject
  if (subject === undefined) throw new EvidenceError('sigstore_subject_absent')
  if (subject.digest['sha256']?.toLowerCase() !== artifactSha256.toLowerCase()) {
    throw new EvidenceError('sigstore_subject_mismatch')
  }
  // 7. It says the kind of thing that is asked for.
  if (!allows(policy.predicateTypes, statement.predicateType)) {
    throw new EvidenceError('sigstore_predicate_unexpected')
  }
  return {
    repository: policy.repository,
    workflow,
    tag: ref.slice(TAG_PREFIX.length),
    predicateType: statement.predicateType,
    predicate: statement.predicate,
    loggedAt: signed.loggedAt,
    artifactSha256: artifactSha256.toLowerCase(),
    statementType: statement.type,
    subject: subject.name ?? null,
  }
}

const allows = (wanted: readonly string[] | 'any', seen: string): boolean =>
  wanted === 'any' || wanted.includes(seen)

function workflowOf(san: string | null, repository: string, ref: string): string {
  const [before, after] = [`https://github.com/${repository}/.github/workflows/`, `@${ref}`]
  const file = san?.slice(before.length, -after.length) ?? ''
  if (san !== `${before}${file}${after}` || !/^[^/@]+$/.test(file)) {
    throw new EvidenceError('sigstore_workflow_mismatch')
  }
  return file
}

function parseStatement(payload: Bytes) {
  const value = parseJson(decodeUtf8(payload))
  const parsed = statementSchema.safeParse(value)
  if (!parsed.success || !isObject(value)) throw new EvidenceError('sigstore_bundle_malformed')
  return { ...parsed.data, predicate: value['predicate'] ?? null }
}

const isObject = (value: JsonValue): value is { readonly [member: string]: JsonValue } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
