import type { JsonValue } from '@vouchgate/attestation'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { TEST_TIME } from '../support/clock.ts'
import { createSigstore, GITHUB_ISSUER, type ReleaseFields } from '../support/sigstore.ts'
import { hasVectors, vectorCases, vectorText } from '../support/vectors.ts'
import { jsonOf, vouchgate } from './console.ts'

const conform = async (stage: string, input: string) => {
  const outcome = await vouchgate(['conformance', stage], {
    stdin: () => Readable.from([Buffer.from(input)]),
  })
  return { exit: outcome.exit, json: jsonOf(outcome) }
}

const sigstore = createSigstore()
const DIGEST = 'd1'.repeat(32)
const TYPE = 'https://tinfoil.sh/predicate/snp-tdx-multiplatform/v1'
const [SNP, RTMR1, RTMR2] = ['a1'.repeat(48), 'a2'.repeat(48), 'a3'.repeat(48)]
const encoded = (value: Uint8Array | string): string => Buffer.from(value).toString('base64')

const sigstoreInput = (
  release: Partial<ReleaseFields> = {},
  changes: Record<string, JsonValue> = {},
) => ({
  schema_version: '1',
  bundle_b64: encoded(
    sigstore.bundle({
      repository: 'acme/enclave',
      artifactSha256: DIGEST,
      predicateType: TYPE,
      predicate: { snp_measurement: SNP, tdx_measurement: { rtmr1: RTMR1, rtmr2: RTMR2 } },
      ...release,
    }),
  ),
  expected_digest_sha256_hex: DIGEST,
  repo: 'acme/enclave',
  policy: {
    oidc_issuer: GITHUB_ISSUER,
    workflow_ref_prefix: 'refs/tags/',
    payload_type: 'application/vnd.in-toto+json',
  },
  trust_root_b64: encoded(JSON.stringify(sigstore.trustedRoot)),
  verification_time_unix: TEST_TIME,
  ...changes,
})

const sign = async (release?: Partial<ReleaseFields>, changes?: Record<string, JsonValue>) =>
  conform('verify-sigstore', JSON.stringify(sigstoreInput(release, changes)))

describe('verify-sigstore', () => {
  test('shows what was signed, by whom and where it was logged', async () => {
    const { exit, json } = await sign()
    expect(exit).toBe(0)
    expect(json).toMatchObject({
      stage: 'verify-sigstore',
      accepted: true,
      outputs: {
        predicate_type: TYPE,
        subject_name: 'deployment.json',
        subject_digest_sha256_hex: DIGEST,
        measurement: { type: TYPE, registers: [SNP, RTMR1, RTMR2] },
        cert_oidc_issuer: GITHUB_ISSUER,
        cert_workflow_ref: 'refs/tags/v1.0.0',
        cert_workflow_repository: 'acme/enclave',
        cert_workflow_signer_uri: '',
        rekor_integrated_time_unix: TEST_TIME - 3600,
        tlog_entry_count: 1,
        sct_count: 1,
      },
    })
  })

  test('has no measurement where another kind of statement was signed', async () => {
    const { json } = await sign({ predicateType: 'https://slsa.dev/provenance/v1' })
    expect(json).toMatchObject({
      accepted: true,
      outputs: expect.not.objectContaining({ measurement: {} }),
    })
  })

  test.each([
    ['FULCIO_CHAIN_INVALID', { foreignAuthority: true }],
    ['CERT_EXPIRED', { notAfter: TEST_TIME - 3601 }],
    ['SCT_INSUFFICIENT', { scts: 'none' }],
    ['SCT_DUPLICATE_LOG', { scts: 'twice' }],
    ['OIDC_ISSUER_MISMATCH', { issuer: 'https://gitlab.example' }],
    ['WORKFLOW_REPOSITORY_MISMATCH', { repository: 'evil/enclave' }],
    ['WORKFLOW_REF_PREFIX_MISMATCH', { ref: 'refs/heads/main' }],
    ['PREDICATE_MEASUREMENT_INVALID', { predicate: {} }],
    ['BUNDLE_MALFORMED', { edit: () => [] }],
  ] as const)('%s', async (code, release) => {
    const { exit, json } = await sign(release)
    expect(exit).toBe(10)
    expect(json).toMatchObject({ accepted: false, rejection: { code } })
  })

  test.each([
    ['no trust root', 10, { trust_root_b64: encoded('{') }],
    ['a lower threshold', 0, { policy: { ...sigstoreInput().policy, sct_min: 0 } }],
    ['a higher one', 30, { policy: { ...sigstoreInput().policy, sct_min: 2 } }],
    ['an unknown member', 30, { more: 1 }],
  ])('%s: exit %d', async (_name, exit, changes) => {
    expect((await sign({}, changes)).exit).toBe(exit)
  })
})

const measurement = (type: string, ...registers: string[]) => ({
  type: `https://tinfoil.sh/predicate/${type}`,
  registers,
})
const RELEASED = measurement('snp-tdx-multiplatform/v1', SNP, RTMR1, RTMR2)
const tdx = (rtmr3: string) => measurement('tdx-guest/v2', SNP, SNP, RTMR1, RTMR2, rtmr3)

