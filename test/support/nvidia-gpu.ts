import { randomBytes } from 'node:crypto'
import { toBase64, type Bytes } from '@vouchgate/attestation'
import { concat, implicit, integer, octetString, oid, sequence } from './der.ts'
import {
  deviceAltName,
  issueAuthority,
  issueCertificate384,
  LONG,
  newNvidiaPki,
  newP384Key,
  nvidiaName,
  signRaw384,
  SIGNING_EXTENSIONS,
  caExtensions,
  type Certificate384,
  type CertificateFields384,
  type Extension384,
  type NvidiaPki,
  type P384Key,
} from './nvidia-pki.ts'

/**
 * NVIDIA made of software: device reports and chains in the exact wire format under roots of its own.
 *
 * SIMULATED ROOTS. Policies that trust NVIDIA pin NVIDIA's root certificates, so nothing here is accepted by them.
 */
export type Arch = 'HOPPER' | 'BLACKWELL' | 'LS10'

const CHIPS = { HOPPER: 'GH100', BLACKWELL: 'GB100', LS10: 'LS_10' } as const
const CORES = { HOPPER: 'GSP', BLACKWELL: 'GSP', LS10: 'FSP' } as const
const SHA384 = oid('2.16.840.1.101.3.4.2.2')

const u16 = (value: number): Bytes => Uint8Array.of(value & 0xff, value >> 8)
export const ascii = (text: string): Bytes => Uint8Array.from(Buffer.from(text))
const random = (length: number): Bytes => Uint8Array.from(randomBytes(length))

const fwidElement = (fwid: Uint8Array): Bytes => sequence(SHA384, octetString(fwid))

/** What the boot ROM certifies of the firmware. */
export function fwidExtension(arch: Arch, fwid: Uint8Array, bootRom: P384Key): Extension384 {
  if (arch !== 'BLACKWELL') {
    return { id: '2.23.133.5.4.1', value: sequence(integer(1), bootRom.spki, fwidElement(fwid)) }
  }
  const list = Uint8Array.from(
    sequence(fwidElement(fwid), fwidElement(new Uint8Array(48))).map((byte, at) =>
      at === 0 ? 0xa6 : byte,
    ),
  )
  const vendor = implicit(0, Buffer.from('NVIDIA'))
  return {
    id: '2.23.133.5.4.1.1',
    value: sequence(vendor, implicit(1, ascii('GB100 A01 GSP')), list),
  }
}

interface DeviceChain {
  /** Leaf, boot ROM, provisioning authority, family, root. */
  readonly certificates: readonly Certificate384[]
  readonly leaf: Certificate384
  readonly bootRom: Certificate384
}

export const pemOf = (certificates: readonly Certificate384[]): string =>
  certificates.map(({ pem }) => pem).join('')

interface ChainChanges {
  readonly leaf?: Partial<CertificateFields384>
  readonly bootRom?: Partial<CertificateFields384>
  readonly provisioner?: Partial<CertificateFields384>
  readonly family?: Partial<CertificateFields384>
}

/** Authorities for the devices of one test file. */
export interface NvidiaVendor {
  readonly pki: NvidiaPki
  readonly chain: (
    arch: Arch,
    pdi: Uint8Array,
    fwid: Uint8Array,
    changes?: ChainChanges,
  ) => DeviceChain
}

export function newNvidiaVendor(): NvidiaVendor {
  const pki = newNvidiaPki()
  return {
    pki,
    chain: (arch, pdi, fwid, changes = {}) => {
      const chip = CHIPS[arch]
      const family = issueAuthority(
        `NVIDIA ${chip === 'LS_10' ? 'GH100' : chip} Identity`,
        pki.deviceRoot,
        changes.family,
      )
      const provisioner = issueAuthority(
        `NVIDIA ${chip} Provisioner ICA 1`,
        family,
        changes.provisioner,
      )
      const serial = concat(Uint8Array.of(arch === 'LS10' ? 0x50 : 0x41), pdi)
      const bootRom = issueAuthority(`${chip} A01 ${CORES[arch]} BROM`, provisioner, {
        subject: nvidiaName(`${chip} A01 ${CORES[arch]} BROM`, Buffer.from(serial).toString('hex')),
        serial,
        extensions: caExtensions(),
        ...changes.bootRom,
      })
      const leaf = issueCertificate384({
        ...LONG,
        subject: nvidiaName(`${chip} A01 ${CORES[arch]} FMC LF`),
        issuer: bootRom.subject,
        serial: random(19),
        key: newP384Key(),
        signer: bootRom.key,
        extensions: [
          ...SIGNING_EXTENSIONS,
          deviceAltName(`NVIDIA:${chip}:0000000000000000`),
          fwidExtension(arch, fwid, bootRom.key),
        ],
        ...changes.leaf,
      })
      return { certificates: [leaf, bootRom, provisioner, family, pki.deviceRoot], leaf, bootRom }
    },
  }
}

