import { EvidenceError } from '../errors.ts'
import { Reader, type Bytes } from '../bytes.ts'

/**
 * A GET_MEASUREMENTS request and the MEASUREMENTS response to it, as the driver hands them out (SPDM 1.1,
 * DSP0274 §10.11). Nothing in it is proven before the signature over `signedRegion` is.
 */
export interface SpdmReport {
  /** 32 bytes the requester chose; the response's own nonce answers no challenge. */
  readonly requestNonce: Bytes
  readonly responseNonce: Bytes
  /** Block index, from 1, to 48 bytes. */
  readonly measurements: ReadonlyMap<number, Bytes>
  /** Vendor fields by their id; ids that no reference names are kept, since the signature covers them. */
  readonly opaque: ReadonlyMap<number, Bytes>
  /** Request and response up to the signature. */
  readonly signedRegion: Bytes
  /** r ‖ s of P-384, big-endian. */
  readonly signature: Bytes
}

const CODE = 'spdm_malformed'
/** In bytes: of the shortest device known, and far beyond the longest. */
export const SPDM_REPORT_LENGTH = { min: 1200, max: 8192 } as const
/** Version 1.1, GET_MEASUREMENTS, signature requested, all measurements. */
const REQUEST = [0x11, 0xe0, 0x01, 0xff] as const
/** Version 1.1, MEASUREMENTS; the two parameters that follow carry nothing. */
const RESPONSE = [0x11, 0x60] as const
const SLOT = 0
const NONCE_LENGTH = 32
const MEASUREMENT_LENGTH = 48
/** Specification DMTF, size 51 (LE), value type 1 (immutable firmware, digest), value size 48 (LE). */
const BLOCK_HEADER = [0x01, 51, 0, 0x01, MEASUREMENT_LENGTH, 0] as const
const SIGNATURE_LENGTH = 96
/** The id by which a device says that a field could not be had. */
const OPAQUE_INVALID = 255
const OPAQUE_DATA_VERSION = 34
const NEWEST_OPAQUE_VERSION = 1

/**
 * Reads a device report of exactly its own length.
 *
 * The signature is found by parsing: a collector was seen to append a zero byte, and "the last 96 bytes" would
 * let anyone choose what is verified.
 *
 * @param bytes 1200 to 8192 bytes.
 * @throws EvidenceError `gpu_evidence_size`, `spdm_*`
 */
export function parseSpdmReport(bytes: Uint8Array): SpdmReport {
  const { min, max } = SPDM_REPORT_LENGTH
  if (bytes.length < min || bytes.length > max) {
    throw new EvidenceError('gpu_evidence_size')
  }
  const reader = new Reader(bytes, CODE)
  expectBytes(reader, REQUEST)
  const requestNonce = reader.take(NONCE_LENGTH)
  expectBytes(reader, [SLOT])
  expectBytes(reader, RESPONSE)
  reader.take(2)
  const [count = 0] = reader.take(1)
  const measurements = readMeasurements(reader.window(u24(reader)), count)
  const responseNonce = reader.take(NONCE_LENGTH)
  const opaque = readOpaque(reader.take(reader.u16()))
  const signedRegion = Uint8Array.from(bytes.subarray(0, reader.offset))
  const signature = reader.take(SIGNATURE_LENGTH)
  if (reader.remaining > 0) throw new EvidenceError('spdm_trailing_bytes')
  return { requestNonce, responseNonce, measurements, opaque, signedRegion, signature }
}

function expectBytes(reader: Reader, expected: readonly number[]): void {
  const found = reader.take(expected.length)
  if (expected.some((byte, at) => found[at] !== byte)) {
    throw new EvidenceError('spdm_message_unexpected')
  }
}

function u24(reader: Reader): number {
  const [low = 0, middle = 0, high = 0] = reader.take(3)
  return low + middle * 256 + high * 65_536
}

function readMeasurements(record: Reader, count: number): ReadonlyMap<number, Bytes> {
  const measurements = new Map<number, Bytes>()
  while (record.remaining > 0) {
    const [index] = record.take(1)
    const header = record.take(BLOCK_HEADER.length)
    if (BLOCK_HEADER.some((byte, at) => header[at] !== byte)) {
      throw new EvidenceError('spdm_measurement_malformed')
    }
    // A second block of one index would leave it to the reader which of the two counts.
    if (index !== measurements.size + 1) throw new EvidenceError('spdm_measurement_order')
    measurements.set(index, record.take(MEASUREMENT_LENGTH))
  }
  if (count === 0 || measurements.size !== count) throw new EvidenceError(CODE)
  return measurements
}

/** `{ id u16, size u16, data }` until the end. */
function readOpaque(bytes: Bytes): ReadonlyMap<number, Bytes> {
  const reader = new Reader(bytes, 'spdm_opaque_malformed')
  const fields = new Map<number, Bytes>()
  while (reader.remaining > 0) {
    const id = reader.u16()
    if (id === OPAQUE_INVALID) throw new EvidenceError('spdm_opaque_invalid')
    if (fields.has(id)) throw new EvidenceError('spdm_opaque_duplicate')
    fields.set(id, reader.take(reader.u16()))
  }
  checkOpaqueVersion(fields.get(OPAQUE_DATA_VERSION))
  return fields
}

/** A later version may give the known ids another meaning. */
function checkOpaqueVersion(field: Bytes | undefined): void {
  if (field === undefined) return
  const [low = 0xff, high = 0xff] = field
  if (field.length !== 2 || low + high * 256 > NEWEST_OPAQUE_VERSION) {
    throw new EvidenceError('spdm_opaque_version_unsupported')
  }
}
