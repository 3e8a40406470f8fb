import { isZero, Reader, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import {
  bootEvent,
  DIGEST_LENGTH,
  MAX_EVENTS,
  MAX_LOG_LENGTH,
  type EventLog,
  type LogEvent,
  type Rtmr,
} from './event.ts'

const EV_NO_ACTION = 3
const ALG_SHA384 = 0x000c
const SIGNATURE = 'Spec ID Event03\0'
const MAX_ALGORITHMS = 16
const END = 0xffff_ffff

type DigestSizes = ReadonlyMap<number, number>

/**
 * Reads a CCEL in the TCG2 format (tdx.md §5.1): at most 4 MiB and 10 000 records, digests of the sizes that
 * its own Spec ID event declares, SHA-384 among them.
 *
 * @throws EvidenceError `eventlog_*`.
 */
export async function parseCcel(bytes: Uint8Array): Promise<EventLog> {
  if (bytes.length > MAX_LOG_LENGTH) throw new EvidenceError('eventlog_too_large')
  const reader = new Reader(bytes, 'eventlog_malformed')
  const sizes = readSpecId(reader)
  const events: LogEvent[] = []
  for (let count = 0; !isEnd(bytes.subarray(reader.offset)); count++) {
    if (count === MAX_EVENTS) throw new EvidenceError('eventlog_too_large')
    const record = readRecord(reader, sizes)
    const rtmr = registerOf(record.register)
    // EV_NO_ACTION informs and is never extended; nothing extends MRTD once a TD runs.
    if (record.type === EV_NO_ACTION || rtmr === null) continue
    events.push(await bootEvent({ ...record, rtmr }))
  }
  return { format: 'ccel', events }
}

/** The first record, in the older format with one SHA-1 digest; it lists the digests of all others. */
function readSpecId(reader: Reader): DigestSizes {
  reader.u32()
  const type = reader.u32()
  const digest = reader.take(20)
  const event = reader.window(reader.u32())
  const signature = event.take(SIGNATURE.length)
  if (type !== EV_NO_ACTION || !isZero(digest) || !isSignature(signature)) {
    throw new EvidenceError('eventlog_malformed')
  }
  event.take(8)
  const count = event.u32()
  if (count > MAX_ALGORITHMS) throw new EvidenceError('eventlog_malformed')
  const sizes = new Map<number, number>()
  for (let index = 0; index < count; index++) sizes.set(event.u16(), event.u16())
  if (sizes.size !== count || sizes.get(ALG_SHA384) !== DIGEST_LENGTH) {
    throw new EvidenceError('eventlog_malformed')
  }
  event.take(event.take(1)[0] ?? 0)
  event.end()
  return sizes
}

const isSignature = (bytes: Bytes): boolean => String.fromCharCode(...bytes) === SIGNATURE

/** After the last record comes nothing, or one value repeated to the end of the ACPI area. */
function isEnd(rest: Uint8Array): boolean {
  if (isZero(rest)) return true
  if (rest.length < 4 || new DataView(rest.buffer, rest.byteOffset).getUint32(0) !== END) {
    return false
  }
  const padding = rest.subarray(4)
  if (!isZero(padding) && !padding.every((byte) => byte === 0xff)) {
    throw new EvidenceError('eventlog_trailing_bytes')
  }
  return true
}

interface Record {
  /** 0 is MRTD, 1 to 4 are RTMR0 to RTMR3. */
  readonly register: number
  readonly type: number
  readonly digest: Bytes
  readonly data: Bytes
}

function readRecord(reader: Reader, sizes: DigestSizes): Record {
  const register = reader.u32()
  const type = reader.u32()
  const digest = readDigests(reader, sizes)
  return { register, type, digest, data: reader.take(reader.u32()) }
}

/** The SHA-384 digest of a record. The count is bounded by the declared algorithms before it is used. */
function readDigests(reader: Reader, sizes: DigestSizes): Bytes {
  const count = reader.u32()
  if (count > sizes.size) throw new EvidenceError('eventlog_malformed')
  const digests = new Map<number, Bytes>()
  for (let index = 0; index < count; index++) {
    const algorithm = reader.u16()
    const size = sizes.get(algorithm)
    if (size === undefined) throw new EvidenceError('eventlog_algorithm_unknown')
    digests.set(algorithm, reader.take(size))
  }
  const digest = digests.get(ALG_SHA384)
  if (digests.size !== count || digest === undefined) {
    throw new EvidenceError('eventlog_malformed')
  }
  return digest
}

const RTMRS: ReadonlyMap<number, Rtmr | null> = new Map([
  [0, null],
  [1, 0],
  [2, 1],
  [3, 2],
  [4, 3],
])

function registerOf(index: number): Rtmr | null {
  const rtmr = RTMRS.get(index)
  if (rtmr === undefined) throw new EvidenceError('eventlog_register_unknown')
  return rtmr
}
