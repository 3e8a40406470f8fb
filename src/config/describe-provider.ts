import { namesWorkload, type GpuPolicy, type ProviderKind } from '@vouchgate/attestation'
import type { AttestedProvider } from './config.ts'

/** What the evidence of a kind of provider can show at best, whatever a policy asks for. */
interface KindLimits {
  /** What a prompt travels to. */
  readonly channel: string
  /** Whose key that is, where it is not one machine's alone. */
  readonly scope: string | null
  /** How GPUs are tied to the CPU. */
  readonly gpuBinding: 'none' | 'weak' | 'strong'
  /** What stays unproven. */
  readonly limits: readonly string[]
}

const LIMITS: Readonly<Record<ProviderKind, KindLimits>> = {
  aci: {
    channel: 'the TLS key of the keyset that the quote binds',
    scope: null,
    gpuBinding: 'none',
    limits: ['GPUs are not looked at', 'the weights of the model are not measured'],
  },
  'near-direct': {
    channel: 'the TLS key of the node',
    scope: "the node's own key is shared by every node of its app",
    gpuBinding: 'weak',
    limits: [
      'the containers of the model are started after boot, by a manager whose log is attested and not compared',
      'the weights of the model are not measured',
    ],
  },
  'near-cloud': {
    channel: 'the TLS key of the router, and encrypted to the key of the node behind it',
    scope: "the node's key is shared by every node of its app",
    gpuBinding: 'weak',
    limits: [
      'the router reads model, settings and sizes; it can repeat, move or leave out what it cannot read',
      'the containers of the model are started after boot, by a manager whose log is attested and not compared',
      'the weights of the model are not measured',
    ],
  },
  'dstack-vllm': {
    channel: 'the TLS key of the node',
    scope: null,
    gpuBinding: 'weak',
    limits: ['the weights of the model are not measured'],
  },
  tinfoil: {
    channel: 'the TLS key and the EHBP key of the enclave, both',
    scope: null,
    gpuBinding: 'strong',
    limits: [
      'which release is the newest is the word of the release service: pin tags to be sure',
      'of the enclaves behind a router nothing is shown: that it verifies them is in its code',
      'the weights of the model are measured where the release names them',
    ],
  },
  chutes: {
    channel: 'the ML-KEM key of each instance, to which whole requests are encrypted',
    scope: null,
    gpuBinding: 'strong',
    limits: [
      'which image an instance runs is checked by Chutes alone, and which model it serves by nobody',
      'its relay sees sizes, times and token counts, and can drop events of a stream unseen',
      'the weights of the model are not measured',
    ],
  },
  'openai-ra-tls': {
    channel: 'the TLS key of the certificate that carries the quote',
    scope: null,
    gpuBinding: 'none',
    limits: [
      'the quote answers no nonce: it is as old as its certificate may be',
      'the weights of the model are not measured',
    ],
  },
  secretai: {
    channel: 'the TLS key of the machine',
    scope: 'one machine may serve several models',
    gpuBinding: 'strong',
    limits: [
      'the quote answers no nonce: it is as old as the start of the machine',
      'the weights of the model are not measured',
    ],
  },
}

/** One claim of ACI §8.3 as a configuration asks for it. */
interface Demand {
  readonly claim: string
  /** Null where nothing is asked, so that a prompt is sent whether or not it holds. */
  readonly demanded: string | null
  /** Why it stays unproven, or what is left of it. */
  readonly unproven: string | null
}

/** What an entry demands before a prompt is sent there, claim by claim, and what stays unproven all the same. */
export function demandsOf(provider: AttestedProvider): Demand[] {
  const { policy, kind } = provider
  const limits = LIMITS[kind]
  return [
    {
      claim: 'tee_attested',
      demanded: `${tees(provider)}, bound to ${limits.channel}`,
      unproven: limits.scope,
    },
    tcbDemand(provider),
    ...gpuDemands(provider, limits),
    osDemand(provider),
    softwareDemand(provider),
    { claim: 'model_weights_provenance', demanded: null, unproven: weightsLimit(limits) },
    {
      claim: 'freshness',
      demanded: policy.freshness === 'challenge' ? 'an answer to a fresh nonce' : null,
      unproven:
        policy.freshness === 'challenge'
          ? null
          : 'old evidence is accepted from whoever holds the key',
    },
  ]
}

const weightsLimit = ({ limits }: KindLimits): string | null =>
  limits.find((limit) => limit.includes('weights')) ?? null

const tees = ({ policy: { tdx, snp } }: AttestedProvider): string =>
  [
    tdx === 'reject' ? null : 'a genuine Intel TDX quote',
    snp === 'reject' ? null : 'a genuine AMD SEV-SNP report',
  ]
    .filter((text) => text !== null)
    .join(' or ')

