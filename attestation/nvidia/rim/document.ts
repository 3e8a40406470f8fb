import { EvidenceError } from '../../errors.ts'
import { DS, SWID, TCG_RIM } from './namespaces.ts'
import { readResources, type GoldenValues } from './resource.ts'
import { attributeOf, childElements } from './xml-select.ts'
import type { XmlElement } from './xml.ts'

/** Which firmware reference values are for. A GPU has a driver and a VBIOS, a switch one BIOS. */
export type RimSlot = 'driver' | 'vbios' | 'switch'

/** What the signed content of reference values says. */
export interface RimDocument {
  /** `GH100`, `GB100`, `LS10`. */
  readonly product: string
  readonly edition: 'GPU' | 'SWITCH'
  readonly slot: RimSlot
  /** The colloquial version as written: `550.90.07`, `96.00.9F.00.01`. */
  readonly version: string
  readonly tagId: string
  readonly golden: GoldenValues
}

/** NVIDIA's IANA private enterprise number. */
const NVIDIA = '5703'
/** Five bytes in hex; a driver's version begins with at least three digits, so that no text is both. */
const BIOS_VERSION = /^[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f]{2}){4}$/
const DRIVER_VERSION = /^[0-9]{3,5}(?:\.[0-9]{1,5}){1,3}$/
const PRODUCT = /^[A-Z]{1,4}[0-9]{1,4}$/
const TAG_ID = /^[!-~]{1,128}$/

/** Throws `rim_root_unexpected`. */
export function checkRoot({ namespace, local }: XmlElement): void {
  if (namespace !== SWID || local !== 'SoftwareIdentity') {
    throw new EvidenceError('rim_root_unexpected')
  }
}

/**
 * Reads the tree whose canonical form was verified, and no other.
 *
 * @throws EvidenceError `rim_document_malformed`, `rim_*_unknown`, and those of {@link readResources}
 */
export function readDocument(root: XmlElement): RimDocument {
  const { meta, payload } = partsOf(root)
  const manufacturer = attributeOf(meta, TCG_RIM, 'FirmwareManufacturerId')
  if (manufacturer !== NVIDIA) throw new EvidenceError('rim_manufacturer_unknown')
  const edition = editionOf(text(meta, 'edition'))
  const version = text(meta, 'colloquialVersion')
  const product = text(meta, 'product')
  const tagId = text(root, 'tagId')
  if (!PRODUCT.test(product) || !TAG_ID.test(tagId)) {
    throw new EvidenceError('rim_document_malformed')
  }
  const slot = slotOf(edition, version)
  return { product, edition, slot, version, tagId, golden: readResources(payload) }
}

/** Entity, Meta, Payload and the signature: each once, in this order, and nothing else. */
function partsOf(root: XmlElement): { meta: XmlElement; payload: XmlElement } {
  const code = 'rim_document_malformed'
  const children = childElements(root, code)
  const names = children.map(({ namespace, local }) => `${namespace} ${local}`)
  const expected = [`${SWID} Entity`, `${SWID} Meta`, `${SWID} Payload`, `${DS} Signature`]
  const [, meta, payload] = children
  const fits = names.length === expected.length && names.every((name, at) => name === expected[at])
  if (meta === undefined || payload === undefined || !fits) throw new EvidenceError(code)
  return { meta, payload }
}

function text(element: XmlElement, name: string): string {
  const value = attributeOf(element, '', name)
  if (value === undefined) throw new EvidenceError('rim_document_malformed')
  return value
}

function editionOf(edition: string): 'GPU' | 'SWITCH' {
  if (edition === 'GPU' || edition === 'SWITCH') return edition
  throw new EvidenceError('rim_edition_unknown')
}

/**
 * The edition tells a switch. Nothing that is signed says whether a GPU's values are for the driver or the VBIOS
 * but the form of the version, so the form decides.
 */
function slotOf(edition: 'GPU' | 'SWITCH', version: string): RimSlot {
  const isBios = BIOS_VERSION.test(version)
  if (isBios) return edition === 'SWITCH' ? 'switch' : 'vbios'
  if (edition === 'GPU' && DRIVER_VERSION.test(version)) return 'driver'
  throw new EvidenceError('rim_version_unknown')
}
