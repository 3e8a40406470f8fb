import { constants, createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import type { Bytes, SnpProduct, UnixSeconds } from '@vouchgate/attestation'
import { TEST_TIME } from './clock.ts'
import {
  bitString,
  boolean,
  concat,
  explicit,
  hex,
  implicit,
  integer,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts'
import { toPem } from './pki.ts'

/**
 * AMD made of software: the formats and names of AMD's key distribution service under roots of its own.
 *
 * SIMULATED ROOTS. Policies that trust AMD pin AMD's root certificates, so nothing here is accepted by them.
 */
const rsaKey = () => generateKeyPairSync('rsa', { modulusLength: 4096 })
type KeyPair = ReturnType<typeof rsaKey>

/** One set of keys for all vendors of a test file: RSA-4096 keys take seconds to find. */
export const SNP_KEYS = {
  ark: rsaKey(),
  ask: rsaKey(),
  leaf: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
} as const

const keyId = ({ publicKey }: KeyPair): Bytes =>
  Uint8Array.from(
    createHash('sha1')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest(),
  )

const hashAlgorithm = sequence(oid('2.16.840.1.101.3.4.2.2'), hex('0500'))
/** RSASSA-PSS parameters of RFC 4055 §3.1; AMD's older certificates spell the default trailer out. */
export const pssAlgorithm = (saltLength = 48, trailer = false): Bytes =>
  sequence(
    oid('1.2.840.113549.1.1.10'),
    sequence(
      explicit(0, hashAlgorithm),
      explicit(1, sequence(oid('1.2.840.113549.1.1.8'), hashAlgorithm)),
      explicit(2, integer(saltLength)),
      ...(trailer ? [explicit(3, integer(1))] : []),
    ),
  )

const signPss = (key: KeyObject, message: Uint8Array, saltLength: number): Bytes =>
  Uint8Array.from(
    sign('sha384', message, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }),
  )

const attribute = (type: string, value: Bytes): Bytes => set(sequence(oid(type), value))
export const amdName = (commonName: string): Bytes =>
  sequence(
    attribute('2.5.4.11', utf8String('Engineering')),
    attribute('2.5.4.6', printableString('US')),
    attribute('2.5.4.10', utf8String('Advanced Micro Devices')),
    attribute('2.5.4.3', utf8String(commonName)),
  )

export interface SnpExtension {
  readonly id: string
  readonly critical?: boolean
  readonly value: Uint8Array
}

const encodeExtension = ({ id, critical, value }: SnpExtension): Bytes =>
  sequence(oid(id), ...(critical === true ? [boolean(true)] : []), octetString(value))

interface AmdCertificateFields {
  readonly subject: Uint8Array
  readonly issuer: Uint8Array
  readonly serial: number
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  readonly publicKey: KeyObject
  readonly signer: KeyObject
  readonly innerAlgorithm: Uint8Array
  readonly outerAlgorithm: Uint8Array
  readonly saltLength: number
  readonly extensions: readonly SnpExtension[]
}

function issue(fields: AmdCertificateFields): Bytes {
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(fields.serial),
    fields.innerAlgorithm,
    fields.issuer,
    sequence(time(fields.notBefore), time(fields.notAfter)),
    fields.subject,
    Uint8Array.from(fields.publicKey.export({ type: 'spki', format: 'der' })),
    explicit(3, sequence(...fields.extensions.map(encodeExtension))),
  )
  const signature = signPss(fields.signer, tbs, fields.saltLength)
  return sequence(tbs, fields.outerAlgorithm, bitString(signature))
}

export const CA_EXTENSIONS: readonly SnpExtension[] = [
  { id: '2.5.29.19', critical: true, value: sequence(boolean(true)) },
  { id: '2.5.29.15', critical: true, value: bitString(Uint8Array.of(0x06), 1) },
]

const KDS = '1.3.6.1.4.1.3704.1'
export const KDS_OID = {
  product: `${KDS}.2`,
  bootloader: `${KDS}.3.1`,
  tee: `${KDS}.3.2`,
  snp: `${KDS}.3.3`,
  microcode: `${KDS}.3.8`,
  fmc: `${KDS}.3.9`,
  hwid: `${KDS}.4`,
} as const
export const ia5String = (text: string): Bytes =>
  concat(Uint8Array.of(0x16, text.length), Buffer.from(text))

