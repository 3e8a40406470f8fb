import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { hasVectors, vectorPath } from '../support/vectors.ts'
import { jsonOf, vouchgate } from './console.ts'

const folder = mkdtempSync(join(tmpdir(), 'appraise-tinfoil-'))
afterAll(() => rmSync(folder, { recursive: true }))

let policies = 0
function policyFile(policy: object): readonly string[] {
  const path = join(folder, `policy-${++policies}.yaml`)
  writeFileSync(path, JSON.stringify(policy))
  return ['--policy', path]
}

const appraise = async (capture: readonly string[], options: readonly string[] = []) => {
  const argv = ['appraise', '--capture', vectorPath(...capture), '--json', ...options]
  const outcome = await vouchgate(argv)
  return { exit: outcome.exit, json: jsonOf(outcome) }
}

const ROUTER = ['providers', 'teep-tinfoil_v3_cloud_llama3-3-70b_20260629_021249']
const MODEL = ['blind', 'providers', 'p3']

/** Everything that an enclave of Tinfoil must show, as far as captures hold it. */
const STRICT = {
  tdx: {
    workload: 'any',
    tee: { attributes: { value: '0000001000000000', mask: 'ffffffffffffffff' } },
    tcb: { min_evaluation_data_number: 18 },
  },
  gpu: { judge: 'nras', firmware_id: 'if-reported', gpu_count: 1 },
  gpu_binding: 'strong',
  release: { repository: 'tinfoilsh/confidential-gemma4-31b', tags: ['v0.0.18'] },
}
const SNP = {
  min_tcb: {
    Milan: 'reject',
    Genoa: { bootloader: 7, tee: 0, snp: 14, microcode: 72 },
    Turin: 'reject',
  },
  measurement: 'any',
  revocation: 'any',
}
const STRICT_ROUTER = {
  snp: SNP,
  gpu: 'unchecked',
  release: { repository: 'tinfoilsh/confidential-model-router', tags: ['v0.0.110'] },
}

describe.skipIf(!hasVectors)('recorded enclaves of Tinfoil', () => {
  test('a router, whose release was recorded', async () => {
    const { exit, json } = await appraise(ROUTER)
    expect(exit).toBe(0)
    expect(json).toMatchObject({
      provider: 'tinfoil',
      accepted: true,
      nonceFresh: true,
      tcbStatus: null,
      gpus: 0,
      claims: {
        tee_attested: { status: 'asserted', source: 'hardware_proven' },
        gpu_attested: { status: 'unknown' },
        os_known_good: { status: 'asserted', source: 'verifier_derived' },
      },
      channelBinding: [
        { type: 'tls_spki_sha256' },
        { type: 'e2ee_public_key_sha256', algorithm: 'ehbp-x25519' },
      ],
      extra: {
        release_repository: 'tinfoilsh/confidential-model-router',
        release_tag: 'v0.0.110',
        release_trusted_root: 'public-good',
        trusted_root: 'amd',
      },
    })
  })

  test('a model enclave with one GPU, its release, its weights and its hardware', async () => {
    const { exit, json } = await appraise(MODEL)
    expect(exit).toBe(0)
    expect(json).toMatchObject({
      accepted: true,
      tcbStatus: 'UpToDate',
      gpus: 1,
      claims: {
        gpu_attested: { status: 'asserted' },
        gpu_bound_to_cpu: { status: 'asserted' },
        model_weights_provenance: { status: 'asserted', source: 'verifier_derived' },
      },
      extra: {
        gpu_binding: 'evidence-hash',
        release_tag: 'v0.0.18',
        hardware_platform: 'medium_2d_new',
      },
    })
  })

  test('under a policy that names what it wants', async () => {
    expect((await appraise(MODEL, policyFile(STRICT))).json).toMatchObject({ accepted: true })
    expect((await appraise(ROUTER, policyFile(STRICT_ROUTER))).json).toMatchObject({
      accepted: true,
    })
  })

  test.each([
    [
      'another repository',
      { repository: 'tinfoilsh/confidential-model-router' },
      'sigstore_repository_mismatch',
    ],
    [
      'another tag',
      { repository: 'tinfoilsh/confidential-gemma4-31b', tags: ['v0.0.19'] },
      'release_not_expected',
    ],
  ])('not under one that wants %s', async (_name, release, code) => {
    const { exit, json } = await appraise(MODEL, policyFile({ ...STRICT, release }))
    expect(exit).toBe(10)
    expect(json).toMatchObject({ accepted: false, tcbStatus: 'UpToDate', error: { code } })
  })

  const OTHERS = [
    ...(hasVectors ? readdirSync(vectorPath('providers')) : [])
      .filter((name) => name.startsWith('teep-tinfoil') && name !== ROUTER[1])
      .map((name) => ['providers', name]),
    ['blind', 'providers', 'p4'],
  ]

  test.each(OTHERS)(
    '%s %s %s holds, and nothing is claimed of a release that was not recorded',
    async (...capture) => {
      const { exit, json } = await appraise(capture)
      expect(exit).toBe(0)
      expect(json).toMatchObject({
        accepted: true,
        nonceFresh: true,
        claims: { os_known_good: { status: 'unknown' } },
        extra: { release_repository: null },
      })
    },
  )

  test('captures of enclaves were found', () => {
    expect(OTHERS.length).toBeGreaterThanOrEqual(4)
  })
})
