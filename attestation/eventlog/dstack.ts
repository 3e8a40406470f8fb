import { z } from 'zod'
import { jcs } from '../aci/jcs.ts'
import {
  concatBytes,
  encodeUtf8,
  equalBytes,
  fromHex,
  sha384,
  toHex,
  type Bytes,
} from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'
import {
  bootEvent,
  DIGEST_LENGTH,
  MAX_EVENTS,
  MAX_LOG_LENGTH,
  type EventLog,
  type LogEvent,
  type Rtmr,
} from './event.ts'

/** Not a TCG type: dstack's own, for both versions of its runtime events. */
const RUNTIME_EVENT = 0x0800_0001

const u32 = z.number().int().min(0).max(0xffff_ffff)
const hex = z.string().regex(/^(?:[0-9a-fA-F]{2})*$/)

const entrySchema = z.object({
  imr: u32,
  event_type: u32,
  digest: hex.max(2 * DIGEST_LENGTH).default(''),
  // A lone surrogate has no UTF-8 form: two names would share one digest.
  event: z.string().refine((name) => name.isWellFormed()),
  event_payload: hex,
  version: z.number().int().default(1),
  preimage: hex.optional(),
})

type Entry = z.output<typeof entrySchema>

/**
 * Reads a dstack event log (tdx.md §5.2): a JSON array over RTMR0 to RTMR3, at most 4 MiB and 10 000 entries.
 * The digest of a runtime event is computed from its name and payload; what the log says of it can only agree.
 *
 * @throws EvidenceError `json_malformed`, `eventlog_*`.
 */
export async function parseDstackLog(text: string): Promise<EventLog> {
  if (text.length > MAX_LOG_LENGTH) throw new EvidenceError('eventlog_too_large')
  const value = parseJson(text)
  if (Array.isArray(value) && value.length > MAX_EVENTS) {
    throw new EvidenceError('eventlog_too_large')
  }
  const parsed = z.array(entrySchema).safeParse(value)
  if (!parsed.success) throw new EvidenceError('eventlog_malformed')
  const events: LogEvent[] = []
  for (const entry of parsed.data) events.push(await readEntry(entry))
  return { format: 'dstack', events }
}

function readEntry(entry: Entry): Promise<LogEvent> {
  const { imr } = entry
  if (!isRtmr(imr)) throw new EvidenceError('eventlog_register_unknown')
  return entry.event_type === RUNTIME_EVENT ? runtimeEvent(entry, imr) : measuredBoot(entry, imr)
}

const isRtmr = (imr: number): imr is Rtmr => imr <= 3

async function runtimeEvent(entry: Entry, rtmr: Rtmr): Promise<LogEvent> {
  const payload = fromHex(entry.event_payload)
  const preimage = preimageOf(entry, payload)
  const digest = await sha384(preimage)
  const stated = entry.digest === '' || equalBytes(fromHex(entry.digest), digest)
  const shown = entry.preimage === undefined || equalBytes(fromHex(entry.preimage), preimage)
  if (!stated || !shown) throw new EvidenceError('eventlog_digest_mismatch')
  return { kind: 'runtime', rtmr, digest, name: entry.event, payload }
}

/** What the guest hashed. Both versions commit to name and payload, so a version mislabelled only fails. */
function preimageOf(entry: Entry, payload: Bytes): Bytes {
  const { event: name, version } = entry
  if (version === 2) {
    return encodeUtf8(jcs({ name, payload: toHex(payload), type: RUNTIME_EVENT }))
  }
  if (version !== 1) throw new EvidenceError('eventlog_version_unsupported')
  // V1 joins name and payload by a colon. With one in the name, the same digest could be told as another
  // event: `compose-hash` could hide as `compose-hash:…`, or appear out of a longer name.
  if (name.includes(':')) throw new EvidenceError('eventlog_malformed')
  const type = new Uint8Array(4)
  new DataView(type.buffer).setUint32(0, RUNTIME_EVENT, true)
  return concatBytes(type, encodeUtf8(`:${name}:`), payload)
}

/**
 * In RTMR3 nothing but runtime events counts. A digest that only stands there could be of anything, and one
 * that its content gives could be a runtime event in disguise: the real `system-ready` or `compose-hash`,
 * told as a tag that holds their preimage, would make room for others.
 */
async function measuredBoot(entry: Entry, rtmr: Rtmr): Promise<LogEvent> {
  if (rtmr === 3) throw new EvidenceError('eventlog_event_unsupported')
  const stated = fromHex(entry.digest)
  if (stated.length === 0) throw new EvidenceError('eventlog_malformed')
  const digest = new Uint8Array(DIGEST_LENGTH)
  digest.set(stated)
  const data = fromHex(entry.event_payload)
  return bootEvent({ rtmr, type: entry.event_type, digest, data })
}
