import {
  appraiseEvidence,
  encodeUtf8,
  sha256,
  TINFOIL_DOCUMENTS,
  toHex,
  type EvidenceErrorCode,
  type PolicyErrorCode,
  type ProviderPolicy,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { verifyRelease } from '../../client/sigstore.ts'
import { TEST_TIME } from '../support/clock.ts'
import { newChassis, newGpu, newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { newTlsIdentity } from '../support/pki.ts'
import { gpuEvidence, type DocumentFields } from '../support/tinfoil-document.ts'
import {
  attestationsOf,
  gpu,
  HPKE_KEY,
  hardwareRelease,
  imageRelease,
  NONCE,
  nvidia,
  policyDocument,
  policyOf,
  REGISTERS,
  REPOSITORY,
  shown,
  snp,
  TLS,
  type Shown,
} from '../support/tinfoil-world.ts'

interface Given extends Shown {
  readonly policy?: object
  readonly challenge?: string
  readonly now?: number
}

const appraise = async ({ policy = {}, challenge = NONCE, now = TEST_TIME, ...given }: Given) =>
  appraiseEvidence({
    evidence: await shown(given),
    challenge,
    now,
    policy: policyOf(policy),
    verifyRelease,
  })

const ROUTER: Given = { platform: 'sev-snp', gpus: [], policy: { gpu: 'unchecked' } }

describe('accepted', () => {
  test('a model enclave on TDX, with both of its keys and its GPU', async () => {
    const [endpoint, ...others] = await appraise({})
    expect(others).toEqual([])
    expect(endpoint.origin).toBe('https://enclave.example')
    expect(endpoint.identity).toEqual({ repository: REPOSITORY, tag: 'v1.0.0' })
    const key = Uint8Array.from(Buffer.from(HPKE_KEY, 'hex'))
    expect(endpoint.bindings).toEqual([
      { kind: 'tls-spki-sha256', digest: Uint8Array.from(Buffer.from(TLS.spkiSha256, 'hex')) },
      {
        kind: 'e2ee-public-key',
        protocol: 'ehbp-x25519',
        keyId: null,
        publicKey: key,
        digest: await sha256(key),
      },
    ])
    expect(endpoint.claims).toMatchObject({
      tee_attested: { status: 'asserted', source: 'hardware_proven' },
      gpu_attested: { status: 'asserted' },
      gpu_bound_to_cpu: { status: 'asserted' },
      os_known_good: { status: 'asserted', source: 'verifier_derived' },
      serving_software_known_good: { status: 'asserted', source: 'verifier_derived' },
      model_weights_provenance: { status: 'unknown' },
      extra: {
        evidence_scope: 'instance',
        freshness: 'client_nonce',
        gpu_binding: 'evidence-hash',
        release_repository: REPOSITORY,
        release_tag: 'v1.0.0',
        release_logged_at: TEST_TIME - 3600,
        release_trusted_root: 'test',
        hardware_platform: 'large',
      },
    })
  })

  test('a router on SEV-SNP, about whose GPUs nobody asked', async () => {
    const [endpoint] = await appraise(ROUTER)
    expect(endpoint.claims).toMatchObject({
      gpu_attested: { status: 'unknown' },
      os_known_good: { status: 'asserted' },
      extra: {
        evidence_scope: 'router',
        tee_type: 'sev-snp',
        hardware_platform: null,
        measurement: REGISTERS.snp,
      },
    })
  })

  test('GPUs with their switches, each in the document of its own', async () => {
    const chassis = newChassis(nvidia)
    const of = (arch: string) => chassis.filter((device) => device.arch === arch)
    const [endpoint] = await appraise({
      gpus: of('HOPPER'),
      bind: (fields) => ({ ...fields, nvswitch: gpuEvidence(of('LS10'), NONCE) }),
    })
    expect(endpoint.claims.extra['gpu_count']).toBe(2)
  })

  test('whichever of the wanted releases was measured', async () => {
    const other = { rtmr1: 'e1'.repeat(48), rtmr2: 'e2'.repeat(48) }
    const predicate = { snp_measurement: 'e3'.repeat(48), tdx_measurement: other }
    const images = [imageRelease({ predicate }), imageRelease({ ref: 'refs/tags/v2.0.0' })]
    const release = { ...policyDocument.release, tags: ['v1.0.0', 'v2.0.0'] }
    const [endpoint] = await appraise({ images, policy: { release } })
    expect(endpoint.claims.extra['release_tag']).toBe('v2.0.0')
  })

  test('whichever of the attestations of a release holds', async () => {
    const attestations = attestationsOf([
      encodeUtf8('{}'),
      imageRelease({ predicateType: 'https://slsa.dev/provenance/v1' }).bundle,
      imageRelease().bundle,
    ])
    const documents = { 'release/attestations/0': attestations }
    expect((await appraise({ documents }))[0].claims.extra['release_tag']).toBe('v1.0.0')
  })

  test('anything genuine where no release is asked for, and then nothing is claimed of it', async () => {
    const documents = { 'release/digest/0': null, 'release/attestations/0': null }
    const quote = { rtmr1: 'ff'.repeat(48), rtmr3: 'ff'.repeat(48) }
    const [endpoint] = await appraise({ documents, quote, policy: { release: 'any' } })
    expect(endpoint.claims).toMatchObject({
      os_known_good: { status: 'unknown' },
      serving_software_known_good: { status: 'unknown' },
      extra: { release_repository: null, release_tag: null },
    })
    expect(endpoint.identity).toEqual({})
  })

  const weights = async (config: string, cmdline: string) => {
    const image = imageRelease({
      predicate: {
        snp_measurement: REGISTERS.snp,
        tdx_measurement: { rtmr1: REGISTERS.rtmr1, rtmr2: REGISTERS.rtmr2 },
        cmdline,
        config: Buffer.from(config).toString('base64'),
      },
    })
    const [endpoint] = await appraise({ images: [image] })
    return endpoint.claims.model_weights_provenance.status
  }
  const CONFIG = `models:\n  - name: m\n    mpk: "${'ab'.repeat(32)}_1_x"\n`
  const named = async (config: string) =>
    `ro tinfoil-config-hash=${toHex(await sha256(encodeUtf8(config)))}`

  test('weights that the measured configuration names by their root', async () => {
    expect(await weights(CONFIG, await named(CONFIG))).toBe('asserted')
  })

  test('nothing of weights where the configuration is not the measured one, or names none', async () => {
    expect(await weights(CONFIG, await named('other'))).toBe('unknown')
    expect(await weights('models: []\n', await named('models: []\n'))).toBe('unknown')
  })
})

type Code = EvidenceErrorCode | PolicyErrorCode
const relayed = newTlsIdentity().spkiSha256
const bind = (change: Partial<DocumentFields>) => (fields: DocumentFields) => ({
  ...fields,
  ...change,
})
const foreignGpu = newGpu(newNvidiaVendor())
const older = { predicateType: 'https://tinfoil.sh/predicate/tdx-guest/v2' }
const wrongRegister = (name: 'rtmr1' | 'rtmr2') => ({
  predicate: {
    snp_measurement: REGISTERS.snp,
    tdx_measurement: {
      rtmr1: REGISTERS.rtmr1,
      rtmr2: REGISTERS.rtmr2,
      [name]: 'ee'.repeat(48),
    },
  },
})
const release = (changes: object) => ({ release: { ...policyDocument.release, ...changes } })
const v2 = { format: 'https://tinfoil.sh/predicate/tdx-guest/v2', body: 'H4sIAAAA' }

const REFUSED: Readonly<Record<string, readonly (readonly [string, Code, Given])[]>> = {
  'the document answers this challenge': [
    ['another challenge than the one sent', 'nonce_mismatch', { challenge: '0d'.repeat(32) }],
    ['a document for another nonce', 'nonce_mismatch', { bind: bind({ nonce: '0d'.repeat(32) }) }],
    [
      'a document for another nonce, of an enclave without GPUs',
      'nonce_mismatch',
      { ...ROUTER, bind: bind({ nonce: '0d'.repeat(32) }) },
    ],
    [
      'a document of version 2, which has no nonce',
      'tinfoil_document_unsupported',
      { edit: () => JSON.stringify(v2) },
    ],
    [
      'a document of both versions',
      'tinfoil_document_malformed',
      { edit: (text) => text.replace('{', '{"body":"H4sIAAAA",') },
    ],
    [
      'an unknown version',
      'tinfoil_document_malformed',
      { edit: (text) => text.replace('/v3"', '/v9"') },
    ],
    ['a member twice', 'json_malformed', { edit: (text) => text.replace('{', '{"gpu":null,') }],
    ['a short key', 'tinfoil_document_malformed', { bind: bind({ hpkeKey: '09'.repeat(31) }) }],
    [
      'more than a mebibyte',
      'tinfoil_document_malformed',
      { edit: (text) => text + ' '.repeat(1 << 20) },
    ],
    [
      'no document',
      'evidence_document_absent',
      { documents: { [TINFOIL_DOCUMENTS.document]: null } },
    ],
    ['no challenge', 'nonce_mismatch', { evidence: { nonce: null }, policy: { freshness: 'key' } }],
  ],
  'the CPU evidence is genuine and wanted': [
    [
      'a quote under another root',
      'certificate_root_untrusted',
      { policy: { tdx: { workload: 'any' } } },
    ],
    ['a debuggable TD', 'debug_enabled', { quote: { tdAttributes: '0100001000000000' } }],
    ['TDX where SNP is wanted', 'tee_not_accepted', { policy: { tdx: undefined } }],
    [
      'SNP where TDX is wanted',
      'tee_not_accepted',
      { ...ROUTER, policy: { snp: undefined, gpu: 'unchecked' } },
    ],
    ['a debuggable guest', 'debug_enabled', { ...ROUTER, report: { policy: '00000b0000000000' } }],
    [
      'a revoked issuer',
      'certificate_revoked',
      { ...ROUTER, documents: { 'snp/crl': snp.crl({ revoked: [0x10001] }) } },
    ],
    ['no CRL', 'snp_revocation_unknown', { ...ROUTER, documents: { 'snp/crl': null } }],
  ],
  'it commits to the keys, the challenge and the devices': [
    ['another TLS key', 'provider_keys_not_bound', { forge: bind({ tlsKey: relayed }) }],
    [
      'another key to encrypt to',
      'provider_keys_not_bound',
      { forge: bind({ hpkeKey: 'ab'.repeat(32) }) },
    ],
    [
      'GPU evidence that was written anew',
      'provider_keys_not_bound',
      { edit: (text) => text.replaceAll(', ', ',') },
    ],
    ['GPU evidence that was taken out', 'provider_keys_not_bound', { forge: bind({ gpu: null }) }],
    [
      'GPU evidence that was put in',
      'provider_keys_not_bound',
      { gpus: [], forge: bind({ gpu: gpuEvidence([gpu], NONCE) }) },
    ],
    [
      'switches that were put in',
      'provider_keys_not_bound',
      { forge: bind({ nvswitch: '{"evidences":[]}' }) },
    ],
    [
      'another key on SNP',
      'provider_keys_not_bound',
      { ...ROUTER, forge: bind({ hpkeKey: 'ab'.repeat(32) }) },
    ],
  ],
  'the connection ends in the enclave': [
    ['a relay', 'provider_channel_not_attested', { evidence: { observedSpkiSha256: relayed } }],
  ],
  'the enclave runs a wanted release': [
    ['another image', 'tinfoil_release_mismatch', { quote: { rtmr1: 'ee'.repeat(48) } }],
    ['another command line', 'tinfoil_release_mismatch', { quote: { rtmr2: 'ee'.repeat(48) } }],
    [
      'a release of another image',
      'tinfoil_release_mismatch',
      { images: [imageRelease(wrongRegister('rtmr1'))] },
    ],
    [
      'a release of another command line',
      'tinfoil_release_mismatch',
      { images: [imageRelease(wrongRegister('rtmr2'))] },
    ],
    [
      'another image on SNP',
      'tinfoil_release_mismatch',
      { ...ROUTER, report: { measurement: 'ee'.repeat(48) } },
    ],
    [
      'a register extended at run time',
      'tinfoil_rtmr3_extended',
      { quote: { rtmr3: 'ee'.repeat(48) } },
    ],
    [
      'a TD with a configuration id',
      'tinfoil_td_configured',
      { quote: { mrConfigId: 'ee'.repeat(48) } },
    ],
    ['a TD with an owner', 'tinfoil_td_configured', { quote: { mrOwner: 'ee'.repeat(48) } }],
    [
      'a TD with an owner configuration',
      'tinfoil_td_configured',
      { quote: { mrOwnerConfig: 'ee'.repeat(48) } },
    ],
    [
      'a release of a fork',
      'sigstore_repository_mismatch',
      { images: [imageRelease({ repository: 'evil/confidential-model' })] },
    ],
    [
      'a build of a branch',
      'sigstore_ref_mismatch',
      { images: [imageRelease({ ref: 'refs/heads/main' })] },
    ],
    [
      'a release of another artifact',
      'sigstore_subject_mismatch',
      { documents: { 'release/digest/0': encodeUtf8('d9'.repeat(32)) } },
    ],
    [
      'a digest that is none',
      'sigstore_subject_mismatch',
      { documents: { 'release/digest/0': encodeUtf8('latest') } },
    ],
    [
      'a statement of another kind',
      'sigstore_predicate_unexpected',
      { images: [imageRelease(older)] },
    ],
    [
      'a statement without measurements',
      'tinfoil_predicate_malformed',
      { images: [imageRelease({ predicate: {} })] },
    ],
    [
      'a tag that is not expected',
      'release_not_expected',
      { policy: release({ tags: ['v2.0.0'] }) },
    ],
    [
      'a release under another Sigstore',
      'sigstore_certificate_untrusted',
      { policy: release({ trusted_root: 'public-good' }) },
    ],
    ['no release', 'evidence_document_absent', { images: [] }],
    ...(
      [
        ['os_image_not_expected', { os_image_hash: ['11'.repeat(32)] }],
        ['compose_not_expected', { compose_hash: ['11'.repeat(32)] }],
        ['app_not_expected', { app_id: ['11'.repeat(20)] }],
        ['key_provider_not_expected', { key_provider_id: ['1111'] }],
      ] as const
    ).map(([code, launch]) => ['no launch of dstack', code, { policy: { launch } }] as const),
    [
      'a release that is not logged',
      'evidence_document_absent',
      { documents: { 'release/attestations/0': null } },
    ],
    [
      'an answer without attestations',
      'sigstore_bundle_malformed',
      { documents: { 'release/attestations/0': encodeUtf8('{"attestations":[]}') } },
    ],
  ],
  'the hardware is of a released platform': [
    ['another firmware', 'tinfoil_hardware_unknown', { quote: { mrtd: 'ee'.repeat(48) } }],
    ['another machine', 'tinfoil_hardware_unknown', { quote: { rtmr0: 'ee'.repeat(48) } }],
    [
      'the firmware of one and the machine of another',
      'tinfoil_hardware_unknown',
      { quote: { mrtd: 'b0'.repeat(48) } },
    ],
    [
      'a list by somebody else',
      'sigstore_repository_mismatch',
      { hardware: [hardwareRelease({ repository: REPOSITORY })] },
    ],
    [
      'an image in place of the list',
      'sigstore_predicate_unexpected',
      { hardware: [hardwareRelease(older)] },
    ],
    [
      'a list that states none',
      'tinfoil_predicate_malformed',
      { hardware: [hardwareRelease({ predicate: { small: {} } })] },
    ],
    ['no list', 'evidence_document_absent', { hardware: [] }],
  ],
  'the GPUs are genuine, wanted and bound': [
    ['none where some are wanted', 'gpu_evidence_count', { gpus: [] }],
    ['one of another maker', 'certificate_root_untrusted', { gpus: [foreignGpu] }],
    [
      'more than are expected',
      'gpu_count_not_expected',
      { policy: { gpu: { ...policyDocument.gpu, gpu_count: 8 } } },
    ],
    [
      'an answer to another nonce',
      'nonce_mismatch',
      { bind: bind({ gpu: gpuEvidence([gpu], '0d'.repeat(32)) }) },
    ],
  ],
}

describe.each(Object.entries(REFUSED))('refused, because %s', (_step, cases) => {
  test.each(cases)('%s', async (_name, code, given) => {
    await expect(appraise(given)).rejects.toMatchObject({ code })
  })
})

test('without a verifier of releases nothing is accepted that needs one', async () => {
  const evidence = await shown()
  const policy: ProviderPolicy = policyOf()
  await expect(
    appraiseEvidence({ evidence, challenge: NONCE, now: TEST_TIME, policy }),
  ).rejects.toMatchObject({ code: 'release_verifier_absent', kind: 'unsupported' })
})

test('kept evidence is judged again to the same end', async () => {
  const evidence = await shown()
  const [endpoint] = await appraiseEvidence({
    evidence,
    challenge: 'recorded',
    now: 'recorded',
    policy: policyOf(),
    verifyRelease,
  })
  expect(endpoint.verifiedAt).toBe(TEST_TIME)
})

test('evidence expires with the first document that does', async () => {
  const [endpoint] = await appraise({})
  await expect(appraise({ now: endpoint.expiresAt + 1 })).rejects.toMatchObject({
    code: 'crl_not_valid_now',
  })
})
