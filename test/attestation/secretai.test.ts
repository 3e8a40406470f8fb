import {
  appraiseEvidence,
  encodeCollateral,
  encodeProviderEvidence,
  encodeUtf8,
  parseProviderPolicy,
  SECRETAI_DOCUMENTS,
  TDX_COLLATERAL,
  type Bytes,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { refusal } from '../support/verdict.ts'
import { MEASURED } from '../support/chutes-instance.ts'
import { TEST_TIME } from '../support/clock.ts'
import { newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { newSigningKey } from '../support/pki.ts'
import {
  COMPOSE,
  extendedBy,
  newSecretAiMachine,
  ROOTFS,
  sha256,
  type SecretAiBehaviour,
} from '../support/secretai-service.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { hasVectors, vectorBytes, vectorText } from '../support/vectors.ts'

const vendor = createTeeVendor()
const nvidia = newNvidiaVendor()
const { rtmr3: _, ...PLATFORM } = MEASURED
const ROW = {
  ...PLATFORM,
  rtmr3: 'any',
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest: 'any',
}
const hash = Buffer.from(sha256(COMPOSE)).toString('hex')

const policyOf = (changes: object = {}) =>
  parseProviderPolicy({
    tdx: { trusted_root: { test_pki_pem: vendor.rootPem }, workload: [ROW] },
    gpu: {
      trusted_root: {
        test_pki: { device_pem: nvidia.pki.deviceRoot.pem, rim_pem: nvidia.pki.rimRoot.pem },
      },
      measurements: 'unchecked',
      revocation: 'unchecked',
    },
    freshness: 'key',
    launch: { os_image_hash: ['cd'.repeat(32), ROOTFS] },
    ...changes,
  })

interface Shown {
  readonly change?: (behaviour: SecretAiBehaviour) => void
  readonly policy?: ReturnType<typeof policyOf>
  readonly observed?: string
  readonly documents?: (documents: Map<string, Bytes>) => void
}

async function appraise({ change, policy = policyOf(), observed, documents: edit }: Shown = {}) {
  const machine = newSecretAiMachine(vendor, nvidia)
  machine.behaviour.quote = PLATFORM
  change?.(machine.behaviour)
  const bodies = await machine.documents()
  const documents = new Map<string, Bytes>([
    ...[...bodies].map(
      ([route, own]) =>
        [route.slice(1), encodeUtf8(machine.behaviour.body(route, own) ?? '')] as const,
    ),
    [TDX_COLLATERAL, encodeCollateral(vendor.collateral({ at: TEST_TIME }))],
  ])
  edit?.(documents)
  const endpoints = await appraiseEvidence({
    evidence: encodeProviderEvidence({
      kind: 'secretai',
      collectedAt: TEST_TIME,
      origin: 'https://vm.test:21434',
      model: null,
      nonce: null,
      observedSpkiSha256: observed ?? machine.identity.spkiSha256,
      documents,
    }),
    challenge: 'ab'.repeat(32),
    now: TEST_TIME,
    policy,
  })
  return { endpoints, machine }
}

const codeOf = (shown: Shown): Promise<string> => refusal(appraise(shown))

const flip = (bytes: Uint8Array, at: number) => bytes.with(at, (bytes[at] ?? 0) ^ 1)

describe('a SecretVM', () => {
  test('is bound by its TLS key, its GPUs by the nonce in the quote', async () => {
    const { endpoints, machine } = await appraise()
    const [endpoint] = endpoints
    expect(endpoint.bindings).toEqual([
      {
        kind: 'tls-spki-sha256',
        digest: Uint8Array.from(Buffer.from(machine.identity.spkiSha256, 'hex')),
      },
    ])
    expect(endpoint.claims.gpu_attested.status).toBe('asserted')
    expect(endpoint.claims.serving_software_known_good.status).toBe('unknown')
    expect(endpoint.claims.extra).toMatchObject({
      freshness: 'key_possession',
      evidence_scope: 'router',
      gpu_binding: 'nonce-from-report-data',
      compose_hash: hash,
    })
  })

  test('with an expected compose file says so, as the operator’s word', async () => {
    const launch = { os_image_hash: [ROOTFS], compose_hash: [hash] }
    const { endpoints } = await appraise({ policy: policyOf({ launch }) })
    expect(endpoints[0].claims.serving_software_known_good).toMatchObject({
      status: 'asserted',
      source: 'operator_asserted',
    })
  })

  test.each<[string, Shown, string]>([
    [
      'where a challenge has to be answered',
      { policy: policyOf({ freshness: 'challenge' }) },
      'freshness_not_proven',
    ],
    ['behind another key', { observed: 'cd'.repeat(32) }, 'provider_channel_not_attested'],
    [
      'with another key in its quote',
      {
        change: (b) => {
          b.reportData = (r) => flip(r, 0)
        },
      },
      'provider_channel_not_attested',
    ],
    [
      'with another nonce in its quote',
      {
        change: (b) => {
          b.reportData = (r) => flip(r, 63)
        },
      },
      'nonce_mismatch',
    ],
    [
      'whose GPUs answered something else',
      {
        change: (b) => {
          b.gpuNonce = (n) => n.toReversed()
        },
      },
      'nonce_mismatch',
    ],
    [
      'of another workload',
      {
        change: (b) => {
          b.quote = { ...PLATFORM, rtmr1: '99'.repeat(48) }
        },
      },
      'workload_not_expected',
    ],
    [
      'in a debug TD',
      {
        change: (b) => {
          b.quote = { ...PLATFORM, tdAttributes: '0100001000000000' }
        },
      },
      'debug_enabled',
    ],
    [
      'with a quote that another key signed',
      {
        change: (b) => {
          b.quote = { ...PLATFORM, quoteSigner: newSigningKey() }
        },
      },
      'quote_signature_invalid',
    ],
    [
      'that shows another compose file than it measured',
      {
        change: (b) => {
          b.body = (route, own) => (route === '/docker-compose' ? `${own} ` : own)
        },
      },
      'provider_launch_mismatch',
    ],
    [
      'on an image that nobody expects',
      { policy: policyOf({ launch: { os_image_hash: ['cd'.repeat(32)] } }) },
      'provider_launch_mismatch',
    ],
    [
      'that measured one thing more',
      {
        change: (b) => {
          b.quote = {
            ...PLATFORM,
            rtmr3: extendedBy(
              sha256(COMPOSE),
              Uint8Array.from(Buffer.from(ROOTFS, 'hex')),
              sha256('more'),
            ),
          }
        },
      },
      'provider_launch_mismatch',
    ],
    [
      'with another compose file than expected',
      {
        policy: policyOf({ launch: { os_image_hash: [ROOTFS], compose_hash: ['cd'.repeat(32)] } }),
      },
      'compose_not_expected',
    ],
    [
      'whose compose file cannot be known, and is expected',
      { policy: policyOf({ launch: { compose_hash: [hash] } }) },
      'compose_not_expected',
    ],
    [
      'whose app is expected',
      { policy: policyOf({ launch: { app_id: ['cd'.repeat(20)] } }) },
      'app_not_expected',
    ],
    [
      'whose key provider is expected',
      { policy: policyOf({ launch: { key_provider_id: ['cd'] } }) },
      'key_provider_not_expected',
    ],
    [
      'on SEV-SNP',
      {
        change: (b) => {
          b.body = (route, own) => (route === '/cpu' ? 'AwAAAA==' : own)
        },
      },
      'provider_tee_unsupported',
    ],
    ['where TDX is not accepted', { policy: { ...policyOf(), tdx: 'reject' } }, 'tee_not_accepted'],
  ])('%s is refused', async (__, shown, code) => {
    expect(await codeOf(shown)).toBe(code)
  })

  test.each([...Object.values(SECRETAI_DOCUMENTS), TDX_COLLATERAL])(
    'the document %s must be there',
    async (name) => {
      const documents = (all: Map<string, Bytes>) => void all.delete(name)
      expect(await codeOf({ documents })).toBe('evidence_document_absent')
    },
  )

  test('on any image is accepted without a word on its compose file', async () => {
    const { endpoints } = await appraise({ policy: policyOf({ launch: {} }) })
    expect(endpoints[0].claims.extra).toMatchObject({ compose_hash: null })
  })

  test('whose GPUs nobody looks at shows none', async () => {
    const { endpoints } = await appraise({ policy: policyOf({ gpu: 'unchecked' }) })
    expect(endpoints[0].claims.gpu_attested.status).toBe('unknown')
  })
})

test.skipIf(!hasVectors)('RTMR3 of a recorded machine is its compose file on its image', () => {
  const folder = ['providers', 'secretvm-test-data'] as const
  const quote = Buffer.from(vectorText(...folder, 'tdx_cpu_docker_check_quote.txt').trim(), 'hex')
  const compose = vectorBytes(...folder, 'tdx_cpu_docker_check_compose.yaml')
  const images = vectorText(...folder, 'tdx.csv')
    .split('\n')
    .slice(1)
    .map((line) => line.split(',')[7] ?? '')
    .filter((image) => image.length === 64)
  const registers = images.map((image) =>
    Buffer.from(
      extendedBy(
        sha256(Buffer.from(compose).toString()),
        Uint8Array.from(Buffer.from(image, 'hex')),
      ),
    ).toString('hex'),
  )
  expect(registers).toContain(quote.subarray(520, 568).toString('hex'))
})
