import { z } from 'zod'
import {
  concatBytes,
  decodeUtf8,
  equalBytes,
  isZero,
  Reader,
  sha256,
  type Bytes,
} from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'

/**
 * The report that Azure's paravisor (HCL) keeps in vTPM NV index 0x01400001: a hardware report, and the
 * runtime data whose digest is that report's report data.
 */
export interface HclReport {
  readonly tee: 'snp' | 'tdx'
  /** 1184 bytes: an SNP report, or a TDREPORT of 1024 bytes and padding. */
  readonly hardwareReport: Bytes
  /** Exactly the bytes that the report data is a digest of. */
  readonly runtimeData: Bytes
}

/** What the paravisor says about the VM; proven once its digest is found in a genuine report. */
export interface HclRuntimeClaims {
  /** The vTPM's RSA attestation key: base64url modulus; the exponent is 65537. */
  readonly attestationKey: string
  readonly vmConfiguration: Readonly<Record<string, unknown>>
  /** Hex of 64 bytes that the guest wrote to NV index 0x01400002, or null. */
  readonly userData: string | null
}

const CODE = 'hcl_malformed'
const MAGIC = Uint8Array.of(0x48, 0x43, 0x4c, 0x41)
const HEADER_LENGTH = 32
const HARDWARE_REPORT_LENGTH = 1184
const RUNTIME_HEADER_LENGTH = 20
const TEES: ReadonlyMap<number, 'snp' | 'tdx'> = new Map([
  [2, 'snp'],
  [4, 'tdx'],
])
const SHA256 = 1

/** Reads an HCL report and the zero bytes that fill its NV index. Throws `hcl_malformed` or `hcl_unsupported`. */
export function parseHclReport(bytes: Uint8Array): HclReport {
  const reader = new Reader(bytes, CODE)
  if (!equalBytes(reader.take(4), MAGIC)) throw new EvidenceError(CODE)
  const [version, reportSize, , status] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()]
  if (version !== 1 && version !== 2) throw new EvidenceError('hcl_unsupported')
  if (status !== 0 || !isZero(reader.take(12))) throw new EvidenceError(CODE)
  const hardwareReport = reader.take(HARDWARE_REPORT_LENGTH)
  const dataSize = reader.u32()
  const [dataVersion, teeType, hashType] = [reader.u32(), reader.u32(), reader.u32()]
  const length = reader.u32()
  const consistent =
    dataSize === RUNTIME_HEADER_LENGTH + length &&
    reportSize === HEADER_LENGTH + HARDWARE_REPORT_LENGTH + dataSize
  if (!consistent) throw new EvidenceError(CODE)
  const tee = TEES.get(teeType)
  if (dataVersion !== 1 || hashType !== SHA256 || tee === undefined) {
    throw new EvidenceError('hcl_unsupported')
  }
  const runtimeData = reader.take(length)
  if (!isZero(reader.take(reader.remaining))) throw new EvidenceError(CODE)
  return { tee, hardwareReport, runtimeData }
}

/** The 64 bytes of report data that bind this runtime data: its SHA-256 and zeros. */
export const hclReportData = async ({ runtimeData }: HclReport): Promise<Bytes> =>
  concatBytes(await sha256(runtimeData), new Uint8Array(32))

const runtimeClaims = z.object({
  keys: z.array(z.looseObject({ kid: z.string() })).max(16),
  'vm-configuration': z.record(z.string(), z.unknown()),
  'user-data': z
    .string()
    .regex(/^[0-9a-fA-F]{128}$/)
    .toLowerCase()
    .optional(),
})
/** 2048 to 4096 bits. */
const attestationKey = z.object({
  kid: z.literal('HCLAkPub'),
  kty: z.literal('RSA'),
  e: z.literal('AQAB'),
  n: z.string().regex(/^[A-Za-z0-9_-]{342,683}$/),
})

/** Throws `hcl_malformed`, also for two attestation keys: two readers could heed different ones. */
export function parseHclRuntime({ runtimeData }: HclReport): HclRuntimeClaims {
  const claims = runtimeClaims.safeParse(parseJson(decodeUtf8(runtimeData)))
  const keys = claims.data?.keys.filter(({ kid }) => kid === 'HCLAkPub') ?? []
  const key = attestationKey.safeParse(keys[0])
  if (!claims.success || keys.length !== 1 || !key.success) throw new EvidenceError(CODE)
  return {
    attestationKey: key.data.n,
    vmConfiguration: claims.data['vm-configuration'],
    userData: claims.data['user-data'] ?? null,
  }
}
