import type { CollateralName, CollateralPart } from '@vouchgate/attestation'
import { pino, type DestinationStream } from 'pino'
import type { WorkerRefusal } from './cluster/link.ts'
import type { ErrorCode } from './errors.ts'
import type { OperationName } from './operations.ts'
import type { IdentityMember } from './identities.ts'
import type {
  KeyId,
  ModelName,
  ProviderId,
  ReceiptId,
  RequestId,
  SessionId,
  TeamName,
} from './ids.ts'
import type { End } from './receipts.ts'
import type { SessionFileErrorCode } from './session-file-error.ts'
import type { BreakerState } from './upstream/breaker.ts'
import type { Failure } from './upstream/failure.ts'

export type RouteName =
  | OperationName
  | 'models'
  | 'stateful'
  | 'attestation'
  | 'sessions'
  | 'receipts'
  | 'providers'
  | 'health'
  | 'other'

type StateName = 'verifying' | 'verified' | 'refused'

/** Everything the gateway can say: enums, numbers and ids. There is no member for free text. */
export type LogEvent =
  | { readonly event: 'started'; readonly port: number; readonly providers: number }
  | { readonly event: 'admin_started'; readonly port: number }
  | { readonly event: 'draining'; readonly inFlight: number }
  | { readonly event: 'stopped' }
  | { readonly event: 'worker_started'; readonly worker: number; readonly pid: number }
  | { readonly event: 'worker_start_failed' }
  | { readonly event: 'worker_serving'; readonly worker: number }
  | {
      readonly event: 'worker_ended'
      readonly worker: number
      readonly code: number | null
      readonly signal: string | null
    }
  | { readonly event: 'worker_refused'; readonly worker: number; readonly reason: WorkerRefusal }
  | { readonly event: 'capture_failed' }
  | { readonly event: 'keyset_rotated'; readonly notAfter: number }
  | { readonly event: 'keyset_rotation_failed' }
  | { readonly event: 'fact_not_held'; readonly fact: string }
  | {
      readonly event: 'session_established'
      readonly provider: ProviderId
      readonly session: SessionId
      readonly expiresAt: number
    }
  | {
      readonly event: 'session_refused'
      readonly provider: ProviderId
      readonly reason: Failure
      readonly retryAt: number
    }
  | {
      readonly event: 'session_evicted'
      readonly provider: ProviderId
      readonly session: SessionId
      readonly reason: Failure
    }
  | {
      readonly event: 'provider_state_changed'
      readonly provider: ProviderId
      readonly from: StateName
      readonly to: StateName
      readonly reason: Failure | null
      readonly verifiedUntil: number | null
    }
  | {
      readonly event: 'route_breaker_changed'
      readonly provider: ProviderId
      readonly state: BreakerState
      readonly retryAt: number
    }
  | {
      readonly event: 'identity_first_seen'
      readonly provider: ProviderId
      readonly identity: IdentityMember
      /** Lower-case hex. */
      readonly value: string
    }
  | { readonly event: 'session_file_failed'; readonly reason: SessionFileErrorCode }
  | {
      readonly event: 'collateral_taken'
      readonly platform: CollateralName
      readonly expiresAt: number
    }
  | {
      readonly event: 'collateral_rolled_back'
      readonly platform: CollateralName
      readonly part: CollateralPart
    }
  | {
      readonly event: 'collateral_refresh_failed'
      readonly platform: CollateralName
      readonly reason: Failure
      readonly retryAt: number
    }
  | {
      readonly event: 'collateral_bundle_refused'
      readonly platform: CollateralName
      readonly reason: Failure
    }
  | {
      readonly event: 'attempt_failed'
      readonly request: RequestId
      readonly provider: ProviderId
      readonly code: ErrorCode
    }
  | {
      readonly event: 'prompt_done'
      readonly request: RequestId
      readonly receipt: ReceiptId
      readonly key: KeyId
      readonly model: ModelName | null
      readonly end: End
      readonly code: ErrorCode | null
      readonly status: number
      readonly requestBytes: number
      readonly responseBytes: number
    }
  | {
      readonly event: 'prompt_metered'
      readonly request: RequestId
      readonly key: KeyId
      readonly team: TeamName
      readonly model: ModelName
      readonly provider: ProviderId
      readonly end: End
      /** Tokens, each counted once; null where the provider states none. */
      readonly uncachedInput: number | null
      readonly cacheRead: number | null
      readonly cacheWrite: number | null
      readonly output: number | null
      readonly reasoning: number | null
      /** Millionths of a US dollar; null where counts or price are not known. */
      readonly costMicroUsd: number | null
      /** Version of the list prices. */
      readonly priceTable: string
    }
  | {
      readonly event: 'request_done'
      readonly request: RequestId
      readonly route: RouteName
      readonly status: number
      readonly ms: number
    }
  | {
      readonly event: 'request_failed'
      readonly request: RequestId
      readonly code: ErrorCode
    }

export type Logger = (event: LogEvent) => void

const WORD = /^[A-Za-z0-9._:/@-]{1,128}$/

/** Second line behind the types: whatever is not a number, null or one short word is not written. */
const written = (value: unknown): unknown =>
  value === null || typeof value === 'number' || (typeof value === 'string' && WORD.test(value))
    ? value
    : 'dropped'

/**
 * NDJSON on `destination` (standard output unless given), one line per event. Of several processes that write, each says
 * on its lines which `worker` it is.
 */
export function pinoLogger(destination?: DestinationStream, worker: number | null = null): Logger {
  const options = { base: worker === null ? null : { worker }, messageKey: 'message' }
  const sink = destination === undefined ? pino(options) : pino(options, destination)
  return (event) => {
    sink.info(
      Object.fromEntries(Object.entries(event).map(([name, value]) => [name, written(value)])),
    )
  }
}
