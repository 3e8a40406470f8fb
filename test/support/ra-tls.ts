import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { sha256, type Bytes } from '@vouchgate/attestation'
import { concat, octetString } from './der.ts'
import { registersOf, type DstackEntry } from './eventlog.ts'
import {
  type CertificateFields,
  intelName,
  newSigningKey,
  selfSigned,
  type SigningKey,
} from './pki.ts'
import type { QuoteFields, TeeVendor } from './tee-vendor.ts'

/** A value to be written in CBOR or MessagePack. */
export type Plain =
  | number
  | string
  | null
  | Uint8Array
  | readonly Plain[]
  | { readonly [name: string]: Plain }
  | Tagged

export class Tagged {
  readonly tag: number
  readonly content: Plain

  constructor(tag: number, content: Plain) {
    this.tag = tag
    this.content = content
  }
}

const bigEndian = (value: number, length: number): Bytes => {
  const bytes = new Uint8Array(length)
  for (let at = length - 1, rest = value; at >= 0; at--, rest = Math.floor(rest / 256)) {
    bytes[at] = rest % 256
  }
  return bytes
}

/** RFC 8949 §3, definite lengths. */
export function cbor(value: Plain): Bytes {
  const head = (major: number, length: number): Bytes => {
    if (length < 24) return Uint8Array.of((major << 5) | length)
    const size = [1, 2, 4, 8].findIndex((bytes) => length < 256 ** bytes)
    return concat(Uint8Array.of((major << 5) | (24 + size)), bigEndian(length, 2 ** size))
  }
  return write(value, {
    integer: (number) => head(0, number),
    bytes: (length) => head(2, length),
    text: (length) => head(3, length),
    list: (length) => head(4, length),
    map: (length) => head(5, length),
    tag: (tag) => head(6, tag),
    empty: Uint8Array.of(0xf6),
  })
}

export function messagePack(value: Plain): Bytes {
  const sized =
    (first: number, sizes: readonly number[], small: (length: number) => number | null) =>
    (length: number): Bytes => {
      const short = small(length)
      if (short !== null) return Uint8Array.of(short)
      const at = sizes.findIndex((size) => length < 256 ** size)
      return concat(Uint8Array.of(first + at), bigEndian(length, sizes[at] ?? 0))
    }
  const under = (limit: number, base: number) => (length: number) =>
    length < limit ? base | length : null
  return write(value, {
    integer: sized(0xcc, [1, 2, 4, 8], under(128, 0)),
    bytes: sized(0xc4, [1, 2, 4], () => null),
    text: sized(0xd9, [1, 2, 4], under(32, 0xa0)),
    list: sized(0xdc, [2, 4], under(16, 0x90)),
    map: sized(0xde, [2, 4], under(16, 0x80)),
    tag: () => new Uint8Array(0),
    empty: Uint8Array.of(0xc0),
  })
}

type Heads = Record<'integer' | 'bytes' | 'text' | 'list' | 'map' | 'tag', (n: number) => Bytes> & {
  readonly empty: Bytes
}

function write(value: Plain, heads: Heads): Bytes {
  if (value === null) return heads.empty
  if (typeof value === 'number') return heads.integer(value)
  if (typeof value === 'string') {
    const text = Buffer.from(value)
    return concat(heads.text(text.length), text)
  }
  if (value instanceof Uint8Array) return concat(heads.bytes(value.length), value)
  if (value instanceof Tagged) return concat(heads.tag(value.tag), write(value.content, heads))
  if (isList(value)) {
    return concat(heads.list(value.length), ...value.map((item) => write(item, heads)))
  }
  const entries = Object.entries(value)
  return concat(
    heads.map(entries.length),
    ...entries.flatMap(([name, item]) => [write(name, heads), write(item, heads)]),
  )
}

const isList = (value: object): value is readonly Plain[] => Array.isArray(value)

/** SCALE's compact number. */
function compact(value: number): Bytes {
  if (value < 64) return Uint8Array.of(value << 2)
  if (value < 1 << 14) return Uint8Array.of(((value << 2) | 1) & 0xff, value >> 6)
  const shifted = value * 4 + 2
  return Uint8Array.from({ length: 4 }, (_, at) => Math.floor(shifted / 256 ** at) % 256)
}

const vector = (bytes: Uint8Array): Bytes => concat(compact(bytes.length), bytes)
const u32 = (value: number): Bytes =>
  Uint8Array.from({ length: 4 }, (_, at) => Math.floor(value / 256 ** at) % 256)
const unhex = (text: string): Bytes => Uint8Array.from(Buffer.from(text, 'hex'))

/** A dstack attestation of version 0. */
export const scaleAttestation = (quote: Uint8Array, log: readonly DstackEntry[]): Bytes =>
  concat(
    Uint8Array.of(0, 0),
    vector(quote),
    compact(log.length),
    ...log.map((entry) =>
      concat(
        u32(entry.imr),
        u32(entry.event_type),
        vector(unhex(entry.digest)),
        vector(Buffer.from(entry.event)),
        vector(unhex(entry.event_payload)),
      ),
    ),
    compact(0),
    new Uint8Array(64),
    vector(Buffer.from('{}')),
  )

