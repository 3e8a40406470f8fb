import { createHash } from 'node:crypto'
import { TEST_TIME } from './clock.ts'
import { sequence } from './der.ts'
import {
  caExtensions,
  issueAuthority,
  issueCertificate384,
  newNvidiaPki,
  newP384Key,
  nextSerial,
  nvidiaName,
  signRaw384,
  SIGNING_EXTENSIONS,
  type Certificate384,
  type CertificateFields384,
  type NvidiaPki,
} from './nvidia-pki.ts'

/**
 * Signed reference values in the form of NVIDIA's, under a root of our own.
 *
 * The canonical form is written down as text and not computed, so it owes nothing to the code it judges.
 *
 * SIMULATED ROOTS. Policies that trust NVIDIA pin NVIDIA's root certificates, so nothing here is accepted by them.
 */
export const SWID = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd'
const TCG =
  'https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/'
export const HASH = 'http://www.w3.org/2001/04/xmlenc#sha384'
export const DS = 'http://www.w3.org/2000/09/xmldsig#'
export const C14N11 = 'http://www.w3.org/2006/12/xml-c14n11'
const YEAR = 365 * 86_400

export interface ResourceFields {
  readonly active: string
  readonly alternatives: string
  readonly index: string
  readonly size: string
  readonly type: string
  /** Names without prefix to values. */
  readonly hashes: Readonly<Record<string, string>>
}

/** What device number `index` of those made here measures: 48 bytes of `index`. */
export const goldenValue = (index: number): string => index.toString(16).padStart(2, '0').repeat(48)

/** Canonical: attributes by name, those of a namespace last. */
export function resource(index: number, fields: Partial<ResourceFields> = {}): string {
  const all: ResourceFields = {
    active: 'True',
    alternatives: '1',
    index: String(index),
    size: '48',
    type: 'Measurement',
    hashes: { Hash0: goldenValue(index) },
    ...fields,
  }
  const hashes = Object.entries(all.hashes).map(([name, value]) => ` ns2:${name}="${value}"`)
  return `<ns0:Resource active="${all.active}" alternatives="${all.alternatives}" index="${all.index}" name="Measurement_${index}" size="${all.size}" type="${all.type}"${hashes.join('')}></ns0:Resource>`
}

/** Indexes from 0 to `count`, of which these are active. */
export const resources = (active: readonly number[], count = 64): string[] =>
  Array.from({ length: count }, (_, index) =>
    resource(index, { active: active.includes(index) ? 'True' : 'False' }),
  )

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at)

/** Which indexes are active in genuine documents of each kind. */
export const ACTIVE = {
  hopperDriver: [7, ...range(21, 41)],
  hopperVbios: [...range(0, 6), ...range(8, 12)],
  blackwellDriver: [14, 40, 41, ...range(45, 50), ...range(52, 56), ...range(58, 61), 63],
  blackwellVbios: [...range(0, 13), ...range(16, 20)],
  nvswitch: range(0, 30),
} as const

export interface RimFields {
  readonly product: string
  readonly edition: string
  readonly version: string
  readonly tagId: string
  readonly manufacturerId: string
  /** Canonical elements. */
  readonly resources: readonly string[]
}

const hopper = { product: 'GH100', edition: 'GPU' }
const blackwell = { product: 'GB100', edition: 'GPU' }

/** Fields of documents for the devices of `nvidia-gpu.ts`. */
export const RIMS = {
  hopperDriver: { ...hopper, version: '580.95.05', resources: resources(ACTIVE.hopperDriver) },
  hopperVbios: { ...hopper, version: '96.00.9F.00.01', resources: resources(ACTIVE.hopperVbios) },
  blackwellDriver: {
    ...blackwell,
    version: '590.48.01',
    resources: resources(ACTIVE.blackwellDriver),
  },
  blackwellVbios: {
    ...blackwell,
    version: '97.00.D9.00.35',
    resources: resources(ACTIVE.blackwellVbios),
  },
  nvswitch: {
    product: 'LS10',
    edition: 'SWITCH',
    version: '96.10.55.00.01',
    resources: resources(ACTIVE.nvswitch, 31),
  },
} as const satisfies Record<string, Partial<RimFields>>

/** Hooks see canonical text before it is hashed and signed. */
export interface RimChanges {
  readonly fields?: Partial<RimFields>
  /** The root with everything in it but the signature. */
  readonly content?: (canonical: string) => string
  /** What stands in SignedInfo. */
  readonly signedInfo?: (inner: string) => string
  /** The bytes of the signature value. */
  readonly signature?: (value: Uint8Array) => Uint8Array
  /** Leaf first; without the change the whole chain with its root. */
  readonly certificates?: readonly Certificate384[]
  readonly signer?: Certificate384
}

