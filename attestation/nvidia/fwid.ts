import { equalBytes } from '../bytes.ts'
import { DER, derContent, derElements, derOid, type DerElement } from '../der.ts'
import { EvidenceError } from '../errors.ts'
import type { NvidiaCertificate } from './certificate.ts'
import type { Chip } from './chip.ts'
import type { DeviceInfo } from './device-info.ts'

/** TCG DICE: of Hopper and switches, and the TcbInfo of Blackwell. */
const DEVICE_ID = '2.23.133.5.4.1'
const TCB_INFO = '2.23.133.5.4.1.1'
const SHA384 = '2.16.840.1.101.3.4.2.2'
const FWID_LENGTH = 48
const CODE = 'gpu_fwid_malformed'
/** [6] of DiceTcbInfo: SEQUENCE OF FWID. */
const TCB_INFO_FWIDS = 0xa6

/**
 * Whether the firmware that the report names is the one the boot ROM certified. Switches and drivers before 550
 * report none; whether that is accepted is a policy.
 */
export type FirmwareIdentity = 'matched' | 'not-reported' | 'not-applicable'

/**
 * The leaf belongs to the firmware that runs: its certificate carries that firmware's digest, put there by
 * the boot ROM (nvidia.md §3.2).
 *
 * @throws EvidenceError `gpu_fwid_*`
 */
export function checkFwid(
  chip: Chip,
  leaf: NvidiaCertificate,
  bootRom: NvidiaCertificate,
  { fwid }: DeviceInfo,
): FirmwareIdentity {
  const certified = chip.arch === 'BLACKWELL' ? tcbInfoFwid(leaf) : deviceIdFwid(leaf, bootRom)
  if (chip.kind === 'switch') return 'not-applicable'
  if (fwid === null) return 'not-reported'
  if (!equalBytes(fwid, certified)) throw new EvidenceError('gpu_fwid_mismatch')
  return 'matched'
}

function extension(leaf: NvidiaCertificate, oid: string): DerElement[] {
  const value = leaf.extension(oid)
  if (value === null) throw new EvidenceError(CODE)
  const [outer, ...rest] = derElements(value, CODE)
  if (rest.length > 0) throw new EvidenceError(CODE)
  return derElements(derContent(outer, DER.sequence, CODE), CODE)
}

/** `SEQUENCE { INTEGER 1, SubjectPublicKeyInfo of the boot ROM, FWID }` */
function deviceIdFwid(leaf: NvidiaCertificate, bootRom: NvidiaCertificate): Uint8Array {
  const [version, spki, fwid, ...rest] = extension(leaf, DEVICE_ID)
  if (rest.length > 0 || spki === undefined) throw new EvidenceError(CODE)
  const [number, ...more] = derContent(version, DER.integer, CODE)
  if (number !== 1 || more.length > 0) throw new EvidenceError(CODE)
  if (!equalBytes(spki.bytes, bootRom.spki)) throw new EvidenceError('gpu_fwid_issuer_mismatch')
  return fwidDigest(fwid)
}

/** The first of the list is the firmware's; the second belongs to the layer below. */
function tcbInfoFwid(leaf: NvidiaCertificate): Uint8Array {
  const fwids = extension(leaf, TCB_INFO).filter(({ tag }) => tag === TCB_INFO_FWIDS)
  if (fwids.length !== 1) throw new EvidenceError(CODE)
  return fwidDigest(derElements(derContent(fwids[0], TCB_INFO_FWIDS, CODE), CODE)[0])
}

/** `SEQUENCE { OID sha384, OCTET STRING }` */
function fwidDigest(element: DerElement | undefined): Uint8Array {
  const [algorithm, digest, ...rest] = derElements(derContent(element, DER.sequence, CODE), CODE)
  const isSha384 = derOid(derContent(algorithm, DER.oid, CODE), CODE) === SHA384
  const content = derContent(digest, DER.octetString, CODE)
  if (!isSha384 || rest.length > 0 || content.length !== FWID_LENGTH) throw new EvidenceError(CODE)
  return content
}