/** Opaque fields by id, in the order in which they are written. */
export type OpaqueFields = ReadonlyMap<number, Uint8Array>

/** `96.00.9F.00.01` in the five bytes of a report. */
export function vbiosField(version: string): Bytes {
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = version
    .split('.')
    .map((part) => Number.parseInt(part, 16))
  return Uint8Array.of(d, c, b, a, e, 0, 0, 0)
}

export interface GpuFields {
  readonly driver: string
  readonly vbios: string
  readonly fwid: Uint8Array | null
  readonly nvdec0: number
  /** Empty outside of protected PCIe mode. */
  readonly switchPdis: readonly Uint8Array[]
  readonly chipInfo: string | null
  /** Feature flag; null where the driver reports none. */
  readonly feature: number | null
}

/** A GPU's fields, as driver 550 and later report them. */
export function gpuOpaque(fields: GpuFields): Map<number, Uint8Array> {
  const { switchPdis, fwid, chipInfo, feature } = fields
  const opaque = new Map<number, Uint8Array>([
    [6, vbiosField(fields.vbios)],
    [15, ascii('882\0\0\0')],
    [17, ascii('1010\0')],
    [18, ascii('0200\0')],
    [3, ascii(`${fields.driver}\0`)],
    [11, Uint8Array.of(fields.nvdec0)],
  ])
  if (fwid !== null) opaque.set(20, fwid)
  opaque.set(21, Uint8Array.of(switchPdis.length > 0 ? 0xaa : 0x55))
  if (switchPdis.length > 0) {
    const links = switchPdis.map((pdi) => pdi.toReversed())
    opaque.set(22, concat(...links, new Uint8Array(8 * (18 - links.length))))
  }
  if (chipInfo !== null) opaque.set(35, ascii(`${chipInfo}\0`))
  if (feature !== null) opaque.set(36, u16(feature))
  return opaque
}

export function switchOpaque(
  pdi: Uint8Array,
  gpuPdis: readonly Uint8Array[],
  bios = '96.10.55.00.01',
): Map<number, Uint8Array> {
  return new Map<number, Uint8Array>([
    [6, ascii(bios)],
    [22, pdi],
    [26, concat(...gpuPdis, new Uint8Array(8 * (8 - gpuPdis.length) + 64))],
    [23, u16(0xec)],
    [24, u16(0)],
    [25, u16(1)],
  ])
}

const encodeOpaque = (fields: OpaqueFields): Bytes =>
  concat(...[...fields].map(([id, data]) => concat(u16(id), u16(data.length), data)))

/** Every part of a report that a test may want to spoil. */
export interface ReportFields {
  readonly requestHeader: Uint8Array
  readonly nonce: Uint8Array
  readonly responseHeader: Uint8Array
  readonly blocks: readonly Uint8Array[]
  readonly blockCount: number
  readonly recordLength: number
  readonly opaque: Uint8Array
  readonly opaqueLength: number
  /** Appended after the signature. */
  readonly trailing: Uint8Array
}

export const measurementBlock = (index: number, value: Uint8Array): Bytes =>
  concat(Uint8Array.of(index, 1, 51, 0, 1, 48, 0), value)

/** Value `n` of device measurements made here: 48 bytes of `n`. */
export const measured = (index: number): Bytes => new Uint8Array(48).fill(index)

