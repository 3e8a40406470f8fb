import { createHash } from 'node:crypto'
import type { Bytes } from '@vouchgate/attestation'
import { concat, hex } from './der.ts'
import { signRaw, type SigningKey } from './pki.ts'

/** Bytes, or their hex. */
type Octets = Uint8Array | string

/**
 * Every field of a TDX quote. Fixed-size fields are written with the length given: a wrong length makes a
 * malformed quote, which is sometimes the point.
 */
export interface QuoteFields {
  /** 64 bytes. */
  readonly reportData: Octets
  readonly version?: number
  /** Version 5 only: 2 = TD report 1.0, 3 = TD report 1.5 (default). */
  readonly bodyType?: number
  readonly bodySize?: number
  readonly attestationKeyType?: number
  readonly teeType?: number
  readonly headerReserved?: Octets
  readonly qeVendorId?: Octets
  readonly userData?: Octets
  readonly teeTcbSvn?: Octets
  readonly mrSeam?: Octets
  readonly mrSignerSeam?: Octets
  readonly seamAttributes?: Octets
  readonly tdAttributes?: Octets
  readonly xfam?: Octets
  readonly mrtd?: Octets
  readonly mrConfigId?: Octets
  readonly mrOwner?: Octets
  readonly mrOwnerConfig?: Octets
  readonly rtmr0?: Octets
  readonly rtmr1?: Octets
  readonly rtmr2?: Octets
  readonly rtmr3?: Octets
  /** TD report 1.5 only. */
  readonly teeTcbSvn2?: Octets
  readonly mrServiceTd?: Octets
  readonly qe?: QeFields
  /** PEM text of the certification data; default leaf, PCK CA, root. */
  readonly chain?: string
  readonly outerType?: number
  readonly certificationType?: number
  /** Signs header and body; the QE report names `attestationKey` whoever signs. */
  readonly quoteSigner?: SigningKey
  readonly attestationKey?: SigningKey
  readonly qeSigner?: SigningKey
  /** Header and body, just before they are signed. */
  readonly beforeSigning?: (signed: Bytes) => Uint8Array
  /** The finished quote, padding included. */
  readonly afterSigning?: (quote: Bytes) => Uint8Array
  /** Zero bytes appended, as many platforms do. */
  readonly padding?: number
}

/** The quoting enclave's report and authentication data. */
interface QeFields {
  readonly cpuSvn?: Octets
  readonly miscSelect?: Octets
  readonly attributes?: Octets
  readonly mrEnclave?: Octets
  readonly mrSigner?: Octets
  readonly isvProdId?: number
  readonly isvSvn?: number
  /** Default: SHA-256(attestation key ‖ auth data) and 32 zero bytes. */
  readonly reportData?: Octets
  readonly authData?: Octets
}

/** What the vendor supplies where the fields say nothing. */
export interface QuoteKeys {
  readonly attestationKey: SigningKey
  readonly pckKey: SigningKey
  readonly chain: string
}

const QE_VENDOR_INTEL = '939a7233f79c4ca9940a0db3957f0607'
export const TD_QE_MRSIGNER = 'dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5'
const TEE_TDX = 0x81
const HEADER_LENGTH = 48
const SGX_REPORT_LENGTH = 384
const HEADER_AND_BODY_V4 = { version: 4, bodyType: 2 } as const
const BODY_SIZES: Readonly<Record<number, number>> = { 2: 584, 3: 648 }

const octets = (value: Octets): Uint8Array => (typeof value === 'string' ? hex(value) : value)
const zeros = (length: number): Bytes => new Uint8Array(length)
const u16 = (value: number): Bytes => Uint8Array.of(value & 0xff, (value >> 8) & 0xff)
const u32 = (value: number): Bytes => concat(u16(value & 0xffff), u16(value >>> 16))

/** A measurement-like constant: SHA-384 of a label. */
const measurement = (label: string): Bytes =>
  Uint8Array.from(createHash('sha384').update(`simulated ${label}`).digest())

/** The defaults of the TD report: an up-to-date production TD on TDX module 1.5. */
const TD_DEFAULTS = {
  teeTcbSvn: '0a010300000000000000000000000000',
  mrSeam: measurement('MRSEAM'),
  mrSignerSeam: zeros(48),
  seamAttributes: zeros(8),
  // SEPT_VE_DISABLE
  tdAttributes: '0000001000000000',
  xfam: 'e702060000000000',
  mrtd: measurement('MRTD'),
  mrConfigId: zeros(48),
  mrOwner: zeros(48),
  mrOwnerConfig: zeros(48),
  rtmr0: measurement('RTMR0'),
  rtmr1: measurement('RTMR1'),
  rtmr2: measurement('RTMR2'),
  rtmr3: measurement('RTMR3'),
} as const satisfies Partial<QuoteFields>

