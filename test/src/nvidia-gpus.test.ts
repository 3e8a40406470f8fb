import {
  NVIDIA_DOCUMENTS,
  parseGpuPolicy,
  parseProviderPolicy,
  parseGpuEvidence,
  rimIds,
  verifyGpuEvidence,
  type Bytes,
  type GenuineQuote,
  type GpuBindingRule,
  type ProviderPolicy,
} from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { acceptGpus } from '../../attestation/providers/gpus.ts'
import { nvidiaDocuments } from '../../src/nvidia/gpus.ts'
import { nvidiaSources } from '../../src/nvidia/sources.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { verifyQuote, testPkiRoot } from '@vouchgate/attestation'
import { fakeClock, TEST_TIME, type FakeClock } from '../support/clock.ts'
import {
  evidenceList,
  newChassis,
  newGpu,
  newNvidiaVendor,
  type SimulatedDevice,
} from '../support/nvidia-gpu.ts'
import { startNras, type FakeNras } from '../support/nvidia-nras-service.ts'
import { pairs384 } from '../support/nvidia-ocsp.ts'
import { newRimVendor, RIMS } from '../support/nvidia-rim.ts'
import {
  startOcspResponder,
  startRimService,
  type FakeOcspResponder,
  type FakeRimService,
} from '../support/nvidia-services.ts'
import { UPSTREAM_SECRET, configFile, readConfig } from './harness.ts'

const vendor = newNvidiaVendor()
const rimVendor = newRimVendor(vendor.pki)
const tee = createTeeVendor()
const nonce = new Uint8Array(32).fill(9)
const gpu = newGpu(vendor)
const chassis = newChassis(vendor, 2, 1)
const devices = [gpu, ...chassis]

let clock: FakeClock
let rim: FakeRimService
let ocsp: FakeOcspResponder
let nras: FakeNras

/** The reference values that the devices of this test run on, under the names NVIDIA gives them. */
async function manifests(): Promise<Map<string, Uint8Array>> {
  const evidence = parseGpuEvidence(evidenceList(devices, nonce))
  const { roots } = vendor.pki
  const genuine = await verifyGpuEvidence({ evidence, nonce, now: TEST_TIME, roots })
  const found = new Map<string, Uint8Array>()
  for (const { id, slot } of genuine.devices.flatMap(rimIds)) {
    const fields =
      slot === 'driver' ? RIMS.hopperDriver : slot === 'vbios' ? RIMS.hopperVbios : RIMS.nvswitch
    found.set(id, new TextEncoder().encode(rimVendor.rim({ fields: { ...fields, tagId: id } })))
  }
  return found
}

beforeEach(async () => {
  clock = fakeClock()
  rim = await startRimService(await manifests())
  const pairs = [
    ...devices.flatMap(({ chain }) => pairs384(chain.certificates).slice(1)),
    ...pairs384(rimVendor.chain),
  ]
  ocsp = await startOcspResponder(pairs, clock)
  nras = await startNras(clock, vendor.pki.roots)
})
afterEach(async () => {
  await Promise.all([rim.close(), ocsp.close(), nras.close()])
})

const trusted_root = () => ({
  test_pki: {
    device_pem: vendor.pki.deviceRoot.pem,
    rim_pem: vendor.pki.rimRoot.pem,
    nras_authorities: [nras.authority.spkiSha256],
  },
})
const policyOf = (rules: object = {}): ProviderPolicy =>
  parseProviderPolicy({
    tdx: { workload: 'any' },
    gpu: { trusted_root: trusted_root(), ...rules },
  })

async function collected(
  policy: ProviderPolicy,
  shown: readonly SimulatedDevice[] = [gpu],
  asked: Bytes = nonce,
) {
  const config = await configWith(policy)
  const sources = await nvidiaSources(config, { timeoutMs: 5000, clock, random: randomBytes })
  const json = evidenceList(shown, nonce)
  return nvidiaDocuments(sources)({ json, nonce: asked, policy: policy.gpu })
}

