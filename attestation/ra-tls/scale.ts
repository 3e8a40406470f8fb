import { decodeUtf8, Reader, toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { AttestedTd, DstackEvent } from './td.ts'

const MAX_EVENTS = 10_000
const TDX = 0
const REPORT_DATA = 64

/**
 * A dstack attestation of version 0, in SCALE: a TDX quote, its event log, the runtime events once more, report data
 * and configuration. Only the first two are read: the rest repeats what the quote says, and nothing vouches for it.
 *
 * Throws `ra_tls_malformed`, and `ra_tls_tee_unsupported` for a guest of another TEE.
 */
export function readScale(bytes: Uint8Array): AttestedTd {
  const reader = new Reader(bytes, 'ra_tls_malformed')
  // The version, by which the caller knew that this is SCALE.
  reader.take(1)
  if (byte(reader) !== TDX) throw new EvidenceError('ra_tls_tee_unsupported')
  const quote = vector(reader)
  const events = list(reader, readEvent)
  list(reader, (each) => [vector(each), vector(each)])
  reader.take(REPORT_DATA)
  vector(reader)
  reader.end()
  return { quote, events }
}

const readEvent = (reader: Reader): DstackEvent => ({
  imr: reader.u32(),
  event_type: reader.u32(),
  digest: toHex(vector(reader)),
  event: decodeUtf8(vector(reader)),
  event_payload: toHex(vector(reader)),
})

const byte = (reader: Reader): number => reader.take(1)[0] ?? 0

function list<Item>(reader: Reader, read: (reader: Reader) => Item): Item[] {
  const count = compact(reader)
  if (count > MAX_EVENTS) throw new EvidenceError('ra_tls_malformed')
  return Array.from({ length: count }, () => read(reader))
}

const vector = (reader: Reader): Bytes => reader.take(compact(reader))

/** A compact number: its low two bits say in how many bytes it is written. */
function compact(reader: Reader): number {
  const first = byte(reader)
  const mode = first & 3
  if (mode === 3) throw new EvidenceError('ra_tls_malformed')
  const [low = 0, middle = 0, high = 0] = mode === 0 ? [] : reader.take(mode === 1 ? 1 : 3)
  return (first + low * 0x100 + middle * 0x10000 + high * 0x1000000 - mode) / 4
}
