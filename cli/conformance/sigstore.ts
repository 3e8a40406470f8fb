import {
  acceptRelease,
  decodeUtf8,
  parseJson,
  tinfoilMeasurements,
  type AcceptedStatement,
  type EvidenceErrorCode,
  type JsonValue,
  type SignedStatement,
  type TinfoilMeasurements,
} from '@vouchgate/attestation'
import { z } from 'zod'
import { sigstoreTrust, type SigstoreTrust } from '../../client/sigstore-trust.ts'
import { verifyBundle } from '../../client/sigstore.ts'
import { MULTIPLATFORM } from './measurement.ts'
import { bundleOutputs } from './sigstore-outputs.ts'
import { base64, hex, judged, readInput, rejection, type Stage, type Verdict } from './stage.ts'

const repo = z.string().regex(/^[A-Za-z0-9._-]+\/[A-Za-z0-9._-]+$/)
const types = z.array(z.string()).nullable().default(null)

/** Ours are the contract's defaults, which no input may lower. */
const atLeastOne = z.number().int().min(0).max(1).optional()

const sigstoreSchema = z.strictObject({
  bundle_b64: base64,
  expected_digest_sha256_hex: hex(32),
  repo,
  policy: z.strictObject({
    oidc_issuer: z.string(),
    workflow_ref_prefix: z.string(),
    payload_type: z.string(),
    predicate_types_allowed: types,
    in_toto_statement_types_allowed: types,
    tlog_entries_min: atLeastOne,
    tlog_entries_max: z.number().int().min(0).nullable().optional(),
    sct_min: atLeastOne,
    observer_timestamps_min: atLeastOne,
  }),
  trust_root_b64: base64,
  verification_time_unix: z.number().int().min(0),
})

type SigstoreInput = z.output<typeof sigstoreSchema>

const inputSchema = sigstoreSchema.extend({ schema_version: z.literal('1') })

/** What our refusals are called by the contract. */
const REJECTIONS: Partial<Record<EvidenceErrorCode, string>> = {
  sigstore_trust_root_malformed: 'TRUST_ROOT_INVALID',
  sigstore_log_entry_absent: 'TLOG_COUNT_OUT_OF_RANGE',
  sigstore_log_entry_invalid: 'REKOR_INCLUSION_INVALID',
  sigstore_timestamp_absent: 'OBSERVER_TIMESTAMP_INSUFFICIENT',
  sigstore_timestamp_implausible: 'OBSERVER_TIMESTAMP_INSUFFICIENT',
  sigstore_certificate_untrusted: 'FULCIO_CHAIN_INVALID',
  sigstore_certificate_expired: 'CERT_EXPIRED',
  sigstore_sct_invalid: 'SCT_INSUFFICIENT',
  sigstore_sct_duplicate: 'SCT_DUPLICATE_LOG',
  sigstore_signature_invalid: 'DSSE_SIGNATURE_INVALID',
  sigstore_issuer_mismatch: 'OIDC_ISSUER_MISMATCH',
  sigstore_repository_mismatch: 'WORKFLOW_REPOSITORY_MISMATCH',
  sigstore_workflow_mismatch: 'WORKFLOW_REF_PREFIX_MISMATCH',
  sigstore_ref_mismatch: 'WORKFLOW_REF_PREFIX_MISMATCH',
  sigstore_payload_unexpected: 'PAYLOAD_TYPE_MISMATCH',
  sigstore_statement_unexpected: 'IN_TOTO_STATEMENT_TYPE_NOT_ALLOWED',
  sigstore_predicate_unexpected: 'PREDICATE_TYPE_NOT_ALLOWED',
  sigstore_subject_absent: 'SUBJECT_MISSING',
  sigstore_subject_mismatch: 'SUBJECT_DIGEST_MISMATCH',
  tinfoil_predicate_malformed: 'PREDICATE_MEASUREMENT_INVALID',
}

const NAMES: ReadonlyMap<string, string> = new Map(Object.entries(REJECTIONS))

/** Bytes that are no UTF-8 or JSON are a bundle that cannot be read. */
const sigstoreCode = ({ code }: { readonly code: string }): string =>
  NAMES.get(code) ?? 'BUNDLE_MALFORMED'

interface Released {
  readonly signed: SignedStatement
  readonly statement: AcceptedStatement
  /** Null where the statement is of another kind than a release of the contract's vendor. */
  readonly measurements: TinfoilMeasurements | null
}

function verifySigstore(trust: SigstoreTrust, input: SigstoreInput): Released {
  const { policy, repo: repository, expected_digest_sha256_hex: digest } = input
  const signed = verifyBundle(trust, input.bundle_b64, input.verification_time_unix)
  const statement = acceptRelease(
    signed,
    {
      issuer: policy.oidc_issuer,
      repository,
      refPrefix: policy.workflow_ref_prefix,
      payloadType: policy.payload_type,
      statementTypes: policy.in_toto_statement_types_allowed ?? 'any',
      predicateTypes: policy.predicate_types_allowed ?? 'any',
    },
    digest,
  )
  const known = statement.predicateType === MULTIPLATFORM
  return {
    signed,
    statement,
    measurements: known ? tinfoilMeasurements(statement.predicate) : null,
  }
}

/** Null where it is none: the contract has a code of its own for that. */
function trustOf(bytes: Uint8Array): SigstoreTrust | null {
  try {
    return sigstoreTrust(parseJson(decodeUtf8(bytes)))
  } catch {
    return null
  }
}

const TRUST_ROOT_INVALID = 'TRUST_ROOT_INVALID'

const registersOf = ({ snp, rtmr1, rtmr2 }: TinfoilMeasurements) => ({
  type: MULTIPLATFORM,
  registers: [snp, rtmr1, rtmr2],
})

export const SIGSTORE: Stage = {
  name: 'verify-sigstore',
  judge: (document: JsonValue) => {
    const input = readInput(inputSchema, document)
    const trust = trustOf(input.trust_root_b64)
    if (trust === null) return Promise.resolve(rejection(TRUST_ROOT_INVALID))
    return judged(
      () => Promise.resolve().then(() => accepted(verifySigstore(trust, input), input.bundle_b64)),
      sigstoreCode,
    )
  },
}

function accepted({ signed, statement, measurements }: Released, bundle: Uint8Array): Verdict {
  return {
    accepted: true,
    outputs: {
      predicate_type: statement.predicateType,
      in_toto_statement_type: statement.statementType,
      ...(statement.subject === null ? {} : { subject_name: statement.subject }),
      subject_digest_sha256_hex: statement.artifactSha256,
      ...(measurements === null ? {} : { measurement: registersOf(measurements) }),
      cert_oidc_issuer: signed.issuer,
      cert_workflow_ref: signed.ref,
      cert_workflow_repository: signed.repository,
      ...bundleOutputs(bundle),
    },
  }
}
