import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import type { Bytes, TpmQuote } from '@vouchgate/attestation'
import { concat, hex } from './der.ts'
import { SNP_KEYS, type SnpVendor } from './snp-vendor.ts'

/**
 * An Azure confidential VM made of software: an HCL report around a simulated vendor's SNP report, and a
 * vTPM that quotes PCRs. SIMULATED ROOTS, as those of the vendor.
 */
const attestationKey = generateKeyPairSync('rsa', { modulusLength: 2048 })
const AK = {
  kid: 'HCLAkPub',
  key_ops: ['sign'],
  ...attestationKey.publicKey.export({ format: 'jwk' }),
}
const EK = { ...AK, kid: 'HCLEkPub', key_ops: ['encrypt'] }

export interface HclFields {
  readonly magic?: string
  readonly version?: number
  readonly status?: number
  readonly reserved?: string
  readonly dataVersion?: number
  readonly teeType?: number
  readonly hashType?: number
  /** Added to the stated sizes. */
  readonly reportSizeOff?: number
  readonly dataSizeOff?: number
  readonly padding?: string
  readonly runtime?: (runtime: Record<string, unknown>) => unknown
  readonly reportData?: string
}

const u32 = (value: number): Bytes => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()

export const RUNTIME_KEYS = { AK, EK } as const

const HCL_DEFAULTS = {
  magic: '48434c41',
  version: 2,
  status: 0,
  reserved: '00'.repeat(12),
  dataVersion: 1,
  teeType: 2,
  hashType: 1,
  reportSizeOff: 0,
  dataSizeOff: 0,
  padding: '00'.repeat(64),
  runtime: (runtime: Record<string, unknown>): unknown => runtime,
} as const

/** `hardware` makes the report inside; its 1184 bytes bind the runtime data by their report data. */
export function hclReport(hardware: Pick<SnpVendor, 'report'>, overrides: HclFields = {}): Bytes {
  const fields = { ...HCL_DEFAULTS, ...overrides }
  const runtime = fields.runtime({
    keys: [AK, EK],
    'vm-configuration': { 'secure-boot': true },
    'user-data': '00'.repeat(64),
  })
  const data = Buffer.from(typeof runtime === 'string' ? runtime : JSON.stringify(runtime))
  const reportData = overrides.reportData ?? sha256(data).toString('hex')
  const dataSize = 20 + data.length + fields.dataSizeOff
  return concat(
    hex(fields.magic),
    u32(fields.version),
    u32(32 + 1184 + dataSize + fields.reportSizeOff),
    u32(2),
    u32(fields.status),
    hex(fields.reserved),
    hardware.report({ reportData }),
    u32(dataSize),
    u32(fields.dataVersion),
    u32(fields.teeType),
    u32(fields.hashType),
    u32(data.length),
    data,
    hex(fields.padding),
  )
}

export interface TpmFields {
  readonly magic?: string
  readonly banks?: string
  readonly select?: string
  readonly trailing?: string
  readonly nonce?: Uint8Array
  readonly pcrs?: readonly Uint8Array[]
  /** Replaces the values that are handed over, after those above were quoted. */
  readonly shownPcrs?: readonly Uint8Array[]
  readonly key?: typeof attestationKey.privateKey
}

export const NONCE: Bytes = hex('c0ffee'.repeat(8))
/** PCR 0, 4 and 9. */
export const PCRS = [0x10, 0x14, 0x19].map((byte) => hex(byte.toString(16).repeat(32)))
/** A key that is of the right kind and none of this vTPM's. */
export const OTHER_RSA_KEY = SNP_KEYS.ask.privateKey

const sized = (bytes: Uint8Array): Bytes => concat(Uint8Array.of(0, bytes.length), bytes)

export function tpmQuote(fields: TpmFields = {}): TpmQuote {
  const pcrs = fields.pcrs ?? PCRS
  const message = concat(
    hex(fields.magic ?? 'ff5443478018'),
    sized(hex('000b'.padEnd(68, '5'))),
    sized(fields.nonce ?? NONCE),
    new Uint8Array(25),
    hex(fields.banks ?? '00000001000b'),
    hex(fields.select ?? '03110200'),
    sized(sha256(concat(...pcrs))),
    hex(fields.trailing ?? ''),
  )
  const signature = sign('sha256', message, fields.key ?? attestationKey.privateKey)
  return { message, signature, pcrs: fields.shownPcrs ?? pcrs }
}