/** What one chip says of itself; TCB as its eight bytes, hex. */
interface Platform {
  readonly cpuid: string
  readonly chipId: string
  readonly hwid: string
  readonly tcb: string
  readonly levels: readonly (readonly [keyof typeof KDS_OID, number])[]
}

const LEVELS = [
  ['bootloader', 10],
  ['tee', 0],
  ['snp', 23],
  ['microcode', 84],
] as const
const CHIP_ID = '5a'.repeat(64)
export const PLATFORMS: Record<SnpProduct, Platform> = {
  Milan: {
    cpuid: '190101',
    chipId: CHIP_ID,
    hwid: CHIP_ID,
    tcb: '0a00000000001754',
    levels: LEVELS,
  },
  Genoa: {
    cpuid: '191101',
    chipId: CHIP_ID,
    hwid: CHIP_ID,
    tcb: '0a00000000001754',
    levels: LEVELS,
  },
  Turin: {
    cpuid: '1a0200',
    chipId: '5a'.repeat(8) + '00'.repeat(56),
    hwid: '5a'.repeat(8),
    tcb: '010a001700000054',
    levels: [['fmc', 1], ...LEVELS],
  },
}

/** Offsets of the report's fields (SEV-SNP ABI, table 23). */
const OFFSETS = {
  version: 0x00,
  guestSvn: 0x04,
  policy: 0x08,
  vmpl: 0x30,
  signatureAlgorithm: 0x34,
  currentTcb: 0x38,
  platformInfo: 0x40,
  keyInfo: 0x48,
  reservedAfterKeyInfo: 0x4c,
  reportData: 0x50,
  measurement: 0x90,
  hostData: 0xc0,
  idKeyDigest: 0xe0,
  authorKeyDigest: 0x110,
  reportedTcb: 0x180,
  cpuid: 0x188,
  reservedAfterCpuid: 0x18b,
  chipId: 0x1a0,
  committedTcb: 0x1e0,
  currentFirmware: 0x1e8,
  committedFirmware: 0x1ec,
  launchTcb: 0x1f0,
  mitigations: 0x1f8,
  reservedBeforeSignature: 0x208,
} as const
const SIGNATURE_AT = 0x2a0

/** Fields in hex, as they stand in the report. */
export type SnpReportFields = Partial<Record<keyof typeof OFFSETS, string>>

export type CertificateOverrides = Partial<AmdCertificateFields>
export type EndorsementKind = 'vcek' | 'vlek'

export interface SnpCrlFields {
  readonly issuer: Uint8Array
  readonly signer: KeyObject
  readonly thisUpdate: UnixSeconds
  readonly nextUpdate: UnixSeconds | null
  readonly revoked: readonly number[]
  readonly authorityKeyId: Uint8Array
  readonly extensions: readonly SnpExtension[]
}

export interface SnpVendor {
  readonly now: UnixSeconds
  readonly rootPem: string
  readonly leafExtensions: (kind: EndorsementKind) => readonly SnpExtension[]
  root(overrides?: CertificateOverrides): Bytes
  signer(kind: EndorsementKind, overrides?: CertificateOverrides): Bytes
  leaf(kind: EndorsementKind, overrides?: CertificateOverrides): Bytes
  /** PEM of ASK or ASVK, then ARK. */
  chain(kind: EndorsementKind, overrides?: CertificateOverrides, root?: Bytes): string
  crl(overrides?: Partial<SnpCrlFields>): Bytes
  report(fields?: SnpReportFields, signer?: KeyObject): Bytes
}

const YEAR = 31_536_000
export const ASK_SERIAL = 0x10001