export function reportFields(
  nonce: Uint8Array,
  opaque: OpaqueFields,
  values: readonly Uint8Array[],
): ReportFields {
  const blocks = values.map((value, at) => measurementBlock(at + 1, value))
  const encoded = encodeOpaque(opaque)
  return {
    requestHeader: Uint8Array.of(0x11, 0xe0, 0x01, 0xff),
    nonce,
    responseHeader: Uint8Array.of(0x11, 0x60, 0, 0),
    blocks,
    blockCount: blocks.length,
    recordLength: concat(...blocks).length,
    opaque: encoded,
    opaqueLength: encoded.length,
    trailing: new Uint8Array(0),
  }
}

export function signReport(fields: ReportFields, key: P384Key): Bytes {
  const length = fields.recordLength
  const message = concat(
    fields.requestHeader,
    fields.nonce,
    Uint8Array.of(0),
    fields.responseHeader,
    Uint8Array.of(fields.blockCount, length & 0xff, (length >> 8) & 0xff, length >> 16),
    ...fields.blocks,
    random(32),
    u16(fields.opaqueLength),
    fields.opaque,
  )
  return concat(message, signRaw384(key, message), fields.trailing)
}

/** A device that answers nonces. */
export interface SimulatedDevice {
  readonly arch: Arch
  readonly pdi: Bytes
  readonly fwid: Bytes
  readonly chain: DeviceChain
  readonly pem: string
  readonly opaque: Map<number, Uint8Array>
  readonly values: Uint8Array[]
  /** The report over a nonce. */
  readonly answer: (nonce: Uint8Array) => Bytes
}

function device(
  vendor: NvidiaVendor,
  arch: Arch,
  identity: { readonly pdi: Bytes; readonly fwid: Bytes },
  opaque: Map<number, Uint8Array>,
): SimulatedDevice {
  const chain = vendor.chain(arch, identity.pdi, identity.fwid)
  const values = Array.from({ length: arch === 'LS10' ? 31 : 64 }, (_, at) => measured(at))
  return {
    ...identity,
    arch,
    chain,
    pem: pemOf(chain.certificates),
    opaque,
    values,
    answer: (nonce) => signReport(reportFields(nonce, opaque, values), chain.leaf.key),
  }
}

export function newGpu(
  vendor: NvidiaVendor,
  arch: 'HOPPER' | 'BLACKWELL' = 'HOPPER',
  fields: Partial<GpuFields> & { readonly pdi?: Bytes } = {},
): SimulatedDevice {
  const identity = { pdi: fields.pdi ?? random(8), fwid: random(48) }
  const opaque = gpuOpaque({
    driver: arch === 'HOPPER' ? '580.95.05' : '590.48.01',
    vbios: arch === 'HOPPER' ? '96.00.9F.00.01' : '97.00.D9.00.35',
    fwid: identity.fwid,
    nvdec0: 0x55,
    switchPdis: [],
    chipInfo: arch === 'BLACKWELL' ? 'GB100' : null,
    feature: fields.switchPdis === undefined || fields.switchPdis.length === 0 ? 0 : 2,
    ...fields,
  })
  return device(vendor, arch, identity, opaque)
}

export function newSwitch(
  vendor: NvidiaVendor,
  gpuPdis: readonly Uint8Array[],
  pdi: Bytes = random(8),
): SimulatedDevice {
  return device(vendor, 'LS10', { pdi, fwid: random(48) }, switchOpaque(pdi, gpuPdis))
}

/** GPUs in protected PCIe mode with their switches, each naming the others. */
export function newChassis(vendor: NvidiaVendor, gpus = 2, switches = 2): SimulatedDevice[] {
  const gpuPdis = Array.from({ length: gpus }, () => random(8))
  const switchPdis = Array.from({ length: switches }, () => random(8))
  return [
    ...gpuPdis.map((pdi) => newGpu(vendor, 'HOPPER', { pdi, switchPdis })),
    ...switchPdis.map((pdi) => newSwitch(vendor, gpuPdis, pdi)),
  ]
}

export const evidenceItem = (report: Uint8Array, pem: string, arch: string) => ({
  arch,
  evidence: toBase64(report),
  certificate: Buffer.from(pem).toString('base64'),
})

/** A bare list, the shape that may mix GPUs and switches. */
export const evidenceList = (devices: readonly SimulatedDevice[], nonce: Uint8Array): string =>
  JSON.stringify(
    devices.map(({ arch, pem, answer }) => ({
      ...evidenceItem(answer(nonce), pem, arch),
      nonce: Buffer.from(nonce).toString('hex'),
    })),
  )
