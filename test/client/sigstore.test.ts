import { acceptRelease, releasePolicy, type EvidenceErrorCode } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { sigstoreTrust } from '../../client/sigstore-trust.ts'
import { verifyBundle, verifyRelease } from '../../client/sigstore.ts'
import { TEST_TIME } from '../support/clock.ts'
import { createSigstore, type BundleJson, type ReleaseFields } from '../support/sigstore.ts'

const sigstore = createSigstore()
const trustedRoot = { test_trusted_root: JSON.stringify(sigstore.trustedRoot) }
const DIGEST = 'd1'.repeat(32)

const RELEASE: ReleaseFields = {
  repository: 'acme/enclave',
  artifactSha256: DIGEST,
  predicateType: 'https://acme.example/predicate/v1',
  predicate: { measurement: 'aa' },
}

const verify = (fields: Partial<ReleaseFields> = {}, now = TEST_TIME) =>
  verifyRelease({
    trustedRoot,
    bundle: sigstore.bundle({ ...RELEASE, ...fields }),
    artifactSha256: DIGEST,
    repository: 'acme/enclave',
    now,
  })

test('a logged release of a tag is stated with its workflow, tag and time', async () => {
  expect(await verify()).toMatchObject({
    repository: 'acme/enclave',
    workflow: 'build.yml',
    tag: 'v1.0.0',
    predicateType: 'https://acme.example/predicate/v1',
    predicate: { measurement: 'aa' },
    loggedAt: TEST_TIME - 3600,
  })
})

test('digests are compared as bytes, whatever the case of their hex', async () => {
  const upper = { subject: [{ digest: { sha256: DIGEST.toUpperCase() } }] }
  expect((await verify({ statement: upper })).tag).toBe('v1.0.0')
})

const entryOf = (bundle: BundleJson) => bundle.verificationMaterial.tlogEntries[0]

/** The bundle with its only log entry changed. */
const withEntry = (change: object) => (bundle: BundleJson) => ({
  ...bundle,
  verificationMaterial: {
    ...bundle.verificationMaterial,
    tlogEntries: [{ ...entryOf(bundle), ...change }],
  },
})

const withProof = (change: object) => (bundle: BundleJson) =>
  withEntry({ inclusionProof: { ...entryOf(bundle)?.inclusionProof, ...change } })(bundle)

const withMaterial = (change: object) => (bundle: BundleJson) => ({
  ...bundle,
  verificationMaterial: { ...bundle.verificationMaterial, ...change },
})

const withEnvelope = (change: object) => (bundle: BundleJson) => ({
  ...bundle,
  dsseEnvelope: { ...bundle.dsseEnvelope, ...change },
})

const SAN = 'https://github.com/acme/enclave/.github/workflows/'

const REFUSED: readonly (readonly [string, EvidenceErrorCode, Partial<ReleaseFields>])[] = [
  ['another issuer of identities', 'sigstore_issuer_mismatch', { issuer: 'https://gitlab.com' }],
  [
    'a fork',
    'sigstore_repository_mismatch',
    { repository: 'evil/enclave', san: `${SAN}build.yml@refs/tags/v1.0.0` },
  ],
  ['no repository', 'sigstore_repository_mismatch', { repositoryExtension: null }],
  ['a branch', 'sigstore_ref_mismatch', { ref: 'refs/heads/main' }],
  ['a branch named like a tag', 'sigstore_ref_mismatch', { ref: 'refs/heads/refs/tags/v1' }],
  ['no ref', 'sigstore_ref_mismatch', { refExtension: null }],
  [
    'a workflow at another ref',
    'sigstore_workflow_mismatch',
    { san: `${SAN}build.yml@refs/heads/main` },
  ],
  [
    'a workflow of another repository',
    'sigstore_workflow_mismatch',
    { san: 'https://github.com/evil/ci/.github/workflows/build.yml@refs/tags/v1.0.0' },
  ],
  ['a workflow without a name', 'sigstore_workflow_mismatch', { san: `${SAN}@refs/tags/v1.0.0` }],
  ['a payload of another type', 'sigstore_payload_unexpected', { payloadType: 'text/plain' }],
  [
    'a statement of another version',
    'sigstore_statement_unexpected',
    { statement: { _type: 'https://in-toto.io/Statement/v9' } },
  ],
  ['no subject', 'sigstore_subject_absent', { statement: { subject: [] } }],
  ['another artifact', 'sigstore_subject_mismatch', { artifactSha256: 'd2'.repeat(32) }],
  [
    'the artifact behind another one',
    'sigstore_subject_mismatch',
    {
      statement: {
        subject: [{ digest: { sha256: 'd2'.repeat(32) } }, { digest: { sha256: DIGEST } }],
      },
    },
  ],
  ['a member too many', 'sigstore_bundle_malformed', { statement: { extra: 1 } }],
  ['another authority', 'sigstore_certificate_untrusted', { foreignAuthority: true }],
  [
    'a certificate that had expired',
    'sigstore_certificate_expired',
    { notAfter: TEST_TIME - 3601 },
  ],
  ['a certificate in no log', 'sigstore_sct_invalid', { scts: 'none' }],
  ['a certificate log that did not sign', 'sigstore_sct_invalid', { scts: 'broken' }],
  ['one certificate log twice', 'sigstore_sct_duplicate', { scts: 'twice' }],
  ['no log entry', 'sigstore_log_entry_absent', { edit: withMaterial({ tlogEntries: [] }) }],
  [
    'a log time that the log did not sign',
    'sigstore_log_entry_invalid',
    { edit: withEntry({ integratedTime: String(TEST_TIME - 3590) }) },
  ],
  [
    'a proof for another root',
    'sigstore_log_entry_invalid',
    { edit: withProof({ rootHash: 'AAAA' }) },
  ],
  [
    'a proof for another size',
    'sigstore_log_entry_invalid',
    { edit: withProof({ treeSize: '2' }) },
  ],
  [
    'a proof with too much',
    'sigstore_log_entry_invalid',
    { edit: withProof({ hashes: ['AAAA'] }) },
  ],
  [
    'an unsigned time',
    'sigstore_timestamp_absent',
    { edit: withEntry({ inclusionPromise: undefined }) },
  ],
  [
    'another statement under the signature',
    'sigstore_signature_invalid',
    { edit: withEnvelope({ payload: Buffer.from('{}').toString('base64') }) },
  ],
  ['no signature', 'sigstore_bundle_malformed', { edit: withEnvelope({ signatures: [] }) }],
  [
    'an older bundle',
    'sigstore_bundle_malformed',
    {
      edit: (bundle) => ({
        ...bundle,
        mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2',
      }),
    },
  ],
  [
    'a bare key in place of a certificate',
    'sigstore_bundle_malformed',
    { edit: withMaterial({ certificate: undefined, publicKey: { hint: 'k' } }) },
  ],
  [
    'a certificate that is none',
    'sigstore_bundle_malformed',
    { edit: withMaterial({ certificate: { rawBytes: 'AAAA' } }) },
  ],
  ['no bundle at all', 'sigstore_bundle_malformed', { edit: () => ({}) }],
]