function tcbDemand({ policy: { tdx, snp } }: AttestedProvider): Demand {
  const parts = [
    ...(tdx === 'reject' ? [] : [`TCB status ${tdx.tcb.accept.join(' or ')}`]),
    ...(snp === 'reject' || snp.min_tcb === 'any' ? [] : ['a minimum TCB for SEV-SNP']),
  ]
  const open = snp !== 'reject' && snp.min_tcb === 'any' ? 'any SEV-SNP firmware passes' : null
  return { claim: 'tcb_up_to_date', demanded: parts.join(', ') || null, unproven: open }
}

function gpuDemands({ policy }: AttestedProvider, limits: KindLimits): Demand[] {
  const { gpu, gpu_binding: wanted } = policy
  if (gpu === 'unchecked') {
    const unproven = 'nobody looks at GPUs'
    return [
      { claim: 'gpu_attested', demanded: null, unproven },
      { claim: 'gpu_bound_to_cpu', demanded: null, unproven },
    ]
  }
  const best = limits.gpuBinding
  return [
    { claim: 'gpu_attested', ...gpuRules(gpu) },
    {
      claim: 'gpu_bound_to_cpu',
      demanded: wanted === 'any' ? null : `a binding that is at least ${wanted}`,
      unproven: BINDING_LIMITS[best],
    },
  ]
}

const BINDING_LIMITS: Readonly<Record<KindLimits['gpuBinding'], string | null>> = {
  none: 'this kind shows no GPUs, so that no prompt is ever sent: say gpu: unchecked',
  weak: 'this kind ties GPUs by a nonce alone, which GPUs of another machine could answer',
  strong: null,
}

function gpuRules(gpu: GpuPolicy): Pick<Demand, 'demanded' | 'unproven'> {
  if (gpu.judge === 'nras') {
    return { demanded: "genuine NVIDIA GPUs that NVIDIA's service vouches for", unproven: null }
  }
  const open = [
    ...(gpu.measurements === 'require' ? [] : ['firmware is not compared']),
    ...(gpu.revocation === 'require' ? [] : ['revocation is not asked for']),
    ...(gpu.switch_evidence === 'require' ? [] : ['switches need not prove themselves']),
  ]
  return { demanded: 'genuine NVIDIA GPUs', unproven: open.join(', ') || null }
}

function osDemand({ policy: { tdx, snp, launch, release } }: AttestedProvider): Demand {
  const rows = tdx !== 'reject' && namesWorkload(tdx)
  const measured = snp !== 'reject' && snp.measurement !== 'any'
  const demanded = [
    ...(rows || measured ? ['measurements that this file lists'] : []),
    ...(release === 'any' ? [] : [`measurements of a release of ${release.repository}`]),
    ...(launch.os_image_hash === 'any' ? [] : ['an OS image that this file lists']),
    ...(launch.development_images === 'reject' ? ['no development image'] : []),
  ]
  const identified = rows || measured || release !== 'any'
  const unproven = identified ? null : 'workload any: any genuine TEE passes, whatever it runs'
  return { claim: 'os_known_good', demanded: demanded.join(', ') || null, unproven }
}

function softwareDemand({ policy: { launch, release } }: AttestedProvider): Demand {
  const demanded =
    release === 'any'
      ? launch.compose_hash === 'any'
        ? null
        : 'an app compose that this file lists'
      : `a release that a public log vouches for, of ${release.repository}`
  return {
    claim: 'serving_software_known_good',
    demanded,
    unproven: demanded === null ? 'whatever the measured platform starts' : null,
  }
}

/** The same as sentences, each beginning with the claim. */
export function describeDemands(provider: AttestedProvider): string[] {
  const { tdx } = provider.policy
  const { snp_trusted_root: amd, release } = provider.policy
  const test =
    (tdx !== 'reject' && tdx.trusted_root !== 'intel') ||
    amd !== 'amd' ||
    (release !== 'any' && release.trusted_root !== 'public-good')
  return [
    ...(test ? ['Its evidence is trusted under a TEST root.'] : []),
    ...demandsOf(provider).map(({ claim, demanded, unproven }) =>
      [
        `${claim}:`,
        demanded === null ? 'not demanded;' : `demands ${demanded};`,
        unproven === null ? '' : `UNPROVEN: ${unproven}`,
      ]
        .join(' ')
        .replace(/; $/, ''),
    ),
    ...LIMITS[provider.kind].limits
      .filter((limit) => !limit.includes('weights'))
      .map((limit) => `UNPROVEN: ${limit}`),
  ]
}
