import { isVerificationError, type VerifiedEndpoint } from '@vouchgate/attestation'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { ChannelError } from '../../../client/errors.ts'
import { newBehaviour } from '../../support/attested-node.ts'
import { bootEntry, runtimeEntry } from '../../support/eventlog.ts'
import { listOf, newNearKey } from '../../support/near-e2ee.ts'
import {
  NEAR_MODEL,
  startNearNode,
  startNearRouter,
  type NearNode,
  type NearRouter,
} from '../../support/near-service.ts'
import {
  collected,
  judged,
  newProviderVendors,
  policyDocument,
  policyOf,
} from '../../support/provider-world.ts'
import { createTeeVendor } from '../../support/tee-vendor.ts'

const vendors = newProviderVendors()
const OTHER = 'ab'.repeat(32)
const nodes: NearNode[] = []
const routers: NearRouter[] = []

async function newNode(image?: string): Promise<NearNode> {
  const node = await startNearNode({ ...vendors, ...(image === undefined ? {} : { image }) })
  nodes.push(node)
  return node
}

async function newRouter(node: NearNode, authorised = false): Promise<NearRouter> {
  const router = await startNearRouter({ ...vendors, nodes: [node], authorised })
  routers.push(router)
  return router
}

const node = await newNode()
const router = await newRouter(node)
const stranger = await newNode('another-image')

afterAll(async () => {
  await Promise.all([...nodes, ...routers].map((each) => each.close()))
})

const initial = { node: { ...node.td }, router: { ...router.td } }
const actions = node.manager.actions

