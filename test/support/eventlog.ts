import { createHash } from 'node:crypto'
import { toHex, type Bytes } from '@vouchgate/attestation'
import { concat } from './der.ts'

/*
 * Event logs as guests write them, with every field open to a test. Digests and registers are computed with
 * Node's own hash, so that a mistake of the verifier is not repeated here.
 */

export const EV = {
  noAction: 0x3,
  separator: 0x4,
  action: 0x5,
  eventTag: 0x6,
  platformConfigFlags: 0xa,
  ipl: 0xd,
  runtime: 0x0800_0001,
  variableDriverConfig: 0x8000_0001,
  variableBoot: 0x8000_0002,
  bootServicesApplication: 0x8000_0003,
  gptEvent: 0x8000_0006,
  efiAction: 0x8000_0007,
  variableBoot2: 0x8000_000c,
  variableAuthority: 0x8000_00e0,
} as const

export const SHA384 = 0x000c
export const SHA256 = 0x000b

export const sha384Of = (data: Uint8Array): Bytes =>
  Uint8Array.from(createHash('sha384').update(data).digest())

export const ascii = (text: string): Bytes => Uint8Array.from(Buffer.from(text, 'latin1'))
const u16 = (value: number): Bytes => Uint8Array.of(value & 0xff, (value >> 8) & 0xff)
const u32 = (value: number): Bytes => concat(u16(value & 0xffff), u16(value >>> 16))
const u64 = (value: number): Bytes => concat(u32(value), u32(0))

export interface CcelRecord {
  /** 0 is MRTD, 1 to 4 are RTMR0 to RTMR3. */
  readonly register: number
  readonly type: number
  readonly data: Uint8Array
  /** Default: SHA-384 of the data. */
  readonly digests?: readonly (readonly [algorithm: number, digest: Uint8Array])[]
  readonly digestCount?: number
  readonly dataLength?: number
}

interface CcelFields {
  readonly firstType?: number
  readonly sha1?: Uint8Array
  readonly signature?: string
  readonly algorithms?: readonly (readonly [algorithm: number, size: number])[]
  readonly algorithmCount?: number
  readonly vendor?: Uint8Array
  readonly vendorLength?: number
  readonly afterVendor?: Uint8Array
  /** What follows the last record; default the end marker and 0xff. */
  readonly tail?: Uint8Array
}

export const ccelRecord = (record: CcelRecord): Bytes => {
  const { register, type, data, digests = [[SHA384, sha384Of(data)]] } = record
  return concat(
    u32(register),
    u32(type),
    u32(record.digestCount ?? digests.length),
    ...digests.map(([algorithm, digest]) => concat(u16(algorithm), digest)),
    u32(record.dataLength ?? data.length),
    data,
  )
}

/** A CCEL of these records behind a Spec ID event. */
export function ccel(records: readonly CcelRecord[], fields: CcelFields = {}): Bytes {
  const { algorithms = [[SHA384, 48]], vendor = new Uint8Array(0) } = fields
  const specId = concat(
    ascii(fields.signature ?? 'Spec ID Event03\0'),
    u32(0),
    Uint8Array.of(0, 2, 0, 2),
    u32(fields.algorithmCount ?? algorithms.length),
    ...algorithms.map(([algorithm, size]) => concat(u16(algorithm), u16(size))),
    Uint8Array.of(fields.vendorLength ?? vendor.length),
    vendor,
    fields.afterVendor ?? new Uint8Array(0),
  )
  return concat(
    u32(1),
    u32(fields.firstType ?? EV.noAction),
    fields.sha1 ?? new Uint8Array(20),
    u32(specId.length),
    specId,
    ...records.map(ccelRecord),
    fields.tail ?? new Uint8Array(64).fill(0xff),
  )
}

/** UEFI_VARIABLE_DATA of a variable. */
export const efiVariable = (name: string, value: Uint8Array): Bytes =>
  concat(
    new Uint8Array(16).fill(0x61),
    u64(name.length),
    u64(value.length),
    Uint8Array.from(Buffer.from(name, 'utf16le')),
    value,
  )

/** An entry of a dstack log; a test may add or replace any member. */
export interface DstackEntry {
  readonly imr: number
  readonly event_type: number
  readonly digest: string
  readonly event: string
  readonly event_payload: string
  readonly version?: number
  readonly preimage?: string
}

export const runtimePreimage = (name: string, payload: Uint8Array, version: 1 | 2): Bytes =>
  version === 1
    ? concat(u32(EV.runtime), Uint8Array.from(Buffer.from(`:${name}:`)), payload)
    : Uint8Array.from(
        Buffer.from(`{"name":"${name}","payload":"${toHex(payload)}","type":134217729}`),
      )

/** A runtime event as the guest logs it: version 1 without, version 2 with `version` and `preimage`. */
export function runtimeEntry(
  name: string,
  payload: Uint8Array = new Uint8Array(0),
  version: 1 | 2 = 1,
): DstackEntry {
  const preimage = runtimePreimage(name, payload, version)
  return {
    imr: 3,
    event_type: EV.runtime,
    digest: toHex(sha384Of(preimage)),
    event: name,
    event_payload: toHex(payload),
    ...(version === 2 ? { version, preimage: toHex(preimage) } : {}),
  }
}

/** A boot event of a dstack log, with a digest that nothing beside it explains. */
export const bootEntry = (imr: number, label: string): DstackEntry => ({
  imr,
  event_type: EV.bootServicesApplication,
  digest: toHex(sha384Of(ascii(label))),
  event: '',
  event_payload: '',
})

export interface Registers {
  readonly rtmr0: Bytes
  readonly rtmr1: Bytes
  readonly rtmr2: Bytes
  readonly rtmr3: Bytes
}

/** The registers after these extensions, in order. */
export function extended(
  steps: readonly (readonly [rtmr: number, digest: Uint8Array])[],
): Registers {
  const register = (wanted: number): Bytes =>
    steps
      .filter(([rtmr]) => rtmr === wanted)
      .reduce<Bytes>((value, [, digest]) => sha384Of(concat(value, digest)), new Uint8Array(48))
  return { rtmr0: register(0), rtmr1: register(1), rtmr2: register(2), rtmr3: register(3) }
}

/** The registers of a guest that extended what these entries state. */
export const registersOf = (entries: readonly DstackEntry[]): Registers =>
  extended(entries.map(({ imr, digest }) => [imr, Buffer.from(digest.padEnd(96, '0'), 'hex')]))
