import { z } from 'zod'
import { decodeUtf8, fromBase64, fromHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson, type JsonValue } from '../json.ts'
import type { GpuArch } from './chip.ts'
import { SPDM_REPORT_LENGTH } from './spdm.ts'

/** One device's report with its certificates, as somebody presents them. */
export interface GpuEvidenceItem {
  /** What stands beside the evidence; the certificates decide. Null where nothing does. */
  readonly statedArch: GpuArch | null
  readonly report: Bytes
  /** PEM, leaf first. */
  readonly certificates: string
}

export interface GpuEvidence {
  readonly items: readonly GpuEvidenceItem[]
  /** The nonce that the document states, which proves nothing. */
  readonly statedNonce: Bytes | null
}

const MAX_ITEMS = 64
const MAX_CERTIFICATES = 32_768
const base64Length = (bytes: number): number => 4 * Math.ceil(bytes / 3)
const ARCHS: ReadonlyMap<string, GpuArch> = new Map([
  ['HOPPER', 'HOPPER'],
  ['BLACKWELL', 'BLACKWELL'],
  ['LS10', 'LS10'],
])

const text = z.string().nullish()
const itemSchema = z.object({
  evidence: z.string(),
  certificate: z.string(),
  arch: text,
  nonce: text,
})
const list = z.array(z.unknown())
const payloadSchema = z.object({ evidence_list: list, arch: text, nonce: text })
const listSchema = z.object({ evidences: list })
const serverSchema = z.object({ gpu: listSchema, nvswitch: listSchema.nullish() })

interface Outer {
  readonly list: readonly unknown[]
  readonly arch: string | null
  readonly nonce: string | null
}

/**
 * Reads GPU evidence in the shapes that services hand out: `nvidia_payload` (an object with `evidence_list`, or a
 * JSON string that holds one), a bare list, NVAT's `{"evidences":[…]}`, and `{"gpu":{…},"nvswitch":{…}}`.
 *
 * @param json At most 8 MiB. 1 to 64 items; a report of 1200 to 8192 bytes, certificates of at most 32 KiB.
 * @throws EvidenceError `json_malformed`, `gpu_evidence_*`, `gpu_nonce_*`, `gpu_arch_*`, `encoding_malformed`
 */
export function parseGpuEvidence(json: string): GpuEvidence {
  const value = parseJson(json)
  const outer = outerOf(typeof value === 'string' ? parseJson(value) : value)
  if (outer.list.length === 0 || outer.list.length > MAX_ITEMS) {
    throw new EvidenceError('gpu_evidence_count')
  }
  const items = outer.list.map((item) => parsed(itemSchema, item))
  const nonces = [outer.nonce, ...items.map(({ nonce }) => nonce)]
    .filter(isText)
    .map(parseNonceText)
  if (new Set(nonces).size > 1) throw new EvidenceError('gpu_nonce_conflict')
  const [nonce] = nonces
  return {
    items: items.map((item) => readItem(item, outer.arch)),
    statedNonce: nonce === undefined ? null : fromHex(nonce),
  }
}

/** A requester nonce: 64 hex digits of either case. Throws `gpu_nonce_malformed`. */
export const parseGpuNonce = (hex: string): Bytes => fromHex(parseNonceText(hex))

function parseNonceText(hex: string): string {
  if (!/^[0-9a-fA-F]{64}$/.test(hex)) throw new EvidenceError('gpu_nonce_malformed')
  return hex.toLowerCase()
}

const isText = (value: string | null | undefined): value is string => typeof value === 'string'

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (!result.success) throw new EvidenceError('gpu_evidence_malformed')
  return result.data
}

function outerOf(value: JsonValue): Outer {
  const bare = { arch: null, nonce: null }
  const bareList = list.safeParse(value)
  if (bareList.success) return { list: bareList.data, ...bare }
  const nvat = listSchema.safeParse(value)
  if (nvat.success) return { list: nvat.data.evidences, ...bare }
  const server = serverSchema.safeParse(value)
  if (server.success) {
    const { gpu, nvswitch } = server.data
    return { list: [...gpu.evidences, ...(nvswitch?.evidences ?? [])], ...bare }
  }
  const { evidence_list: items, arch, nonce } = parsed(payloadSchema, value)
  return { list: items, arch: arch ?? null, nonce: nonce ?? null }
}

function readItem(item: z.output<typeof itemSchema>, outerArch: string | null): GpuEvidenceItem {
  const { evidence, certificate } = item
  const fits =
    evidence.length >= base64Length(SPDM_REPORT_LENGTH.min) &&
    evidence.length <= base64Length(SPDM_REPORT_LENGTH.max) &&
    certificate.length <= base64Length(MAX_CERTIFICATES)
  if (!fits) throw new EvidenceError('gpu_evidence_size')
  return {
    statedArch: statedArch(item.arch ?? null, outerArch),
    report: fromBase64(evidence),
    certificates: decodeUtf8(withoutPadding(fromBase64(certificate))),
  }
}

/** Collectors were seen to hand on the driver's buffer with the zero bytes behind the text. */
const withoutPadding = (bytes: Bytes): Bytes =>
  bytes.subarray(0, bytes.findLastIndex((byte) => byte !== 0) + 1)

function statedArch(own: string | null, outer: string | null): GpuArch | null {
  if (own !== null && outer !== null && own !== outer) throw new EvidenceError('gpu_arch_conflict')
  const stated = own ?? outer
  if (stated === null) return null
  const arch = ARCHS.get(stated)
  if (arch === undefined) throw new EvidenceError('gpu_arch_unsupported')
  return arch
}