export function createSnpVendor(product: SnpProduct = 'Genoa', now = TEST_TIME): SnpVendor {
  const platform = PLATFORMS[product]
  const certificate = (fields: Partial<AmdCertificateFields>): Bytes =>
    issue({
      subject: amdName(`ARK-${product}`),
      issuer: amdName(`ARK-${product}`),
      serial: 0x10000,
      notBefore: now - YEAR,
      notAfter: now + 2 * YEAR,
      publicKey: SNP_KEYS.ark.publicKey,
      signer: SNP_KEYS.ark.privateKey,
      innerAlgorithm: pssAlgorithm(),
      outerAlgorithm: pssAlgorithm(),
      saltLength: 48,
      extensions: [...CA_EXTENSIONS, { id: '2.5.29.14', value: octetString(keyId(SNP_KEYS.ark)) }],
      ...fields,
    })
  const signerName = (kind: EndorsementKind): Bytes =>
    amdName(kind === 'vcek' ? `SEV-${product}` : `SEV-VLEK-${product}`)
  const leafExtensions = (kind: EndorsementKind): SnpExtension[] => [
    { id: KDS_OID.product, value: ia5String(kind === 'vcek' ? `${product}-B0` : product) },
    ...platform.levels.map(([name, level]) => ({ id: KDS_OID[name], value: integer(level) })),
    ...(kind === 'vcek' ? [{ id: KDS_OID.hwid, value: hex(platform.hwid) }] : []),
  ]
  const vendor: SnpVendor = {
    now,
    rootPem: toPem(certificate({}), 'CERTIFICATE'),
    leafExtensions,
    root: (overrides = {}) => certificate(overrides),
    signer: (kind, overrides = {}) =>
      certificate({
        subject: signerName(kind),
        serial: ASK_SERIAL,
        publicKey: SNP_KEYS.ask.publicKey,
        extensions: CA_EXTENSIONS,
        ...overrides,
      }),
    leaf: (kind, overrides = {}) =>
      certificate({
        subject: amdName(kind === 'vcek' ? 'SEV-VCEK' : 'SEV-VLEK'),
        issuer: signerName(kind),
        serial: 0,
        notAfter: now + YEAR,
        publicKey: SNP_KEYS.leaf.publicKey,
        signer: SNP_KEYS.ask.privateKey,
        extensions: leafExtensions(kind),
        ...overrides,
      }),
    chain: (kind, overrides, root) =>
      toPem(vendor.signer(kind, overrides), 'CERTIFICATE') +
      (root === undefined ? vendor.rootPem : toPem(root, 'CERTIFICATE')),
    crl: (overrides = {}) => issueCrl(product, now, overrides),
    report: (fields = {}, signer = SNP_KEYS.leaf.privateKey) => report(platform, fields, signer),
  }
  return vendor
}

function issueCrl(product: SnpProduct, now: UnixSeconds, overrides: Partial<SnpCrlFields>): Bytes {
  const fields: SnpCrlFields = {
    issuer: amdName(`ARK-${product}`),
    signer: SNP_KEYS.ark.privateKey,
    thisUpdate: now - 86_400,
    nextUpdate: now + 30 * 86_400,
    revoked: [],
    authorityKeyId: keyId(SNP_KEYS.ark),
    extensions: [],
    ...overrides,
  }
  const extensions: SnpExtension[] = [
    { id: '2.5.29.35', value: sequence(implicit(0, fields.authorityKeyId)) },
    ...fields.extensions,
  ]
  const entries = fields.revoked.map((serial) => sequence(integer(serial), time(fields.thisUpdate)))
  const tbs = sequence(
    integer(1),
    pssAlgorithm(),
    fields.issuer,
    time(fields.thisUpdate),
    ...(fields.nextUpdate === null ? [] : [time(fields.nextUpdate)]),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    explicit(0, sequence(...extensions.map(encodeExtension))),
  )
  return sequence(tbs, pssAlgorithm(), bitString(signPss(fields.signer, tbs, 48)))
}

function report(platform: Platform, fields: SnpReportFields, signer: KeyObject): Bytes {
  const bytes = new Uint8Array(1184)
  const all: SnpReportFields = {
    version: '05000000',
    policy: '0000030000000000',
    signatureAlgorithm: '01000000',
    platformInfo: '2500000000000000',
    currentTcb: platform.tcb,
    reportedTcb: platform.tcb,
    committedTcb: platform.tcb,
    launchTcb: platform.tcb,
    cpuid: platform.cpuid,
    chipId: platform.chipId,
    currentFirmware: '233701',
    committedFirmware: '233701',
    ...fields,
  }
  for (const [name, offset] of Object.entries(OFFSETS)) {
    const value = new Map(Object.entries(all)).get(name)
    if (value !== undefined) bytes.set(hex(value), offset)
  }
  const message = bytes.subarray(0, SIGNATURE_AT)
  const raw = sign('sha384', message, { key: signer, dsaEncoding: 'ieee-p1363' })
  bytes.set(raw.subarray(0, 48).toReversed(), SIGNATURE_AT)
  bytes.set(raw.subarray(48, 96).toReversed(), SIGNATURE_AT + 72)
  return bytes
}
