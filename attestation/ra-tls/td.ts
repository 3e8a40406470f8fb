import type { Bytes } from '../bytes.ts'

/** One entry of a dstack event log, as `parseDstackLog` reads it. */
export interface DstackEvent {
  readonly imr: number
  readonly event_type: number
  readonly digest: string
  readonly event: string
  readonly event_payload: string
  readonly version?: number
}

/** A TDX quote with the event log that came along. Nothing of it is verified. */
export interface AttestedTd {
  readonly quote: Bytes
  readonly events: readonly DstackEvent[]
}
