import {
  readLaunch,
  type LaunchClaim,
  type LaunchClaims,
  type LoggedLaunch,
} from '../eventlog/launch.ts'
import type { VerifiedEventLog } from '../eventlog/replay.ts'
import type { JsonValue } from '../json.ts'
import { NO_GPU_CLAIMS } from '../nvidia/claims.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import type { BootDocument } from './boot.ts'
import { UNKNOWN, type Claim } from './claim.ts'

export interface Claims {
  readonly tee_attested: Claim
  readonly gpu_attested: Claim
  /** Beyond ACI §8.3: GPUs that are genuine may still be those of another machine. */
  readonly gpu_bound_to_cpu: Claim
  readonly tcb_up_to_date: Claim
  readonly os_known_good: Claim
  readonly serving_software_known_good: Claim
  readonly model_weights_provenance: Claim
  readonly extra: Record<string, JsonValue>
  readonly [informational: string]: unknown
}

interface ClaimsInput {
  readonly quote: AcceptedQuote
  readonly boot: BootDocument | null
  readonly eventLog: { readonly claims: LaunchClaims } | null
}

/**
 * The typed claims of ACI §8.3 that follow from a verified service, and nothing beyond them. What was not
 * looked at is `unknown`; the names inside `extra` are a contract and stay.
 */
export function claimsOf({ quote, boot, eventLog }: ClaimsInput): Claims {
  return {
    tee_attested: {
      status: 'asserted',
      source: 'hardware_proven',
      reason: 'a genuine TDX quote binds the keyset that lists the key of the connection',
    },
    tcb_up_to_date:
      quote.tcb.status === 'UpToDate'
        ? { status: 'asserted', source: 'hardware_proven', reason: 'TCB status UpToDate' }
        : {
            status: 'refuted',
            source: 'hardware_proven',
            reason: `TCB status ${quote.tcb.status}`,
          },
    ...NO_GPU_CLAIMS,
    os_known_good:
      quote.workload === 'pinned'
        ? {
            status: 'asserted',
            source: 'operator_asserted',
            reason: 'the measurements equal a row that the operator expects',
          }
        : UNKNOWN,
    serving_software_known_good: UNKNOWN,
    model_weights_provenance: UNKNOWN,
    extra: {
      tee_type: quote.teeType,
      trusted_root: quote.root,
      tcb_status: quote.tcb.status,
      tcb_advisory_ids: quote.tcb.advisoryIds,
      tcb_evaluation_data_number: quote.tcb.evaluationDataNumber,
      fmspc: quote.fmspc,
      ppid: quote.ppid,
      workload: quote.workload,
      config_digest: boot?.config_digest ?? null,
      ...launchExtras(eventLog?.claims),
      ...quote.measurements,
    },
  }
}

/** What of a launch a session states: hex, or null where it is unknown. */
type LaunchExtras = Readonly<Record<'compose_hash' | 'app_id' | 'os_image_hash', string | null>>

export const launchExtras = (launch: LoggedLaunch | undefined): LaunchExtras => ({
  compose_hash: valueOf(launch?.composeHash),
  app_id: valueOf(launch?.appId),
  os_image_hash: valueOf(launch?.osImageHash),
})

const valueOf = (claim: LaunchClaim<string> | undefined): string | null =>
  claim?.status === 'asserted' ? claim.value : null

/**
 * What the event log itself says of the launch. Whether that stands depends on the platforms a policy expects,
 * so a session may leave it unknown; it may not state anything else.
 */
export const loggedExtras = (log: VerifiedEventLog | null): LaunchExtras =>
  launchExtras(log === null ? undefined : readLaunch(log))