describe('refused', () => {
  test.each(REFUSED)('%s', async (_name, code, fields) => {
    await expect(verify(fields)).rejects.toMatchObject({ code })
  })

  test('a signature that was logged after now', async () => {
    const early = TEST_TIME - 3600 - 301
    await expect(verify({}, early)).rejects.toMatchObject({
      code: 'sigstore_timestamp_implausible',
    })
    expect((await verify({}, early + 1)).tag).toBe('v1.0.0')
  })

  test('more than a mebibyte', async () => {
    const bundle = new Uint8Array((1 << 20) + 1).fill(0x20)
    await expect(
      verifyRelease({
        bundle,
        artifactSha256: DIGEST,
        repository: 'a/b',
        now: TEST_TIME,
        trustedRoot: 'public-good',
      }),
    ).rejects.toMatchObject({ code: 'sigstore_bundle_malformed' })
  })

  test('everything of a Sigstore that is not the public-good instance', async () => {
    const bundle = sigstore.bundle(RELEASE)
    await expect(
      verifyRelease({
        bundle,
        artifactSha256: DIGEST,
        repository: 'acme/enclave',
        now: TEST_TIME,
        trustedRoot: 'public-good',
      }),
    ).rejects.toMatchObject({ code: 'sigstore_certificate_untrusted' })
  })
})

test('a policy can name the kinds of statement that it wants', () => {
  const trust = sigstoreTrust(sigstore.trustedRoot)
  const signed = verifyBundle(trust, sigstore.bundle(RELEASE), TEST_TIME)
  const accept = (...predicateTypes: string[]) =>
    acceptRelease(signed, { ...releasePolicy('acme/enclave'), predicateTypes }, DIGEST)
  expect(accept(RELEASE.predicateType).tag).toBe('v1.0.0')
  expect(() => accept('https://slsa.dev/provenance/v1')).toThrow(
    expect.objectContaining({ code: 'sigstore_predicate_unexpected' }),
  )
})

test('the same log entry twice is one', async () => {
  const twice = (bundle: BundleJson) =>
    withMaterial({ tlogEntries: [entryOf(bundle), entryOf(bundle)] })(bundle)
  expect((await verify({ edit: twice })).tag).toBe('v1.0.0')
})

test.each([
  ['no document', null],
  ['an unknown format', { mediaType: 'application/json' }],
  [
    'a key that is none',
    {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [
        {
          baseUrl: 'https://x.example',
          hashAlgorithm: 'SHA2_256',
          publicKey: {
            rawBytes: 'AAAA',
            keyDetails: 'PKIX_ECDSA_P256_SHA_256',
            validFor: { start: '2020-01-01T00:00:00Z' },
          },
          logId: { keyId: 'AAAA' },
        },
      ],
    },
  ],
])('a trust root that is %s', (_name, root) => {
  expect(() => sigstoreTrust(root)).toThrow(
    expect.objectContaining({ code: 'sigstore_trust_root_malformed' }),
  )
})
