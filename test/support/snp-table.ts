import type { Bytes } from '@vouchgate/attestation'
import { hex } from './der.ts'
import type { EndorsementKind, SnpVendor } from './snp-vendor.ts'

/** GUIDs of a certificate table, as their bytes (GHCB 56421 §4.1.8.1). */
export const TABLE_GUID = {
  vcek: '63da758de6644564adc5f4b93be8accd',
  vlek: 'a8074bc2a25a483eaae639c045a0b8a1',
  ask: '4ab7b379bbac4fe4a02f05aef327c782',
  ark: 'c0b406a4a803495297433fb6014cd0ae',
} as const

/** One entry; `offset` and `length` where the table should state others than the content has. */
export interface TableEntry {
  readonly guid: string
  readonly content: Uint8Array
  readonly offset?: number
  readonly length?: number
}

const ENTRY_LENGTH = 24

/** A table as a host writes it, padded with zeros as the guest's pages are. */
export function certificateTable(entries: readonly TableEntry[], padding = 64): Bytes {
  const header = (entries.length + 1) * ENTRY_LENGTH
  const size = entries.reduce((sum, { content }) => sum + content.length, header)
  const bytes = new Uint8Array(size + padding)
  const view = new DataView(bytes.buffer)
  let at = header
  for (const [
    index,
    { guid, content, offset = at, length = content.length },
  ] of entries.entries()) {
    bytes.set(hex(guid), index * ENTRY_LENGTH)
    view.setUint32(index * ENTRY_LENGTH + 16, offset, true)
    view.setUint32(index * ENTRY_LENGTH + 20, length, true)
    bytes.set(content, at)
    at += content.length
  }
  return bytes
}

/** The entries that Google Cloud hands to a guest: leaf, ASK and ARK. */
export const vendorEntries = (vendor: SnpVendor, kind: EndorsementKind = 'vcek'): TableEntry[] => [
  { guid: TABLE_GUID[kind], content: vendor.leaf(kind) },
  { guid: TABLE_GUID.ask, content: vendor.signer(kind) },
  { guid: TABLE_GUID.ark, content: vendor.root() },
]
