import { EvidenceError } from '../../errors.ts'
import { HASH, SWID } from './namespaces.ts'
import { attributeOf, childElements } from './xml-select.ts'
import type { XmlElement } from './xml.ts'

/** Index of an active reference value to its alternatives, 48 bytes each in lower-case hex. */
export type GoldenValues = ReadonlyMap<number, readonly string[]>

interface Resource {
  readonly index: number
  readonly active: boolean
  readonly alternatives: readonly string[]
}

/** An SPDM block has an index of one byte, from 1. */
const MAX_INDEX = 254

/** Throws `rim_resource_malformed`, `rim_index_*`, `rim_active_malformed`, `rim_size_unsupported`, `rim_alternatives_mismatch`, `rim_hash_malformed`, `rim_nothing_active`. */
export function readResources(payload: XmlElement): GoldenValues {
  const resources = childElements(payload, 'rim_document_malformed').map(readResource)
  const indexes = new Set(resources.map(({ index }) => index))
  // Of two values with one index, a lenient and a strict reader could heed different ones.
  if (indexes.size !== resources.length) throw new EvidenceError('rim_index_duplicate')
  const active = resources.filter((resource) => resource.active)
  if (active.length === 0) throw new EvidenceError('rim_nothing_active')
  return new Map(active.map(({ index, alternatives }) => [index, alternatives]))
}

function readResource(element: XmlElement): Resource {
  const isMeasurement =
    element.namespace === SWID &&
    element.local === 'Resource' &&
    element.children.length === 0 &&
    attributeOf(element, '', 'type') === 'Measurement'
  if (!isMeasurement) throw new EvidenceError('rim_resource_malformed')
  const index = indexOf(attributeOf(element, '', 'index') ?? '')
  const active = isActive(attributeOf(element, '', 'active'))
  if (attributeOf(element, '', 'size') !== '48') throw new EvidenceError('rim_size_unsupported')
  return { index, active, alternatives: alternativesOf(element) }
}

function indexOf(text: string): number {
  const index = /^(?:0|[1-9][0-9]{0,2})$/.test(text) ? Number(text) : MAX_INDEX + 1
  if (index > MAX_INDEX) throw new EvidenceError('rim_index_malformed')
  return index
}

/** Readers disagree about every other spelling: `true` is active to one and inactive to the next. */
function isActive(text: string | undefined): boolean {
  if (text !== 'True' && text !== 'False') throw new EvidenceError('rim_active_malformed')
  return text === 'True'
}

/** `Hash0` to `Hash(n-1)`, n being the number that is stated beside them. */
function alternativesOf(element: XmlElement): string[] {
  const hashes = element.attributes.filter(({ namespace }) => namespace === HASH)
  const ordered = hashes.map((_, at) => attributeOf(element, HASH, `Hash${at}`))
  const complete = ordered.filter((value) => value !== undefined)
  const stated = attributeOf(element, '', 'alternatives')
  const counted = hashes.length > 0 && complete.length === hashes.length
  if (!counted || stated !== String(hashes.length)) {
    throw new EvidenceError('rim_alternatives_mismatch')
  }
  if (!complete.every((value) => /^[0-9a-fA-F]{96}$/.test(value))) {
    throw new EvidenceError('rim_hash_malformed')
  }
  return complete.map((value) => value.toLowerCase())
}