test.each([
  ['accepts', RELEASED, tdx('0'.repeat(96)), null],
  ['accepts from the other side', tdx('0'.repeat(96)), RELEASED, null],
  ['refuses', RELEASED, tdx('1'.repeat(96)), 'MEASUREMENT_RTMR3_NONZERO'],
  ['refuses', RELEASED, measurement('sev-snp-guest/v2', RTMR1), 'MEASUREMENT_MISMATCH'],
  ['refuses', measurement('other/v1', SNP), RELEASED, 'MEASUREMENT_TYPE_UNKNOWN'],
  ['refuses', measurement('tdx-guest/v2', SNP), RELEASED, 'MEASUREMENT_REGISTER_COUNT_INVALID'],
  [
    'refuses',
    tdx('0'.repeat(96)),
    measurement('sev-snp-guest/v2', SNP),
    'MEASUREMENT_TYPE_COMBINATION_UNSUPPORTED',
  ],
])('verify-measurement %s', async (_name, source, target, code) => {
  const input = JSON.stringify({ schema_version: '1', source, target })
  const { exit, json } = await conform('verify-measurement', input)
  expect(exit).toBe(code === null ? 0 : 10)
  expect(json).toMatchObject(code === null ? { accepted: true } : { rejection: { code } })
})

test.each([
  [tdx('0'.repeat(96)), 'here', null],
  [tdx('0'.repeat(96)), 'elsewhere', 'HARDWARE_NO_MATCH'],
  [RELEASED, 'here', 'ENCLAVE_MEASUREMENT_TYPE_INVALID'],
  [measurement('tdx-guest/v2', SNP), 'here', 'ENCLAVE_REGISTER_COUNT_INVALID'],
])('verify-hardware-measurements %#', async (enclave, where, code) => {
  const known = { id: 'known', mrtd: SNP.toUpperCase(), rtmr0: where === 'here' ? SNP : RTMR1 }
  const input = {
    schema_version: '1',
    enclave_measurement: enclave,
    hardware_measurements: [known],
  }
  const { exit, json } = await conform('verify-hardware-measurements', JSON.stringify(input))
  expect(exit).toBe(code === null ? 0 : 10)
  expect(json).toMatchObject(
    code === null
      ? { outputs: { matched_id: 'known', matched_mrtd: SNP } }
      : { rejection: { code } },
  )
})

test.each([
  ['1a'.repeat(32), 0, { outputs: { tls_fingerprint_hex: '0b'.repeat(32) } }],
  ['0b'.repeat(32), 10, { rejection: { code: 'EHBP_KEY_BINDING_MISMATCH' } }],
  ['1a'.repeat(33), 30, { error: { code: 'conformance_input_malformed' } }],
])('verify-ehbp-key-binding %#', async (offered, exit, want) => {
  const input = {
    schema_version: '1',
    report_data_hex: '0b'.repeat(32) + '1a'.repeat(32),
    offered_hpke_public_key_hex: offered,
  }
  const outcome = await conform('verify-ehbp-key-binding', JSON.stringify(input))
  expect(outcome.exit).toBe(exit)
  expect(outcome.json).toMatchObject(want)
})

describe('verify-full', () => {
  const full = (input: object) =>
    conform('verify-full', JSON.stringify({ schema_version: '1', ...input }))

  test.each([
    [{ mode: 'standard' }, 'verify-full', 'BUNDLE_MALFORMED'],
    [{ mode: 'pinned' }, 'verify-full', 'BUNDLE_MALFORMED'],
    [{ mode: 'pinned', pinned_measurement: RELEASED }, 'verify-full', 'BUNDLE_MALFORMED'],
  ])('says which stage refused: %#', async (input, stage, code) => {
    const { exit, json } = await full(input)
    expect(exit).toBe(10)
    expect(json).toMatchObject({ stage: 'verify-full', rejection: { stage, code } })
  })

  test('a refusal of a part is told under the name of its stage', async () => {
    const { schema_version: _, ...part } = sigstoreInput({ ref: 'refs/heads/main' })
    const { json } = await full({ mode: 'standard', sigstore: part })
    expect(json).toMatchObject({
      rejection: { stage: 'verify-sigstore', code: 'WORKFLOW_REF_PREFIX_MISMATCH' },
    })
  })
})

describe.skipIf(!hasVectors)('verify-ehbp-key-binding, the published cases', () => {
  const FOLDER = 'conformance/ehbp-key-binding'
  test.each(vectorCases(FOLDER, '', ['input.json', 'manifest.yaml']))('%s', async (name) => {
    const wanted = /exit_code: (\d+)/.exec(vectorText(FOLDER, name, 'manifest.yaml'))?.[1]
    const { exit } = await conform(
      'verify-ehbp-key-binding',
      vectorText(FOLDER, name, 'input.json'),
    )
    expect(exit).toBe(Number(wanted))
  })

  test('5 cases were found', () => {
    expect(vectorCases(FOLDER, '', ['input.json'])).toHaveLength(5)
  })
})
