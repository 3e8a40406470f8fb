import {
  acceptRelease,
  decodeUtf8,
  EvidenceError,
  parseJson,
  releasePolicy,
  type Bytes,
  type EvidenceErrorCode,
  type SignedStatement,
  type SigstoreRoot,
  type UnixSeconds,
  type VerifyRelease,
} from '@vouchgate/attestation'
import {
  bundleFromJSON,
  isBundleWithDsseEnvelope,
  BUNDLE_V03_MEDIA_TYPE,
  type BundleWithDsseEnvelope,
  type Bundle,
  type TransparencyLogEntry,
} from '@sigstore/bundle'
import {
  toSignedEntity,
  VerificationError,
  Verifier,
  type SignedEntity,
  type Signer,
} from '@sigstore/verify'
import { X509Certificate, type KeyObject } from 'node:crypto'
import { PUBLIC_GOOD_TRUST, sigstoreTrust, type SigstoreTrust } from './sigstore-trust.ts'

const MAX_BUNDLE = 1 << 20
/** Whoever signs, one log and one clock have seen it, and one log its certificate. */
const THRESHOLDS = { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 } as const
/** Clocks of a log and of the verifier may differ by this much. */
const SKEW = 300

/** Extensions of a Fulcio certificate whose values are the bare text (fulcio docs/oid-info.md). */
const REPOSITORY_OID = '1.3.6.1.4.1.57264.1.5'
const REF_OID = '1.3.6.1.4.1.57264.1.6'

/** Verifies releases under the public-good instance of Sigstore, or under one of a test's own. */
export const verifyRelease: VerifyRelease = async ({
  bundle,
  artifactSha256,
  repository,
  now,
  trustedRoot,
}) => {
  const signed = verifyBundle(trustOf(trustedRoot), bundle, now)
  return acceptRelease(signed, releasePolicy(repository), artifactSha256)
}

const trustOf = (root: SigstoreRoot): SigstoreTrust =>
  root === 'public-good' ? PUBLIC_GOOD_TRUST : sigstoreTrust(parseJson(root.test_trusted_root))

/** Checks everything that needs no policy. Throws `sigstore_*`. */
export function verifyBundle(
  trust: SigstoreTrust,
  bytes: Bytes,
  now: UnixSeconds,
): SignedStatement {
  const bundle = parseBundle(bytes)
  const { payloadType, payload } = bundle.content.dsseEnvelope
  const { tlogEntries } = bundle.verificationMaterial
  if (tlogEntries.length === 0) throw new EvidenceError('sigstore_log_entry_absent')
  const { signer, times } = verifySignature(trust, bundle)
  const loggedAt = Math.min(...times)
  // A log that has seen the future has not seen this signature.
  if (loggedAt > now + SKEW) throw new EvidenceError('sigstore_timestamp_implausible')
  return {
    issuer: signer.identity?.extensions?.issuer ?? null,
    subjectAlternativeName: signer.identity?.subjectAlternativeName ?? null,
    repository: extensionOf(signer, REPOSITORY_OID),
    ref: extensionOf(signer, REF_OID),
    payloadType,
    payload: Uint8Array.from(payload),
    loggedAt,
  }
}

/** The library's errors quote the input, so they are dropped, not chained. */
function parseBundle(bytes: Bytes): BundleWithDsseEnvelope {
  if (bytes.length > MAX_BUNDLE) throw new EvidenceError('sigstore_bundle_malformed')
  const json = parseJson(decodeUtf8(bytes))
  let bundle: Bundle
  try {
    bundle = bundleFromJSON(json)
  } catch {
    throw new EvidenceError('sigstore_bundle_malformed')
  }
  // Older bundles bring a chain that nobody asked for, or no proof that the log has the entry.
  if (bundle.mediaType !== BUNDLE_V03_MEDIA_TYPE || !isBundleWithDsseEnvelope(bundle)) {
    throw new EvidenceError('sigstore_bundle_malformed')
  }
  return bundle
}

