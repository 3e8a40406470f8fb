import { isZero, Reader, toBase64, toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseSnpReport, type SnpReport } from './report.ts'
import type { GenuineSnpReport } from './verdict.ts'
import { verifySnpReport, type SnpInput } from './verify.ts'

/** What a host wrote under each GUID (its bytes in their order, as 32 hex digits). */
export type SnpCertificateTable = ReadonlyMap<string, Bytes>

export interface ExtendedSnpInput extends Omit<SnpInput, 'leaf' | 'chain'> {
  /** `auxblob` of configfs-tsm, or the data pages of an extended guest request. */
  readonly certificates: Uint8Array
  /** As in `SnpInput`, for tables that hold a leaf alone (AWS); null for those that hold all (Google Cloud). */
  readonly chain: string | null
}

const CODE = 'snp_certificate_table_malformed'
const GUID_LENGTH = 16
const ENTRY_LENGTH = GUID_LENGTH + 4 + 4
/** Hosts use one to four pages. */
const MAX_LENGTH = 1 << 16
/** All entries may point at the same bytes, and each of them is copied. */
const MAX_ENTRIES = 32
/** GHCB (56421) §4.1.8.1. An ASVK has no GUID of its own and stands under that of the ASK. */
const GUIDS = {
  vcek: '63da758de6644564adc5f4b93be8accd',
  vlek: 'a8074bc2a25a483eaae639c045a0b8a1',
  ask: '4ab7b379bbac4fe4a02f05aef327c782',
  ark: 'c0b406a4a803495297433fb6014cd0ae',
} as const

/**
 * `verifySnpReport` for a report that comes with its certificates, as a guest gets both in one request. The
 * host wrote the table and nobody signed it: it names nothing that the pinned root does not prove.
 *
 * @throws EvidenceError as `verifySnpReport`; `snp_certificate_table_malformed`; `certificate_chain_length`
 * where the table does not hold the leaf that the report names.
 */
export async function verifyExtendedSnpReport(input: ExtendedSnpInput): Promise<GenuineSnpReport> {
  const { certificates, chain, ...rest } = input
  const table = parseSnpCertificateTable(certificates)
  const leaf = leafFor(parseSnpReport(input.report), table)
  return verifySnpReport({ ...rest, leaf, chain: chain ?? chainIn(table) })
}

/**
 * Reads a certificate table: entries of GUID, offset and length up to an entry of zeros, then the content.
 * GUIDs of other things than certificates are kept as they are. Throws `snp_certificate_table_malformed`.
 */
export function parseSnpCertificateTable(bytes: Uint8Array): SnpCertificateTable {
  if (bytes.length > MAX_LENGTH) throw new EvidenceError(CODE)
  const table = new Map<string, Bytes>()
  const entries = readEntries(bytes)
  const contentStart = (entries.length + 1) * ENTRY_LENGTH
  for (const { guid, offset, length } of entries) {
    // Under one GUID twice, the certificate that is judged could be another than the one that is used.
    const outside = offset < contentStart || offset > bytes.length
    if (outside || table.has(guid)) throw new EvidenceError(CODE)
    table.set(guid, new Reader(bytes.subarray(offset), CODE).take(length))
  }
  return table
}

interface Entry {
  readonly guid: string
  readonly offset: number
  readonly length: number
}

function readEntries(bytes: Uint8Array): readonly Entry[] {
  const reader = new Reader(bytes, CODE)
  const entries: Entry[] = []
  for (;;) {
    const entry = reader.take(ENTRY_LENGTH)
    if (isZero(entry)) return entries
    if (entries.length === MAX_ENTRIES) throw new EvidenceError(CODE)
    const fields = new Reader(entry, CODE)
    const guid = toHex(fields.take(GUID_LENGTH))
    entries.push({ guid, offset: fields.u32(), length: fields.u32() })
  }
}

/** The report says which key signed it; a table may hold both kinds of leaf. */
function leafFor({ signingKey }: SnpReport, table: SnpCertificateTable): Bytes {
  const leaf = table.get(GUIDS[signingKey])
  if (leaf === undefined) throw new EvidenceError('certificate_chain_length', 'snp_chain')
  return leaf
}

/** Fewer than two where the host left one out; what verifies the chain refuses that. */
const chainIn = (table: SnpCertificateTable): string =>
  [table.get(GUIDS.ask), table.get(GUIDS.ark)]
    .map((der) => (der === undefined ? '' : pemOf(der)))
    .join('')

const pemOf = (der: Bytes): string =>
  `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`
