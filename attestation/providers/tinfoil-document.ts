import { z } from 'zod'
import {
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  fromBase64,
  fromHex,
  sha256,
  type Bytes,
} from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { memberTexts, parseJson } from '../json.ts'

/** What an enclave says of itself. Nothing in it is worth anything before the report data is compared. */
export interface TinfoilDocument {
  readonly platform: 'tdx' | 'sev-snp'
  /** A TDX quote or an SNP report. */
  readonly report: Bytes
  /** SHA-256 of the TLS key's SPKI. */
  readonly tlsKey: Bytes
  /** X25519, of the Encrypted HTTP Body Protocol. */
  readonly hpkeKey: Bytes
  readonly nonce: Bytes
  /** The evidence of GPUs, then of switches, as the bytes that the report data is a hash of. */
  readonly devices: readonly Bytes[]
}

/** The name under which the body of `GET /.well-known/tinfoil-attestation?nonce=` is kept. */
export const TINFOIL_DOCUMENT = 'tinfoil/document'

const FORMAT = 'https://tinfoil.sh/predicate/attestation/v3'
/** Their report data has no nonce, so that a recording would pass for the enclave. */
const WITHOUT_NONCE = /^https:\/\/tinfoil\.sh\/predicate\/(?:sev-snp-guest|tdx-guest)\/v[12]$/
const MAX_DOCUMENT = 1 << 20

const key = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/)
  .transform(fromHex)

const schema = z.object({
  format: z.literal(FORMAT),
  body: z.undefined().optional(),
  report_data: z.object({ tls_key_fp: key, hpke_key: key, nonce: key }),
  cpu: z.object({ platform: z.enum(['tdx', 'sev-snp']), report: z.base64().max(1 << 16) }),
})

/** Throws `tinfoil_document_malformed`, or `tinfoil_document_unsupported` for one without a nonce. */
export function parseTinfoilDocument(bytes: Bytes): TinfoilDocument {
  if (bytes.length > MAX_DOCUMENT) throw new EvidenceError('tinfoil_document_malformed')
  const text = decodeUtf8(bytes)
  const json = parseJson(text)
  const parsed = schema.safeParse(json)
  if (!parsed.success) {
    const older = z.object({ format: z.string().regex(WITHOUT_NONCE) }).safeParse(json)
    throw new EvidenceError(
      older.success ? 'tinfoil_document_unsupported' : 'tinfoil_document_malformed',
    )
  }
  const { report_data: bound, cpu } = parsed.data
  return {
    platform: cpu.platform,
    report: fromBase64(cpu.report),
    tlsKey: bound.tls_key_fp,
    hpkeKey: bound.hpke_key,
    nonce: bound.nonce,
    devices: devicesOf(memberTexts(text)),
  }
}

/** The hashes that the document states are not read: what counts is what the bytes of the evidence hash to. */
const devicesOf = (members: ReadonlyMap<string, string>): readonly Bytes[] =>
  ['gpu', 'nvswitch'].flatMap((name) => {
    const value = members.get(name)
    return value === undefined || value === 'null' ? [] : [encodeUtf8(value)]
  })

/** What the hash in the report data begins with, before the hashes of the devices' evidence. */
export const tinfoilPrefix = ({ tlsKey, hpkeKey, nonce }: TinfoilDocument): Bytes =>
  concatBytes(tlsKey, hpkeKey, nonce)

/** The report data that binds everything that the document says: a hash, then 32 zero bytes. */
export async function tinfoilReportData(document: TinfoilDocument): Promise<Bytes> {
  const devices = await Promise.all(document.devices.map(sha256))
  const bound = await sha256(concatBytes(tinfoilPrefix(document), ...devices))
  return concatBytes(bound, new Uint8Array(32))
}