/** The same entry twice is one entry; the library refuses what it could count twice. */
function withoutRepeats(entity: SignedEntity): SignedEntity {
  const all = entity.tlogEntries
  const tlogEntries = all.filter(
    (entry, at) => all.findIndex((other) => isSameEntry(entry, other)) === at,
  )
  const timestamps = entity.timestamps.filter(
    (each) => each.$case !== 'transparency-log' || tlogEntries.includes(each.tlogEntry),
  )
  return { ...entity, tlogEntries, timestamps }
}

const isSameEntry = (left: TransparencyLogEntry, right: TransparencyLogEntry): boolean =>
  left.logId.keyId.equals(right.logId.keyId) &&
  left.canonicalizedBody.equals(right.canonicalizedBody)

/** The library reads the root from the log's signed checkpoint. A proof that states another one is not of this tree. */
function checkRoot({ inclusionProof: proof }: TransparencyLogEntry): void {
  const [, size, root] = proof?.checkpoint?.envelope.split('\n', 3) ?? []
  if (proof?.treeSize !== size || proof?.rootHash.toString('base64') !== root) {
    throw new EvidenceError('sigstore_log_entry_invalid')
  }
}

function verifySignature(trust: SigstoreTrust, bundle: BundleWithDsseEnvelope) {
  try {
    const entity = withoutRepeats(toSignedEntity(bundle))
    for (const entry of entity.tlogEntries) checkRoot(entry)
    // Ahead of the rest, which would name a broken signature after the log entry that it does not fit.
    const key = leafKey(bundle)
    if (key === null) throw new EvidenceError('sigstore_bundle_malformed')
    if (!entity.signature.verifySignature(key)) {
      throw new EvidenceError('sigstore_signature_invalid')
    }
    const signer = new Verifier(trust, THRESHOLDS).verify(entity)
    const times = entity.timestamps.flatMap((each): number[] => {
      if (each.$case === 'timestamp-authority') {
        return [Math.floor(each.timestamp.signingTime.getTime() / 1000)]
      }
      // Without the log's signed promise its time is only what the bundle says.
      return each.tlogEntry.inclusionPromise === undefined
        ? []
        : [Number(each.tlogEntry.integratedTime)]
    })
    return { signer, times }
  } catch (error) {
    if (error instanceof EvidenceError) throw error
    // What is not the library's own refusal is its parser's: it met bytes that it cannot read.
    throw new EvidenceError(
      error instanceof VerificationError ? codeOf(error) : 'sigstore_bundle_malformed',
    )
  }
}

/** The library names all that can be wrong with a certificate alike; its words only choose between our codes. */
function codeOf(error: VerificationError): EvidenceErrorCode {
  if (error.code.startsWith('TLOG_')) return 'sigstore_log_entry_invalid'
  if (error.code === 'TIMESTAMP_ERROR') return 'sigstore_timestamp_absent'
  if (error.code === 'SIGNATURE_ERROR') return 'sigstore_signature_invalid'
  if (error.message === 'duplicate SCT') return 'sigstore_sct_duplicate'
  if (error.message.includes('SCT')) return 'sigstore_sct_invalid'
  const cause: unknown = error.cause
  return cause instanceof Error && cause.message.includes('expired')
    ? 'sigstore_certificate_expired'
    : 'sigstore_certificate_untrusted'
}

/** Null where the bundle names a key in place of a certificate: nobody vouches for who holds it. */
const leafKey = ({ verificationMaterial }: BundleWithDsseEnvelope): KeyObject | null =>
  verificationMaterial.content.$case === 'certificate'
    ? new X509Certificate(verificationMaterial.content.certificate.rawBytes).publicKey
    : null

function extensionOf(signer: Signer, oid: string): string | null {
  const found = signer.identity?.oids?.find((each) => each.oid?.id.join('.') === oid)
  return found === undefined ? null : found.value.toString('utf8')
}
