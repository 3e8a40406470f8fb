import { concatBytes, isZero, Reader, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'

/** What the owner of the guest allows the host (SEV-SNP ABI, table 9). */
export interface SnpGuestPolicy {
  readonly smt: boolean
  readonly migrationAgent: boolean
  readonly debug: boolean
  readonly singleSocket: boolean
  readonly cxl: boolean
}

/**
 * 3 adds the CPU, 5 the mitigation vectors. No document of 4, which firmware 1.55.31 writes, was at hand; it
 * verifies in the layout of 3, and where a report has more in it than that, it is refused.
 */
const SNP_REPORT_VERSIONS = [2, 3, 4, 5] as const
type SnpReportVersion = (typeof SNP_REPORT_VERSIONS)[number]

/** An ATTESTATION_REPORT (SEV-SNP ABI, table 23), read and not yet verified. TCBs are raw: their layout follows the product. */
export interface SnpReport {
  readonly version: SnpReportVersion
  readonly guestSvn: number
  readonly policy: SnpGuestPolicy
  readonly familyId: Bytes
  readonly imageId: Bytes
  /** 0 to 3; another value where the host asked for the report. */
  readonly vmpl: number
  readonly currentTcb: Bytes
  /** ALIAS_CHECK_COMPLETE: no DIMM lies about its size (BadRAM, CVE-2024-21944). */
  readonly aliasesChecked: boolean
  readonly signingKey: 'vcek' | 'vlek'
  readonly reportData: Bytes
  readonly measurement: Bytes
  readonly hostData: Bytes
  readonly idKeyDigest: Bytes
  readonly authorKeyDigest: Bytes
  readonly reportId: Bytes
  readonly reportedTcb: Bytes
  /** Family and model; null in version 2, which has none. */
  readonly cpuid: { readonly family: number; readonly model: number } | null
  readonly chipId: Bytes
  readonly committedTcb: Bytes
  readonly currentFirmware: Bytes
  readonly committedFirmware: Bytes
  readonly launchTcb: Bytes
  readonly signedRegion: Bytes
  /** r ‖ s, big-endian. */
  readonly signature: Bytes
}

const CODE = 'snp_report_malformed'
const SNP_REPORT_LENGTH = 1184
const SIGNED_LENGTH = 0x2a0
const ECDSA_P384_SHA384 = 1
const POLICY = { smt: 16n, mustBeOne: 17n, migrationAgent: 18n, debug: 19n, singleSocket: 20n }
const POLICY_CXL = 21n
/** Bits 63:26 must be zero (bits 25:22 ask for more protection, never for less). */
const POLICY_FIRST_RESERVED = 26n
const ALIAS_CHECK_COMPLETE = 0x20
const MASK_CHIP_KEY = 0x02
const SIGNING_KEYS: readonly ('vcek' | 'vlek')[] = ['vcek', 'vlek']

/** Reads an SNP report of exactly 1184 bytes. Throws `snp_report_malformed` and the codes of what it cannot judge. */
export function parseSnpReport(bytes: Uint8Array): SnpReport {
  if (bytes.length !== SNP_REPORT_LENGTH) throw new EvidenceError(CODE)
  const reader = new Reader(bytes, CODE)
  const version = reportVersion(reader.u32())
  const identity = {
    guestSvn: reader.u32(),
    policy: guestPolicy(u64(reader)),
    familyId: reader.take(16),
    imageId: reader.take(16),
    vmpl: reader.u32(),
  }
  if (reader.u32() !== ECDSA_P384_SHA384) throw new EvidenceError('snp_algorithm_unsupported')
  const platform = {
    currentTcb: reader.take(8),
    aliasesChecked: ((reader.take(8)[0] ?? 0) & ALIAS_CHECK_COMPLETE) !== 0,
    signingKey: signingKey(reader.u32()),
  }
  reserved(reader, 4)
  const guest = {
    reportData: reader.take(64),
    measurement: reader.take(48),
    hostData: reader.take(32),
    idKeyDigest: reader.take(48),
    authorKeyDigest: reader.take(48),
    reportId: reader.take(32),
  }
  reader.take(32)
  const reportedTcb = reader.take(8)
  const cpuid = readCpuid(reader, version)
  const chip = { chipId: reader.take(64), committedTcb: reader.take(8) }
  const firmware = {
    currentFirmware: readFirmware(reader),
    committedFirmware: readFirmware(reader),
  }
  const launchTcb = reader.take(8)
  // LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR.
  if (version === 5) reader.take(16)
  reserved(reader, SIGNED_LENGTH - reader.offset)
  const signature = readSignature(reader)
  const signedRegion = Uint8Array.from(bytes.subarray(0, SIGNED_LENGTH))
  return {
    version,
    ...identity,
    ...platform,
    ...guest,
    reportedTcb,
    cpuid,
    ...chip,
    ...firmware,
    launchTcb,
    signedRegion,
    signature,
  }
}

/** A bit that this version does not define could change the meaning of the others. */
function reserved(reader: Reader, length: number): void {
  if (!isZero(reader.take(length))) throw new EvidenceError(CODE)
}

const u64 = (reader: Reader): bigint => new DataView(reader.take(8).buffer).getBigUint64(0, true)

function reportVersion(stated: number): SnpReportVersion {
  const version = SNP_REPORT_VERSIONS.find((known) => known === stated)
  if (version === undefined) throw new EvidenceError('snp_report_version_unsupported')
  return version
}

function guestPolicy(bits: bigint): SnpGuestPolicy {
  const has = (bit: bigint): boolean => ((bits >> bit) & 1n) === 1n
  if (!has(POLICY.mustBeOne) || bits >> POLICY_FIRST_RESERVED !== 0n) {
    throw new EvidenceError('snp_policy_reserved')
  }
  return {
    smt: has(POLICY.smt),
    migrationAgent: has(POLICY.migrationAgent),
    debug: has(POLICY.debug),
    singleSocket: has(POLICY.singleSocket),
    cxl: has(POLICY_CXL),
  }
}

/**
 * KEY_INFO: bits 4:2 name the key. With MASK_CHIP_KEY the firmware writes zeros for a signature, so a
 * report with that bit and a signature is none of AMD's.
 */
function signingKey(keyInfo: number): 'vcek' | 'vlek' {
  if (keyInfo >>> 5 !== 0) throw new EvidenceError(CODE)
  const key = SIGNING_KEYS[keyInfo >>> 2]
  if (key === undefined || (keyInfo & MASK_CHIP_KEY) !== 0) {
    throw new EvidenceError('snp_report_unsigned')
  }
  return key
}

function readCpuid(reader: Reader, version: SnpReportVersion): SnpReport['cpuid'] {
  if (version === 2) {
    reserved(reader, 24)
    return null
  }
  const [family = 0, model = 0] = reader.take(3)
  reserved(reader, 21)
  return { family, model }
}

/** Build, minor, major. */
function readFirmware(reader: Reader): Bytes {
  const version = reader.take(3)
  reserved(reader, 1)
  return version
}

/** r and s of 72 bytes, little-endian and zero-extended; nothing after them is signed, so it must be zero. */
function readSignature(reader: Reader): Bytes {
  const r = scalar(reader)
  const s = scalar(reader)
  reserved(reader, reader.remaining)
  return concatBytes(r, s)
}

function scalar(reader: Reader): Bytes {
  const littleEndian = reader.take(48)
  reserved(reader, 24)
  return littleEndian.toReversed()
}