function contentOf(given: Partial<RimFields>): string {
  const fields: RimFields = {
    ...hopper,
    version: '580.95.05',
    tagId: 'a5'.repeat(48),
    manufacturerId: '5703',
    resources: resources(ACTIVE.hopperDriver),
    ...given,
  }
  const { product, edition, version, tagId, manufacturerId } = fields
  return [
    `<SoftwareIdentity xmlns="${SWID}" xmlns:ns0="${SWID}" xmlns:ns2="${HASH}" corpus="false" name="${product}" patch="false" supplemental="false" tagId="${tagId}" tagVersion="0" version="1.0">`,
    `    <ns0:Entity name="NVIDIA Corporation" role="softwareCreator tagCreator"></ns0:Entity>`,
    `    <ns0:Meta xmlns:ns1="${TCG}" PayloadType="direct" colloquialVersion="${version}" edition="${edition}" product="${product}" revision="r1" ns1:BindingSpec="RIMIM" ns1:FirmwareManufacturer="NVIDIA Corporation" ns1:FirmwareManufacturerId="${manufacturerId}"></ns0:Meta>`,
    `    <ns0:Payload xmlns:SHA384="${HASH}">`,
    ...fields.resources.map((element) => `        ${element}`),
    `    </ns0:Payload>`,
    `</SoftwareIdentity>`,
  ].join('\n')
}

const signedInfoOf = (digest: string): string =>
  `<ds:CanonicalizationMethod Algorithm="${C14N11}"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"></ds:SignatureMethod><ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform><ds:Transform Algorithm="${C14N11}"></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"></ds:DigestMethod><ds:DigestValue>${digest}</ds:DigestValue></ds:Reference>`

/** Lines of 64, as in genuine documents. */
const wrapped = (der: Uint8Array): string =>
  Buffer.from(der).toString('base64').replaceAll(/.{64}/g, '$&\n')

const certificateElement = ({ der }: Certificate384): string =>
  `<ds:X509Certificate>${wrapped(der)}</ds:X509Certificate>`

function mint(chain: readonly Certificate384[], changes: RimChanges): string {
  const [leaf] = chain
  const signer = changes.signer ?? leaf
  if (signer === undefined) throw new TypeError('a chain has a leaf')
  const content = (changes.content ?? ((text) => text))(contentOf(changes.fields ?? {}))
  const digest = createHash('sha384').update(content).digest('base64')
  const inner = (changes.signedInfo ?? ((text) => text))(signedInfoOf(digest))
  // SignedInfo is canonicalised alone, so it shows the namespaces of the elements around it.
  const signedInfo = `<ds:SignedInfo xmlns="${SWID}" xmlns:ds="${DS}" xmlns:ns0="${SWID}" xmlns:ns2="${HASH}">${inner}</ds:SignedInfo>`
  const value = signRaw384(signer.key, Buffer.from(signedInfo))
  const shown = (changes.signature ?? ((bytes) => bytes))(value)
  const certificates = (changes.certificates ?? chain).map(certificateElement).join('')
  const signature = `<ds:Signature xmlns:ds="${DS}"><ds:SignedInfo>${inner}</ds:SignedInfo><ds:SignatureValue>${Buffer.from(shown).toString('base64')}</ds:SignatureValue><ds:KeyInfo><ds:X509Data>${certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>`
  const end = content.lastIndexOf('</')
  return content.slice(0, end) + signature + content.slice(end)
}

export interface RimVendor {
  readonly pki: NvidiaPki
  /** Signer, two authorities, root. */
  readonly chain: readonly Certificate384[]
  /** A time within the validity of all of them. */
  readonly now: number
  readonly rim: (changes?: RimChanges) => string
}

export interface RimVendorChanges {
  readonly leaf?: Partial<CertificateFields384>
  /** Which issued the leaf. */
  readonly intermediate?: Partial<CertificateFields384>
  readonly authority?: Partial<CertificateFields384>
}

export function newRimVendor(
  pki: NvidiaPki = newNvidiaPki(),
  changes: RimVendorChanges = {},
): RimVendor {
  const validity = (years: number) => ({
    notBefore: TEST_TIME - YEAR,
    notAfter: TEST_TIME + years * YEAR,
  })
  const authority = issueAuthority('NVIDIA Reference Value GH100 CA', pki.rimRoot, {
    ...validity(6),
    ...changes.authority,
  })
  const intermediate = issueAuthority('NVIDIA Reference Value L3 GH100 002', authority, {
    ...validity(3),
    extensions: caExtensions(0),
    ...changes.intermediate,
  })
  const leaf = issueCertificate384({
    ...validity(1),
    subject: nvidiaName('HCC RIM L4 Signer'),
    issuer: intermediate.subject,
    serial: nextSerial(),
    key: newP384Key(),
    signer: intermediate.key,
    extensions: [{ id: '2.5.29.19', critical: true, value: sequence() }, ...SIGNING_EXTENSIONS],
    ...changes.leaf,
  })
  const chain = [leaf, intermediate, authority, pki.rimRoot]
  return { pki, chain, now: TEST_TIME, rim: (given = {}) => mint(chain, given) }
}
