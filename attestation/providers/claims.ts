import { UNKNOWN, type Claim } from '../aci/claim.ts'
import { launchExtras, type Claims } from '../aci/claims.ts'
import { toHex } from '../bytes.ts'
import type { JsonValue } from '../json.ts'
import { gpuClaims, NO_GPU_CLAIMS } from '../nvidia/claims.ts'
import { formatTcb } from '../sev-snp/product.ts'
import { GenuineSnpReport, type AcceptedSnpReport } from '../sev-snp/verdict.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import type { DstackLaunch } from './dstack.ts'
import type { BoundGpus } from './gpus.ts'
import type { LaunchPolicy } from './policy.ts'

export interface ClaimsInput {
  readonly cpu: AcceptedQuote | AcceptedSnpReport
  /** What the CPU evidence binds: "the keys of the report". Ends the sentence of `tee_attested`. */
  readonly binds: string
  readonly gpus: BoundGpus | null
  readonly launch?: { readonly launch: DstackLaunch; readonly policy: LaunchPolicy }
  /** What is proven beyond measurements that an operator expects. */
  readonly os?: Claim
  readonly software?: Claim
  readonly weights?: Claim
  /** Whose key it is, what the evidence is fresh by, and facts of this kind of provider. */
  readonly extra: {
    readonly evidence_scope: 'instance' | 'app' | 'router' | 'deployment'
    readonly freshness: 'client_nonce' | 'server_nonce' | 'key_possession'
    readonly [name: string]: JsonValue
  }
}

/** The claims of ACI §8.3 that follow from a provider's evidence, and nothing beyond them. */
export function providerClaims(input: ClaimsInput): Claims {
  const { cpu, gpus, launch, extra } = input
  const platform = GenuineSnpReport.is(cpu) ? snpClaims(cpu) : tdxClaims(cpu)
  return {
    tee_attested: {
      status: 'asserted',
      source: 'hardware_proven',
      reason: `a genuine ${platform.name} binds ${input.binds}`,
    },
    tcb_up_to_date: platform.tcb,
    ...(gpus === null ? NO_GPU_CLAIMS : gpuClaims(gpus.gpus, gpus.binding)),
    os_known_good: input.os ?? (cpu.workload === 'pinned' ? EXPECTED_ROW : UNKNOWN),
    serving_software_known_good: input.software ?? softwareClaim(launch),
    model_weights_provenance: input.weights ?? UNKNOWN,
    extra: {
      ...platform.extra,
      trusted_root: cpu.root,
      workload: cpu.workload,
      gpu_count: gpus?.gpus.platform.gpus ?? null,
      gpu_binding: gpus?.binding.kind ?? null,
      ...launchExtras(launch?.launch.claims),
      ...extra,
      ...cpu.measurements,
    },
  }
}

const EXPECTED_ROW: Claim = {
  status: 'asserted',
  source: 'operator_asserted',
  reason: 'the measurements equal a row that the operator expects',
}

/** A compose file that was expected by name; that some compose file was measured says nothing of it. */
const softwareClaim = (launch: ClaimsInput['launch']): Claim =>
  launch?.policy.compose_hash === undefined || launch.policy.compose_hash === 'any'
    ? UNKNOWN
    : {
        status: 'asserted',
        source: 'operator_asserted',
        reason: 'the measured app compose is one that the operator expects',
      }

interface PlatformClaims {
  readonly name: string
  readonly tcb: Claim
  readonly extra: Readonly<Record<string, JsonValue>>
}

const tdxClaims = (quote: AcceptedQuote): PlatformClaims => ({
  name: 'TDX quote',
  tcb: {
    status: quote.tcb.status === 'UpToDate' ? 'asserted' : 'refuted',
    source: 'hardware_proven',
    reason: `TCB status ${quote.tcb.status}`,
  },
  extra: {
    tee_type: quote.teeType,
    tcb_status: quote.tcb.status,
    tcb_advisory_ids: quote.tcb.advisoryIds,
    tcb_evaluation_data_number: quote.tcb.evaluationDataNumber,
    fmspc: quote.fmspc,
    ppid: quote.ppid,
  },
})

/** AMD publishes no status: how new a TCB is enough is each party's own minimum. */
const snpClaims = (report: AcceptedSnpReport): PlatformClaims => ({
  name: 'SEV-SNP report',
  tcb: UNKNOWN,
  extra: {
    tee_type: 'sev-snp',
    tcb_status: null,
    product: report.product,
    reported_tcb: formatTcb(report.tcb.reported),
    revocation: report.revocation,
    chip_id: toHex(report.report.chipId),
  },
})
