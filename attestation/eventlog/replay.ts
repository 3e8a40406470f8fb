import { concatBytes, equalBytes, sha384, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { TdReport } from '../tdx/body.ts'
import { GenuineQuote } from '../tdx/verdict.ts'
import { DIGEST_LENGTH, type EventLog, type LogEvent, type Rtmr } from './event.ts'

const RTMRS = [0, 1, 2, 3] as const satisfies readonly Rtmr[]

/**
 * An event log that replays to the registers of a genuine quote: no event was changed, added, left out or
 * moved. Made only by {@link verifyEventLog}; the private field makes look-alikes fail the type check and
 * {@link is}.
 */
export class VerifiedEventLog {
  readonly #log: EventLog
  readonly #report: TdReport

  constructor(log: EventLog, report: TdReport) {
    this.#log = log
    this.#report = report
  }

  get format(): EventLog['format'] {
    return this.#log.format
  }

  get events(): readonly LogEvent[] {
    return this.#log.events
  }

  /** Of the genuine quote whose registers the log replays to. */
  get report(): TdReport {
    return this.#report
  }

  static is(value: unknown): value is VerifiedEventLog {
    return typeof value === 'object' && value !== null && #log in value
  }
}

/** A register after the events of a log: `RTMR = SHA-384(RTMR ‖ digest)`, from 48 zero bytes. */
export async function replay(log: EventLog, rtmr: Rtmr): Promise<Bytes> {
  let value = new Uint8Array(DIGEST_LENGTH)
  for (const event of log.events) {
    if (event.rtmr === rtmr) value = await sha384(concatBytes(value, event.digest))
  }
  return value
}

/**
 * Compares a log with runtime registers of a genuine TDX quote, by default with all four. Events of the others are
 * left out: nothing vouches for them.
 *
 * @throws EvidenceError `eventlog_rtmr_mismatch`.
 */
export async function verifyEventLog(
  log: EventLog,
  quote: GenuineQuote,
  registers: readonly Rtmr[] = RTMRS,
): Promise<VerifiedEventLog> {
  if (!GenuineQuote.is(quote)) throw new TypeError('not a GenuineQuote')
  // An SGX enclave has no runtime registers that a log could replay to.
  if (quote.body.tee !== 'tdx') throw new EvidenceError('eventlog_rtmr_mismatch')
  const { report } = quote.body
  const quoted = [report.rtmr0, report.rtmr1, report.rtmr2, report.rtmr3] as const
  for (const rtmr of registers) {
    if (!equalBytes(await replay(log, rtmr), quoted[rtmr])) {
      throw new EvidenceError('eventlog_rtmr_mismatch')
    }
  }
  const events = log.events.filter(({ rtmr }) => registers.includes(rtmr))
  return new VerifiedEventLog({ ...log, events }, report)
}