/** A configuration whose one provider judges GPUs by this policy. */
async function configWith(policy: ProviderPolicy) {
  const origin = 'https://127.0.0.1:1'
  const urls = { model: origin, backup: origin, plain: 'http://127.0.0.1:1' }
  const config = readConfig(
    configFile(tee, { ...urls, plainBackup: urls.plain, pcs: urls.plain, rootCrl: urls.plain }),
  )
  const providers = new Map(
    [...config.providers].map(([id, provider]) => [
      id,
      provider.kind === 'openai' ? provider : { ...provider, policy },
    ]),
  )
  const nvidia = { rim_url: rim.url, ocsp_url: ocsp.url, nras_url: nras.url }
  return { ...config, providers, nvidia }
}

async function quote(reportData: Uint8Array): Promise<GenuineQuote> {
  const made = await tee.quote({ reportData })
  return verifyQuote({
    quote: made,
    collateral: tee.collateral(),
    now: TEST_TIME,
    trustedRoot: await testPkiRoot(tee.rootPem),
  })
}

const SHARED: GpuBindingRule = { kind: 'shared-nonce' }

async function accepted(
  policy: ProviderPolicy,
  documents: readonly (readonly [string, Bytes])[],
  shown: readonly SimulatedDevice[] = [gpu],
) {
  const reportData = Buffer.concat([new Uint8Array(32), nonce])
  const question = {
    json: evidenceList(shown, nonce),
    nonce,
    cpu: await quote(reportData),
    rule: SHARED,
  }
  const evidence = {
    kind: 'near-direct' as const,
    collectedAt: TEST_TIME,
    origin: 'https://a.example',
    model: null,
    nonce: null,
    observedSpkiSha256: null,
    documents: new Map(documents),
  }
  return acceptGpus(question, { evidence, now: clock.now(), policy })
}

const names = (documents: readonly (readonly [string, Bytes])[]): string[] =>
  [...new Set(documents.map(([name]) => name.replace(/\/\d+$/, '')))].toSorted()

describe('judged here', () => {
  test('reference values and revocation are fetched, and the GPU is accepted by them', async () => {
    const policy = policyOf()
    const documents = await collected(policy)
    expect(names(documents)).toEqual([NVIDIA_DOCUMENTS.ocsp, NVIDIA_DOCUMENTS.rim])
    const bound = await accepted(policy, documents)
    expect(bound?.gpus).toMatchObject({ measurements: 'match', revocation: 'checked' })
    expect(bound?.binding.kind).toBe('shared-nonce')
    expect(nras.requests).toEqual([])
  })

  test('a machine with switches asks for theirs as well', async () => {
    const policy = policyOf()
    const documents = await collected(policy, chassis)
    expect(rim.requests.some((line) => line.includes('NV_SWITCH_BIOS'))).toBe(true)
    const bound = await accepted(policy, documents, chassis)
    expect(bound?.gpus.platform.gpus).toBe(2)
  })

  test('nothing is fetched that the policy does not look at', async () => {
    const documents = await collected(
      policyOf({ measurements: 'unchecked', revocation: 'unchecked' }),
    )
    expect(documents).toEqual([])
    expect([...rim.requests, ...ocsp.requests, ...nras.requests]).toEqual([])
  })

  test('reference values that are kept out are missed', async () => {
    const policy = policyOf()
    const documents = await collected(policy)
    const without = documents.filter(([name]) => !name.startsWith(NVIDIA_DOCUMENTS.rim))
    await expect(accepted(policy, without)).rejects.toMatchObject({ code: 'gpu_rim_unavailable' })
  })

  test('OCSP responses that are kept out are missed', async () => {
    const policy = policyOf()
    const documents = await collected(policy)
    const without = documents.filter(([name]) => !name.startsWith(NVIDIA_DOCUMENTS.ocsp))
    await expect(accepted(policy, without)).rejects.toMatchObject({ code: 'ocsp_missing' })
  })

  test('reference values under a root that no policy names are not held', async () => {
    const other = newRimVendor(newNvidiaVendor().pki)
    for (const id of rim.documents.keys()) {
      rim.documents.set(id, new TextEncoder().encode(other.rim({ fields: { tagId: id } })))
    }
    await expect(collected(policyOf())).rejects.toMatchObject({
      code: 'certificate_root_untrusted',
    })
  })
})

