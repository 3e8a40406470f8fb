import {
  decodeProviderEvidence,
  isVerificationError,
  observingPolicy,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { ChannelError } from '../../../client/errors.ts'
import { VerifiedChannel } from '../../../src/upstream/channel.ts'
import { newBehaviour } from '../../support/attested-node.ts'
import { collected, judged, newProviderVendors, policyOf } from '../../support/provider-world.ts'
import { startVllmNode, type VllmNode } from '../../support/vllm-node.ts'

const vendors = newProviderVendors()
const OTHER = 'ab'.repeat(32)
const nodes: VllmNode[] = []

async function newNode(options: { image?: string; authorised?: boolean } = {}): Promise<VllmNode> {
  const node = await startVllmNode({ ...vendors, ...options })
  nodes.push(node)
  return node
}

const node = await newNode()
const initial = { ...node.td }

afterAll(async () => {
  await Promise.all(nodes.map((each) => each.close()))
})

beforeEach(() => {
  Object.assign(node.behaviour, newBehaviour())
  Object.assign(node.td, initial)
  Object.assign(node.settings, { version: 2, evidence: 'all' })
})

const codeOf = async (run: () => Promise<unknown>): Promise<string> => {
  try {
    await run()
  } catch (error) {
    if (isVerificationError(error) || error instanceof ChannelError) return error.code
    throw error
  }
  return 'accepted'
}

async function verified(policy: object = {}, from = node): Promise<VerifiedEndpoint> {
  const wanted = policyOf(vendors, [from.td], policy)
  const asked = { origin: from.origin, model: 'test-model', policy: wanted }
  const evidence = await collected(vendors, { kind: 'dstack-vllm', ...asked })
  const [endpoint] = await judged(vendors, evidence, wanted)
  return endpoint
}

const setReport = (changes: object): void => {
  node.behaviour.report = (report) => ({ ...report, ...changes })
}

test('a node is accepted with its TLS key, and not with the signing key that nobody may hold', async () => {
  const endpoint = await verified()
  expect(endpoint.kind).toBe('dstack-vllm')
  expect(endpoint.bindings).toHaveLength(1)
  const [binding] = endpoint.bindings
  expect([binding.kind, Buffer.from(binding.digest).toString('hex')]).toEqual([
    'tls-spki-sha256',
    node.spkiSha256(),
  ])
  expect(endpoint.claims.extra).toMatchObject({
    freshness: 'client_nonce',
    evidence_scope: 'instance',
    gpu_binding: 'shared-nonce',
    compose_hash: node.td.composeHash,
  })
})

test('what was fetched to judge its GPUs by is kept beside its report', async () => {
  const policy = policyOf(vendors, [node.td])
  const asked = { kind: 'dstack-vllm', origin: node.origin, model: 'test-model', policy } as const
  const evidence = await collected(vendors, asked, {
    gpus: async () => [['nvidia/rim/0', Uint8Array.of(7)]],
  })
  const { documents } = decodeProviderEvidence(evidence)
  expect(documents.get('nvidia/rim/0')).toEqual(Uint8Array.of(7))
})

describe('refused is a node that', () => {
  const anyWorkload = {
    tdx: { trusted_root: { test_pki_pem: vendors.vendor.rootPem }, workload: 'any' },
  }
  const cases: readonly (readonly [string, string, () => unknown, object])[] = [
    [
      'states another challenge',
      'nonce_mismatch',
      () => (node.behaviour.statedNonce = () => OTHER),
      {},
    ],
    [
      'answers a challenge of its own under another name',
      'nonce_mismatch',
      () => setReport({ request_nonce: undefined, nonce: OTHER }),
      {},
    ],
    ['states no challenge', 'nonce_mismatch', () => setReport({ request_nonce: undefined }), {}],
    ['states a number', 'provider_report_malformed', () => setReport({ request_nonce: 7 }), {}],
    ['quotes another challenge', 'nonce_mismatch', () => (node.behaviour.nonce = () => OTHER), {}],
    ['knows only version 1', 'provider_keys_not_bound', () => (node.settings.version = 1), {}],
    [
      'knows only version 1 and shows another address',
      'provider_keys_not_bound',
      () => {
        node.settings.version = 1
        setReport({ signing_address: `0x${'11'.repeat(20)}` })
      },
      {},
    ],
    [
      'quotes version 1 and names a TLS key beside it',
      'provider_keys_not_bound',
      () => {
        node.settings.version = 1
        setReport({ tls_cert_fingerprint: node.spkiSha256() })
      },
      {},
    ],
    [
      'names a TLS key that is not in the quote',
      'provider_keys_not_bound',
      () => setReport({ tls_cert_fingerprint: OTHER }),
      {},
    ],
    [
      'shows an address that is not in the quote',
      'provider_keys_not_bound',
      () => setReport({ signing_address: `0x${'11'.repeat(20)}` }),
      {},
    ],
    [
      'shows no address',
      'provider_keys_not_bound',
      () => setReport({ signing_address: 'nobody' }),
      {},
    ],
    [
      'attests a TLS key that it does not hold',
      'provider_channel_not_attested',
      () => (node.behaviour.tlsFingerprint = () => OTHER),
      {},
    ],
    [
      'names another model',
      'provider_model_mismatch',
      () => setReport({ model_name: 'another' }),
      {},
    ],
    [
      'runs with a debugger',
      'debug_enabled',
      () => (node.td.fields = { tdAttributes: '0100001000000000' }),
      {},
    ],
    [
      'is measured otherwise',
      'workload_not_expected',
      () => (node.td.fields = { mrtd: '11'.repeat(48) }),
      {},
    ],
    [
      'shows a log with an event left out',
      'eventlog_rtmr_mismatch',
      () => setReport({ event_log: JSON.stringify(node.td.entries.slice(1)) }),
      {},
    ],
    [
      'states another compose hash',
      'provider_launch_mismatch',
      () => setReport({ info: { ...node.td.info(), compose_hash: OTHER } }),
      {},
    ],
    [
      'shows GPUs that answered another challenge',
      'nonce_mismatch',
      () => (node.behaviour.gpuNonce = () => OTHER),
      {},
    ],
    [
      'shows an empty list of GPUs',
      'gpu_evidence_count',
      () => (node.settings.evidence = 'none'),
      {},
    ],
    ['shows no GPUs', 'gpu_evidence_count', () => setReport({ nvidia_payload: null }), {}],
    [
      'runs another configuration than expected',
      'compose_not_expected',
      () => undefined,
      { launch: { compose_hash: [OTHER] } },
    ],
    [
      'runs on an unexpected platform where a configuration is expected',
      'compose_not_expected',
      () => undefined,
      { ...anyWorkload, launch: { compose_hash: [OTHER] } },
    ],
  ]

  test.each(cases)('%s', async (_, code, spoil, policy) => {
    spoil()
    expect(await codeOf(() => verified(policy))).toBe(code)
  })

  test('runs a development image', async () => {
    const dev = await newNode({ image: 'dstack-nvidia-dev-0.5.8' })
    expect(await codeOf(() => verified({}, dev))).toBe('os_image_development')
  })

  test('wants a key before it has proven itself, and shows no certificate that anyone vouches for', async () => {
    const strict = await newNode({ authorised: true })
    expect(await codeOf(() => verified({}, strict))).toBe('report_unavailable')
    expect(strict.credentials).toEqual([null])
  })
})

describe('a node whose report binds no TLS key', () => {
  const observed = async (): Promise<VerifiedEndpoint> => {
    const policy = policyOf(vendors, [node.td])
    const asked = { kind: 'dstack-vllm', origin: node.origin, model: 'test-model', policy } as const
    const evidence = await collected(vendors, asked)
    const [endpoint] = await judged(vendors, evidence, observingPolicy(policy))
    return endpoint
  }

  beforeEach(() => {
    node.settings.version = 1
  })

  test('is shown with the key it signs with to whoever only looks', async () => {
    const endpoint = await observed()
    expect(endpoint.bindings).toMatchObject([{ kind: 'e2ee-public-key', protocol: 'near-ecdsa' }])
    expect(endpoint.claims.extra).toMatchObject({ gpu_count: 1, freshness: 'client_nonce' })
  })

  test('is not shown with a key that is not in its quote', async () => {
    setReport({ signing_public_key: 'ab'.repeat(64) })
    expect(await codeOf(observed)).toBe('provider_keys_not_bound')
    setReport({ signing_public_key: undefined })
    expect(await codeOf(observed)).toBe('provider_keys_not_bound')
  })

  test('is not shown where its quote commits to another key', async () => {
    node.behaviour.reportData = (data) => data.map((byte, at) => (at === 0 ? byte ^ 1 : byte))
    expect(await codeOf(observed)).toBe('provider_keys_not_bound')
  })

  test('cannot be sent to by anybody', async () => {
    const endpoint = await observed()
    const limits = { connectMs: 1, firstByteMs: 1, idleMs: 1, connections: 1 }
    const { clock } = vendors
    expect(() => new VerifiedChannel(endpoint, { clock, limits, seal: null })).toThrow(TypeError)
  })
})

test('an Ed25519 address is one as well', async () => {
  const address = Buffer.alloc(32, 7)
  node.behaviour.report = (report) => ({
    ...report,
    signing_address: address.toString('hex'),
    signing_algo: 'ed25519',
  })
  const { createHash } = await import('node:crypto')
  const first = createHash('sha256')
    .update(Buffer.concat([address, Buffer.from(node.spkiSha256(), 'hex')]))
    .digest()
  node.behaviour.reportData = (data) => Buffer.concat([first, data.subarray(32)])
  expect((await verified()).bindings).toHaveLength(1)
})
