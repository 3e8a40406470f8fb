import type { Bytes } from '@vouchgate/attestation'
import { boolean, enumerated, hex, integer, octetString, oid, sequence } from './der.ts'
import { SGX_EXTENSION_OID } from './pki.ts'

/** What a PCK certificate says about its platform. Hex strings; SVNs out of range are written as given. */
export interface SgxPlatform {
  /** 'platform' certificates carry the platform instance id and the configuration too. */
  readonly ca: 'platform' | 'processor'
  readonly ppid: string
  readonly components: readonly number[]
  readonly pcesvn: number
  readonly cpuSvn: string
  readonly pceId: string
  readonly fmspc: string
  /** 0 standard, 1 scalable, 2 scalable with integrity. */
  readonly sgxType: number
  readonly platformInstanceId: string
}

/** FMSPC and SVNs of a real platform; the identifiers are made up. */
export const DEFAULT_PLATFORM: SgxPlatform = {
  ca: 'platform',
  ppid: '51d51d51d51d51d51d51d51d51d51d51',
  components: [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
  pcesvn: 11,
  cpuSvn: '03030202040100050000000000000000',
  pceId: '0000',
  fmspc: 'b0c06f000000',
  sgxType: 1,
  platformInstanceId: 'f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0',
}

/** Hooks that add, drop or replace encoded entries. */
export interface SgxExtensionEdits {
  readonly entries?: (entries: Bytes[]) => Bytes[]
  readonly tcbEntries?: (entries: Bytes[]) => Bytes[]
}

/** `SEQUENCE { OID, value }` under the SGX extension's arc, e.g. `sgxEntry('2.3', integer(4))`. */
export const sgxEntry = (arc: string, value: Uint8Array): Bytes =>
  sequence(oid(`${SGX_EXTENSION_OID}.${arc}`), value)

const same = (entries: Bytes[]): Bytes[] => entries

/** The value of the SGX extension: seven entries under the Platform CA, five under the Processor CA. */
export function sgxExtension(platform: SgxPlatform, edits: SgxExtensionEdits = {}): Bytes {
  const { entries: edit = same, tcbEntries: editTcb = same } = edits
  const tcb = [
    ...platform.components.map((svn, index) => sgxEntry(`2.${index + 1}`, integer(svn))),
    sgxEntry('2.17', integer(platform.pcesvn)),
    sgxEntry('2.18', octetString(hex(platform.cpuSvn))),
  ]
  const entries = [
    sgxEntry('1', octetString(hex(platform.ppid))),
    sgxEntry('2', sequence(...editTcb(tcb))),
    sgxEntry('3', octetString(hex(platform.pceId))),
    sgxEntry('4', octetString(hex(platform.fmspc))),
    sgxEntry('5', enumerated(platform.sgxType)),
  ]
  if (platform.ca === 'platform') {
    const flags = ['7.1', '7.2', '7.3'].map((arc) => sgxEntry(arc, boolean(true)))
    entries.push(
      sgxEntry('6', octetString(hex(platform.platformInstanceId))),
      sgxEntry('7', sequence(...flags)),
    )
  }
  return sequence(...edit(entries))
}