const QE_DEFAULTS = {
  cpuSvn: '0303191b04ff00060000000000000000',
  miscSelect: zeros(4),
  attributes: '1500000000000000e700000000000000',
  mrEnclave: '45438cc6c86f385812c8f100f1a6396323360d17462e768d4c3b33062656eb59',
  mrSigner: TD_QE_MRSIGNER,
  isvProdId: 2,
  isvSvn: 7,
  authData: '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
} as const satisfies QeFields

/** Fields that make a version 4 quote of an SGX enclave with these ATTRIBUTES (16 bytes). */
export const sgxFields = (attributes: Octets = '0500000000000000e700000000000000') =>
  ({
    teeType: 0,
    beforeSigning: (signed: Bytes) =>
      concat(
        signed.slice(0, HEADER_LENGTH),
        zeros(48),
        octets(attributes),
        zeros(SGX_REPORT_LENGTH - 64),
      ),
  }) as const satisfies Partial<QuoteFields>

/** A TDX quote of version 4 or 5, signed as a real platform signs. */
export function buildQuote(fields: QuoteFields, keys: QuoteKeys): Bytes {
  const { beforeSigning, afterSigning, padding = 0 } = fields
  const assembled = concat(header(fields), body(fields))
  const signed = beforeSigning === undefined ? assembled : concat(beforeSigning(assembled))
  const attestationKey = fields.attestationKey ?? keys.attestationKey
  const auth = concat(
    signRaw(fields.quoteSigner ?? attestationKey, signed),
    attestationKey.point,
    certification(fields, keys, attestationKey),
  )
  const quote = concat(signed, u32(auth.length), auth, zeros(padding))
  return afterSigning === undefined ? quote : concat(afterSigning(quote))
}

function header(fields: QuoteFields): Bytes {
  const { version = HEADER_AND_BODY_V4.version, attestationKeyType = 2, teeType = TEE_TDX } = fields
  return concat(
    u16(version),
    u16(attestationKeyType),
    u32(teeType),
    octets(fields.headerReserved ?? zeros(4)),
    octets(fields.qeVendorId ?? QE_VENDOR_INTEL),
    octets(fields.userData ?? concat(measurement('QE id').slice(0, 16), zeros(4))),
  )
}

function body(fields: QuoteFields): Bytes {
  const td = { ...TD_DEFAULTS, ...fields }
  const isV5 = fields.version === 5
  const type = isV5 ? (fields.bodyType ?? 3) : HEADER_AND_BODY_V4.bodyType
  const descriptor = [u16(type), u32(fields.bodySize ?? BODY_SIZES[type] ?? 0)]
  const base = [
    td.teeTcbSvn,
    td.mrSeam,
    td.mrSignerSeam,
    td.seamAttributes,
    td.tdAttributes,
    td.xfam,
    td.mrtd,
    td.mrConfigId,
    td.mrOwner,
    td.mrOwnerConfig,
    td.rtmr0,
    td.rtmr1,
    td.rtmr2,
    td.rtmr3,
    td.reportData,
  ]
  const additions = [td.teeTcbSvn2 ?? td.teeTcbSvn, td.mrServiceTd ?? zeros(48)]
  const all = type === 3 ? [...base, ...additions] : base
  return concat(...(isV5 ? descriptor : []), ...all.map(octets))
}

function certification(fields: QuoteFields, keys: QuoteKeys, attestationKey: SigningKey): Bytes {
  const { outerType = 6, certificationType = 5, chain = keys.chain } = fields
  const authData = octets(fields.qe?.authData ?? QE_DEFAULTS.authData)
  const report = qeReport(fields.qe ?? {}, concat(attestationKey.point, authData))
  const data = Buffer.from(chain)
  const inner = concat(
    report,
    signRaw(fields.qeSigner ?? keys.pckKey, report),
    u16(authData.length),
    authData,
    u16(certificationType),
    u32(data.length),
    data,
  )
  return concat(u16(outerType), u32(inner.length), inner)
}

function qeReport(fields: QeFields, bound: Uint8Array): Bytes {
  const qe = { ...QE_DEFAULTS, ...fields }
  const binding = concat(createHash('sha256').update(bound).digest(), zeros(32))
  return concat(
    octets(qe.cpuSvn),
    octets(qe.miscSelect),
    zeros(28),
    octets(qe.attributes),
    octets(qe.mrEnclave),
    zeros(32),
    octets(qe.mrSigner),
    zeros(96),
    u16(qe.isvProdId),
    u16(qe.isvSvn),
    zeros(60),
    octets(qe.reportData ?? binding),
  )
}
