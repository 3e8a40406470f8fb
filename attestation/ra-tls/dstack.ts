import { toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { decodeCbor, decodeMessagePack, type Packed } from './packed.ts'
import { readScale } from './scale.ts'
import type { AttestedTd, DstackEvent } from './td.ts'

const MAX_EVENTS = 10_000

/**
 * Reads a versioned dstack attestation: SCALE (version 0), or CBOR or MessagePack (version 1, of different releases).
 *
 * @throws EvidenceError `ra_tls_malformed`, `ra_tls_tee_unsupported`
 */
export function readDstackAttestation(bytes: Uint8Array): AttestedTd {
  const [first = 0] = bytes
  if (first === 0) return readScale(bytes)
  // A map: 0x80 to 0x8f, 0xde and 0xdf in MessagePack, 0xa0 to 0xbf in CBOR.
  const document = first >= 0xa0 && first < 0xc0 ? decodeCbor(bytes) : decodeMessagePack(bytes)
  return readDocument(document)
}

function readDocument(document: Packed): AttestedTd {
  if (integer(member(document, 'version')) !== 1) throw new EvidenceError('ra_tls_malformed')
  const platform = member(document, 'platform')
  if (text(member(platform, 'kind')) !== 'tdx') throw new EvidenceError('ra_tls_tee_unsupported')
  const data = member(platform, 'data')
  const events = list(member(data, 'event_log'))
  if (events.length > MAX_EVENTS) throw new EvidenceError('ra_tls_malformed')
  return { quote: octets(member(data, 'quote')), events: events.map(readEvent) }
}

function readEvent(event: Packed): DstackEvent {
  const version = optional(event, 'version')
  return {
    imr: integer(member(event, 'imr')),
    event_type: integer(member(event, 'event_type')),
    digest: toHex(octets(member(event, 'digest'))),
    event: text(member(event, 'event')),
    event_payload: toHex(octets(member(event, 'event_payload'))),
    ...(version?.kind === 'integer' ? { version: version.value } : {}),
  }
}

const optional = (map: Packed, name: string): Packed | undefined =>
  map.kind === 'map' ? map.members.get(name) : undefined

function member(map: Packed, name: string): Packed {
  const found = optional(map, name)
  if (found === undefined) throw new EvidenceError('ra_tls_malformed')
  return found
}

function integer(value: Packed): number {
  if (value.kind !== 'integer') throw new EvidenceError('ra_tls_malformed')
  return value.value
}

function text(value: Packed): string {
  if (value.kind !== 'text') throw new EvidenceError('ra_tls_malformed')
  return value.value
}

function list(value: Packed): readonly Packed[] {
  if (value.kind !== 'list') throw new EvidenceError('ra_tls_malformed')
  return value.items
}

/** Bytes, or a list of their values: serializers differ. */
function octets(value: Packed): Bytes {
  if (value.kind === 'bytes') return value.value
  return Uint8Array.from(list(value), (item) => {
    const byte = integer(item)
    if (byte > 0xff) throw new EvidenceError('ra_tls_malformed')
    return byte
  })
}