/** A dstack attestation of version 1. */
export const documentAttestation = (
  quote: Uint8Array,
  log: readonly DstackEntry[],
): { readonly [name: string]: Plain } => ({
  version: 1,
  platform: {
    kind: 'tdx',
    data: {
      // As a list, which is how dstack's serializer writes it.
      quote: [...quote],
      event_log: log.map((entry) => ({
        imr: entry.imr,
        event_type: entry.event_type,
        digest: unhex(entry.digest),
        event: entry.event,
        event_payload: unhex(entry.event_payload),
      })),
    },
  },
  stack: {
    kind: 'dstack',
    data: { report_data: new Uint8Array(64), runtime_events: [], config: '{}' },
  },
})

/** How the evidence stands in the certificate. */
export type RaTlsForm =
  | 'dstack-legacy'
  | 'dstack-scale'
  | 'dstack-cbor'
  | 'dstack-msgpack'
  | 'interoperable'

const OID = {
  quote: '1.3.6.1.4.1.62397.1.1',
  eventLog: '1.3.6.1.4.1.62397.1.2',
  attestation: '1.3.6.1.4.1.62397.1.8',
  interoperable: '2.23.133.5.4.9',
} as const

export interface RaTlsFields {
  readonly form?: RaTlsForm
  readonly log?: readonly DstackEntry[]
  /** Fields of the TD; registers default to those that `log` replays to. */
  readonly quote?: Omit<QuoteFields, 'reportData'>
  /** Edits the report data before it is quoted. */
  readonly reportData?: (reportData: Bytes) => Uint8Array
  /** The key that the evidence names, where it is not the certificate's. */
  readonly boundKey?: SigningKey
  readonly certificate?: Partial<CertificateFields>
  /** Beside everything else of the certificate. */
  readonly validity?: Pick<CertificateFields, 'notBefore' | 'notAfter'>
  /** Edits what stands in the extension. */
  readonly edit?: (value: Bytes) => Uint8Array
  /** The claims of the interoperable form, given the hash of the key. */
  readonly claims?: (digest: Bytes) => Bytes
}

export interface RaTlsIdentity {
  readonly key: string
  readonly cert: string
  readonly der: Bytes
  readonly quote: Bytes
  readonly spki: Bytes
  readonly spkiSha256: string
}

/** The two spellings of the claim; the nested one is that of the reference implementation. */
export const claimsOf = (digest: Bytes): Bytes => cbor({ 'pubkey-hash': cbor([1, digest]) })
export const flatClaimsOf = (digest: Bytes): Bytes => cbor({ 'pubkey-hash': [1, digest] })

/** A self-signed TLS certificate with a quote over its own key. */
export async function newRaTlsIdentity(
  vendor: TeeVendor,
  fields: RaTlsFields = {},
): Promise<RaTlsIdentity> {
  const { form = 'dstack-scale', log = [], boundKey, edit = (value) => value } = fields
  const key = newSigningKey()
  const bound = (boundKey ?? key).spki
  const claims = (fields.claims ?? claimsOf)(await sha256(bound))
  const expected =
    form === 'interoperable'
      ? concat(await sha256(claims), new Uint8Array(32))
      : Uint8Array.from(createHash('sha512').update('ratls-cert:').update(bound).digest())
  const reportData = (fields.reportData ?? ((value) => value))(expected)
  const quote = await vendor.quote({ ...registersOf(log), ...fields.quote, reportData })
  const name = intelName('ra-tls')
  const { der, pem } = selfSigned(key, {
    subject: name,
    extensions: extensionsOf(form, { quote, log, claims, edit }),
    ...fields.certificate,
    ...fields.validity,
  })
  return {
    key: key.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: pem,
    der,
    quote,
    spki: key.spki,
    spkiSha256: createHash('sha256').update(key.spki).digest('hex'),
  }
}

interface Carried {
  readonly quote: Bytes
  readonly log: readonly DstackEntry[]
  readonly claims: Bytes
  readonly edit: (value: Bytes) => Uint8Array
}

function extensionsOf(form: RaTlsForm, { quote, log, claims, edit }: Carried) {
  const extension = (oid: string, value: Uint8Array) => ({ oid, critical: false, value })
  const wrapped = (oid: string, value: Bytes) => extension(oid, octetString(edit(value)))
  switch (form) {
    case 'dstack-legacy':
      return [
        extension(OID.quote, octetString(quote)),
        wrapped(OID.eventLog, Uint8Array.from(gzipSync(JSON.stringify(log)))),
      ]
    case 'dstack-scale':
      return [wrapped(OID.attestation, scaleAttestation(quote, log))]
    case 'dstack-cbor':
      return [wrapped(OID.attestation, cbor(documentAttestation(quote, log)))]
    case 'dstack-msgpack':
      return [wrapped(OID.attestation, messagePack(documentAttestation(quote, log)))]
    case 'interoperable':
      return [extension(OID.interoperable, edit(cbor(new Tagged(60_000, [quote, claims]))))]
  }
}