beforeEach(() => {
  vendors.clock.set(vendors.vendor.now)
  Object.assign(node.behaviour, newBehaviour())
  Object.assign(router.behaviour, newBehaviour())
  Object.assign(node.td, initial.node)
  Object.assign(router.td, initial.router)
  Object.assign(node.manager, { actions, shown: (attestation: object) => attestation })
  router.document = (document) => document
  router.nodes = [node]
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

interface Case {
  readonly policy?: object
  readonly guests?: readonly NearNode[]
}

const direct = async ({ policy = {}, guests = [node] }: Case = {}): Promise<VerifiedEndpoint> => {
  const wanted = policyOf(
    vendors,
    guests.map(({ td }) => td),
    policy,
  )
  const asked = {
    kind: 'near-direct',
    origin: node.origin,
    model: NEAR_MODEL,
    policy: wanted,
  } as const
  const [endpoint] = await judged(vendors, await collected(vendors, asked), wanted)
  return endpoint
}

const cloud = async ({ policy = {} }: Case = {}): Promise<VerifiedEndpoint> => {
  const wanted = policyOf(vendors, [node.td, router.td], policy)
  const asked = {
    kind: 'near-cloud',
    origin: router.origin,
    model: NEAR_MODEL,
    policy: wanted,
  } as const
  const [endpoint] = await judged(vendors, await collected(vendors, asked), wanted)
  return endpoint
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const setReport = (changes: object) => {
  node.behaviour.report = (report) => ({ ...report, ...changes })
}
const setInfo = (changes: object) => {
  node.behaviour.report = (report) => ({
    ...report,
    info: { ...Object(report['info']), ...changes },
  })
}

/** What can be wrong with a model node, wherever its report is shown. */
type Broken = readonly [
  what: string,
  code: string,
  spoil: () => void | Promise<void>,
  policy: object,
]

const broken = (
  what: string,
  code: string,
  spoil: () => void | Promise<void>,
  policy: object = {},
): Broken => [what, code, spoil, policy]

const BROKEN_NODES: readonly Broken[] = [
  broken('states another challenge', 'nonce_mismatch', () => {
    node.behaviour.statedNonce = () => OTHER
  }),
  broken('quotes another challenge', 'nonce_mismatch', () => {
    node.behaviour.nonce = () => OTHER
  }),
  broken('is about another model', 'provider_model_mismatch', () =>
    setReport({ model_name: 'other' }),
  ),
  broken('names no model', 'provider_model_mismatch', () => setReport({ model_name: null })),
  broken('shows a key of another algorithm', 'provider_keys_not_bound', () =>
    setReport({ signing_algo: 'ecdsa' }),
  ),
  broken('shows a key that is not in the quote', 'provider_keys_not_bound', () =>
    setReport({ signing_address: hex(newNearKey().publicKey) }),
  ),
  broken('shows an address for a key', 'provider_keys_not_bound', () =>
    setReport({ signing_address: `0x${'ab'.repeat(20)}` }),
  ),
  broken('binds no TLS key', 'provider_keys_not_bound', () =>
    setReport({ tls_cert_fingerprint: null }),
  ),
  broken('names a TLS key that is not in the quote', 'provider_keys_not_bound', () =>
    setReport({ tls_cert_fingerprint: OTHER }),
  ),
  broken('quotes other report data', 'provider_keys_not_bound', () => {
    node.behaviour.reportData = (data) => data.map((byte, at) => (at === 31 ? byte ^ 1 : byte))
  }),
  broken(
    'passes on the quote of another node',
    'provider_keys_not_bound',
    async () => {
      const { intel_quote } = await stranger.report('5a'.repeat(32))
      setReport({ intel_quote })
    },
    { tdx: { trusted_root: { test_pki_pem: vendors.vendor.rootPem }, workload: 'any' } },
  ),
  broken('runs with a debugger', 'debug_enabled', () => {
    node.td.fields = { tdAttributes: '0100001000000000' }
  }),
  broken('has a quote under another root', 'certificate_root_untrusted', async () => {
    const other = createTeeVendor({ now: vendors.clock.now() })
    node.td.quote = (reportData) => other.quote({ reportData })
  }),
  broken('is measured otherwise', 'workload_not_expected', () => {
    node.td.fields = { mrtd: '11'.repeat(48) }
  }),
  broken('shows a log with an event left out', 'eventlog_rtmr_mismatch', () =>
    setReport({ event_log: node.td.entries.slice(1) }),
  ),
  broken('shows no log', 'provider_report_malformed', () => setReport({ event_log: null })),
  broken('publishes another configuration', 'app_compose_mismatch', () =>
    setInfo({ tcb_info: { app_compose: '{}' } }),
  ),
  broken('publishes a configuration that is no text of one', 'provider_report_malformed', () =>
    setInfo({ tcb_info: '{}' }),
  ),
  broken('describes its machine in a form of its own', 'provider_report_malformed', () =>
    setInfo({ vm_config: '[]' }),
  ),
  broken('states another compose hash', 'provider_launch_mismatch', () =>
    setInfo({ compose_hash: OTHER }),
  ),
  broken('states another OS image', 'provider_launch_mismatch', () =>
    setInfo({ os_image_hash: OTHER }),
  ),
  broken('was set up for another configuration', 'config_id_mismatch', () => {
    node.td.fields = { mrConfigId: `01${OTHER}${'00'.repeat(15)}` }
  }),
  broken('measured two configurations', 'launch_event_duplicate', () => {
    const { entries } = node.td
    node.td.entries = [
      ...entries.slice(0, -1),
      runtimeEntry('compose-hash', Buffer.alloc(32)),
      ...entries.slice(-1),
    ]
  }),
  broken('shows GPUs that answered another challenge', 'nonce_mismatch', () => {
    node.behaviour.gpuNonce = () => OTHER
  }),
  broken('shows no GPUs', 'gpu_evidence_count', () => setReport({ nvidia_payload: null })),
  broken('shows an empty list of GPUs', 'gpu_evidence_count', () =>
    setReport({ nvidia_payload: '{"evidence_list":[]}' }),
  ),
  broken('logs what was started otherwise than quoted', 'provider_actions_mismatch', () => {
    node.manager.shown = (manager) => ({ ...manager, actions: [] })
  }),
  broken('states another hash of what was started', 'provider_actions_mismatch', () => {
    node.manager.shown = (manager) => ({ ...manager, actions_hash: OTHER })
  }),
  broken('shows what was started for another challenge', 'provider_actions_mismatch', async () => {
    const { compose_manager_attestation: older } = await node.report(OTHER)
    setReport({ compose_manager_attestation: older })
  }),
  broken(
    'shows what was started in another TD',
    'provider_actions_mismatch',
    async () => {
      const { compose_manager_attestation: other } = await stranger.report('5a'.repeat(32))
      setReport({ compose_manager_attestation: other })
    },
    { tdx: { trusted_root: { test_pki_pem: vendors.vendor.rootPem }, workload: 'any' } },
  ),
  broken('runs another configuration than expected', 'compose_not_expected', () => undefined, {
    launch: { compose_hash: [OTHER] },
  }),
  broken('runs another image than expected', 'os_image_not_expected', () => undefined, {
    launch: { os_image_hash: [OTHER] },
  }),
  broken('is another app than expected', 'app_not_expected', () => undefined, {
    launch: { app_id: [OTHER.slice(0, 40)] },
  }),
  broken('has its keys from elsewhere', 'key_provider_not_expected', () => undefined, {
    launch: { key_provider_id: [OTHER] },
  }),
  broken('shares no more than a challenge with its GPUs', 'gpu_binding_too_weak', () => undefined, {
    gpu_binding: 'strong',
  }),
  broken('serves no report', 'provider_report_malformed', () => setReport({ intel_quote: 'zz' })),
]

describe('a model node', () => {
  test('is accepted with its TLS key', async () => {
    const endpoint = await direct()
    expect(endpoint.kind).toBe('near-direct')
    expect(endpoint.bindings.map(({ kind, digest }) => [kind, hex(digest)])).toEqual([
      ['tls-spki-sha256', node.spkiSha256()],
    ])
    expect(endpoint.identity).toEqual({ app_id: node.td.appId })
    expect(endpoint.claims.extra).toMatchObject({
      freshness: 'client_nonce',
      evidence_scope: 'app',
      gpu_count: 1,
      gpu_binding: 'shared-nonce',
      compose_hash: node.td.composeHash,
    })
  })

  test.each(BROKEN_NODES)('that %s is refused', async (_, code, spoil, policy) => {
    await spoil()
    expect(await codeOf(() => direct({ policy }))).toBe(code)
  })

  test('with a TLS key that it attests and does not hold is refused', async () => {
    node.behaviour.tlsFingerprint = () => OTHER
    expect(await codeOf(direct)).toBe('provider_channel_not_attested')
  })

  test('of a development image is refused, unless that is allowed', async () => {
    const dev = await newNode('dstack-nvidia-dev-0.5.5')
    const policy = (launch: object) => policyOf(vendors, [dev.td], { launch })
    const asked = { kind: 'near-direct', origin: dev.origin, model: NEAR_MODEL } as const
    const run = async (launch: object) => {
      const evidence = await collected(vendors, { ...asked, policy: policy(launch) })
      return judged(vendors, evidence, policy(launch))
    }
    expect(await codeOf(() => run({}))).toBe('os_image_development')
    expect(await codeOf(() => run({ development_images: 'allow' }))).toBe('accepted')
  })

  test('without a log of what was started is accepted, and nothing is claimed of it', async () => {
    setReport({ compose_manager_attestation: null })
    expect((await direct()).claims.extra['compose_actions_hash']).toBeNull()
  })

  test('whose collateral has expired is refused', async () => {
    const policy = policyOf(vendors, [node.td])
    const asked = { kind: 'near-direct', origin: node.origin, model: NEAR_MODEL, policy } as const
    const evidence = await collected(vendors, asked)
    vendors.clock.advance(365 * 86_400)
    expect(await codeOf(() => judged(vendors, evidence, policy))).toBe('crl_not_valid_now')
  })

  test('answers one challenge and no other', async () => {
    const policy = policyOf(vendors, [node.td])
    const asked = { kind: 'near-direct', origin: node.origin, model: NEAR_MODEL, policy } as const
    const evidence = await collected(vendors, asked)
    expect(await codeOf(() => judged(vendors, evidence, policy, OTHER))).toBe('nonce_mismatch')
  })
})

describe('the router', () => {
  test('is accepted with its TLS key, and the key of the node behind it', async () => {
    const endpoint = await cloud()
    expect(endpoint.bindings).toMatchObject([
      { kind: 'tls-spki-sha256' },
      { kind: 'e2ee-public-key', protocol: 'near-ed25519-v2', keyId: null },
    ])
    const [tls, e2ee] = endpoint.bindings
    expect(hex(tls.digest)).toBe(router.spkiSha256())
    expect(e2ee).toHaveProperty('publicKey', Uint8Array.from(node.key().publicKey))
    expect(endpoint.identity).toEqual({ app_id: node.td.appId, gateway_app_id: router.td.appId })
    expect(endpoint.claims.tcb_up_to_date.status).toBe('asserted')
    expect(endpoint.claims.extra).toMatchObject({
      compose_hash: node.td.composeHash,
      gateway_compose_hash: router.td.composeHash,
      gateway_tcb_status: 'UpToDate',
      gateway_mrtd: router.td.platform.mrtd,
      mrtd: node.td.platform.mrtd,
    })
    expect(endpoint.logged).toMatchObject({
      compose_hash: node.td.composeHash,
      gateway_compose_hash: router.td.composeHash,
    })
  })

  test.each(BROKEN_NODES)('before a node that %s is refused', async (_, code, spoil, policy) => {
    await spoil()
    expect(await codeOf(() => cloud({ policy }))).toBe(code)
  })

  const setGateway = (changes: object) => {
    router.behaviour.report = (report) => ({ ...report, ...changes })
  }

  test.each<readonly [string, string, () => void | Promise<void>]>([
    [
      'states another challenge',
      'nonce_mismatch',
      () => {
        router.behaviour.statedNonce = () => OTHER
      },
    ],
    [
      'quotes another challenge',
      'nonce_mismatch',
      () => {
        router.behaviour.nonce = () => OTHER
      },
    ],
    [
      'names a TLS key that is not in its quote',
      'provider_keys_not_bound',
      () => setGateway({ tls_cert_fingerprint: OTHER }),
    ],
    [
      'binds no TLS key',
      'provider_keys_not_bound',
      () => setGateway({ tls_cert_fingerprint: null }),
    ],
    [
      'shows a key that is not in its quote',
      'provider_keys_not_bound',
      () => setGateway({ signing_address: OTHER }),
    ],
    [
      'attests a TLS key that it does not hold',
      'provider_channel_not_attested',
      () => {
        router.behaviour.tlsFingerprint = () => OTHER
      },
    ],
    [
      'runs with a debugger',
      'debug_enabled',
      () => {
        router.td.fields = { tdAttributes: '0100001000000000' }
      },
    ],
    [
      'is measured otherwise',
      'workload_not_expected',
      () => {
        router.td.fields = { mrtd: '11'.repeat(48) }
      },
    ],
    [
      'shows a log with an event more',
      'eventlog_rtmr_mismatch',
      () => setGateway({ event_log: JSON.stringify([...router.td.entries, bootEntry(1, 'x')]) }),
    ],
    [
      'states another compose hash',
      'provider_launch_mismatch',
      () => setGateway({ info: { ...router.td.info(), compose_hash: OTHER } }),
    ],
    [
      'shows no attestation of its own',
      'provider_report_malformed',
      () => {
        router.document = (document) => ({ ...document, gateway_attestation: undefined })
      },
    ],
    [
      'shows the attestation of a node as its own',
      'provider_channel_not_attested',
      () => {
        router.document = ({ model_attestations: shown }) => ({
          gateway_attestation: listOf(shown)[0],
          model_attestations: shown,
        })
      },
    ],
    [
      'shows itself as the node, with GPUs of elsewhere',
      'provider_keys_not_bound',
      () => {
        router.document = ({ gateway_attestation: own, model_attestations: shown }) => {
          const { model_name, nvidia_payload } = Object(listOf(shown)[0])
          return {
            gateway_attestation: own,
            model_attestations: [{ ...Object(own), model_name, nvidia_payload }],
          }
        }
      },
    ],
    [
      'shows no node',
      'provider_report_malformed',
      () => {
        router.nodes = []
      },
    ],
    [
      'shows two nodes',
      'provider_report_malformed',
      () => {
        router.nodes = [node, node]
      },
    ],
    [
      'shows the evidence of another kind of service',
      'provider_report_malformed',
      () => {
        router.document = (document) => ({
          ...document,
          model_attestations: [{ instance_id: 'x', quote: '', e2e_pubkey: '' }],
        })
      },
    ],
  ])('that %s is refused', async (_, code, spoil) => {
    await spoil()
    expect(await codeOf(cloud)).toBe(code)
  })

  test('with a TCB that is out of date is refused, and where that is accepted the claim says so', async () => {
    // Only the router's: the node runs the newest TDX module.
    router.td.fields = { teeTcbSvn: '04010300000000000000000000000000' }
    expect(await codeOf(cloud)).toBe('tcb_status_not_accepted')
    const { tdx } = policyDocument(vendors, [node.td, router.td])
    const tcb = { accept: ['UpToDate', 'OutOfDate'], tolerated_advisories: 'any' }
    const endpoint = await cloud({ policy: { tdx: { ...tdx, tcb } } })
    expect(endpoint.claims.tcb_up_to_date).toMatchObject({ status: 'refuted' })
    expect(endpoint.claims.extra).toMatchObject({
      tcb_status: 'UpToDate',
      gateway_tcb_status: 'OutOfDate',
    })
  })

  test.each([
    ['router', () => router],
    ['node', () => node],
  ] as const)('is verified no longer than the collateral of the %s holds', async (_, older) => {
    const policy = policyOf(vendors, [node.td, router.td])
    const asked = { kind: 'near-cloud', origin: router.origin, model: NEAR_MODEL, policy } as const
    const { clock, vendor } = vendors
    const at = (offset: number) => ({ at: clock.now() - offset })
    const pcs = async (quote: Uint8Array) =>
      vendor.collateral(at(hex(quote).includes(older().td.platform.mrtd) ? 86_400 : 0))
    const [endpoint] = await judged(vendors, await collected(vendors, asked, { pcs }), policy)
    const [both] = await judged(vendors, await collected(vendors, asked), policy)
    expect(both.expiresAt - endpoint.expiresAt).toBe(86_400)
  })

  test('is asked for its report without a key where nobody vouches for its certificate', async () => {
    const strict = await newRouter(node, true)
    const policy = policyOf(vendors, [node.td, strict.td])
    const asked = { kind: 'near-cloud', origin: strict.origin, model: NEAR_MODEL, policy } as const
    expect(await codeOf(() => collected(vendors, asked))).toBe('report_unavailable')
    expect(strict.credentials).toEqual([null])
  })
})