describe('judged by NVIDIA', () => {
  test('its word is kept with the keys that signed it', async () => {
    const policy = policyOf({ judge: 'nras' })
    const documents = await collected(policy, chassis)
    expect(names(documents)).toEqual([
      'nvidia/nras-gpu',
      'nvidia/nras-gpu-keys',
      'nvidia/nras-switch',
      'nvidia/nras-switch-keys',
    ])
    const bound = await accepted(policy, documents, chassis)
    expect(bound?.gpus.judge).toBe('nras')
    expect([...rim.requests, ...ocsp.requests]).toEqual([])
  })

  test('keys that nobody pinned are not believed', async () => {
    const policy = policyOf({ judge: 'nras' })
    const documents = await collected(policy)
    const { pki } = vendor
    const elsewhere = parseGpuPolicy({
      judge: 'nras',
      trusted_root: {
        test_pki: { device_pem: pki.deviceRoot.pem, rim_pem: pki.rimRoot.pem },
      },
    })
    await expect(accepted({ ...policy, gpu: elsewhere }, documents)).rejects.toMatchObject({
      code: 'nras_key_unpinned',
    })
  })

  test('an answer about other devices says nothing', async () => {
    const policy = policyOf({ judge: 'nras' })
    const documents = await collected(policy)
    const other = new Uint8Array(32).fill(3)
    const about = await nvidiaDocuments(
      await nvidiaSources(await configWith(policy), {
        timeoutMs: 5000,
        clock,
        random: randomBytes,
      }),
    )({ json: evidenceList([gpu], other), nonce: other, policy: policy.gpu })
    expect(names(about)).toEqual(names(documents))
    await expect(accepted(policy, about)).rejects.toMatchObject({
      code: 'gpu_nras_verdict_missing',
    })
    const both = [...about, ['nvidia/nras-gpu/1', documents[0]?.[1] ?? new Uint8Array()] as const]
    expect((await accepted(policy, both))?.gpus.judge).toBe('nras')
  })
})

test('devices that are not genuine are shown to nobody', async () => {
  const asked = new Uint8Array(32)
  await expect(collected(policyOf(), [gpu], asked)).rejects.toMatchObject({
    code: 'nonce_mismatch',
  })
  expect([...rim.requests, ...ocsp.requests, ...nras.requests]).toEqual([])
})

test('a policy that does not look at GPUs asks for nothing and claims nothing', async () => {
  const policy = parseProviderPolicy({ tdx: { workload: 'any' }, gpu: 'unchecked' })
  expect(await collected(policy)).toEqual([])
  expect(await accepted(policy, [])).toBeNull()
})

test.each([
  ['any', 'weak', null],
  ['weak', 'weak', null],
  ['strong', 'weak', 'gpu_binding_too_weak'],
  ['weak', 'none', 'gpu_binding_too_weak'],
  ['any', 'none', null],
] as const)('wanted %s, bound %s: %s', async (wanted, bound, code) => {
  const policy = {
    ...policyOf({ measurements: 'unchecked', revocation: 'unchecked' }),
    gpu_binding: wanted,
  }
  const rule: GpuBindingRule = bound === 'none' ? { kind: 'none' } : SHARED
  const cpu = await quote(Buffer.concat([new Uint8Array(32), nonce]))
  const question = { json: evidenceList([gpu], nonce), nonce, cpu, rule }
  const evidence = {
    kind: 'near-direct' as const,
    collectedAt: TEST_TIME,
    origin: 'https://a.example',
    model: null,
    nonce: null,
    observedSpkiSha256: null,
    documents: new Map(),
  }
  const result = await acceptGpus(question, { evidence, now: TEST_TIME, policy }).then(
    () => null,
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  )
  expect(result).toBe(code)
})

test('no credential goes to NVIDIA', async () => {
  await collected(policyOf({ judge: 'nras' }))
  expect(JSON.stringify(nras.requests)).not.toContain(UPSTREAM_SECRET)
})
