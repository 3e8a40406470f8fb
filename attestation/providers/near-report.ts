import { z } from 'zod'
import { decodeUtf8, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson, type JsonValue } from '../json.ts'

/** Hex of either case, as providers write it. */
const hex = (bytes: number) =>
  z
    .string()
    .regex(/^(?:0x)?[0-9a-fA-F]+$/)
    .transform((value) => value.replace(/^0x/, '').toLowerCase())
    .refine((value) => value.length === 2 * bytes)
const quoteHex = z
  .string()
  .regex(/^(?:[0-9a-fA-F]{2})+$/)
  .min(1264)
  .max(65_536)
const long = z.string().max(1 << 22)
const json: z.ZodType<JsonValue> = z.json()
/** An array, or an array as text: guests of different age serve both. */
const eventLog = z
  .union([long, z.array(json).max(10_000)])
  .transform((log) => (typeof log === 'string' ? log : JSON.stringify(log)))

const tcbInfoSchema = z.object({ app_compose: long })
/** An object, or an object as text. */
const tcbInfo = z.union([tcbInfoSchema, long.transform(readTcbInfo)])

const infoSchema = z.object({
  tcb_info: tcbInfo,
  compose_hash: hex(32).nullish(),
  os_image_hash: hex(32).nullish(),
  app_name: z.string().max(256).nullish(),
  vm_config: long.nullish(),
})

const composeManagerSchema = z.object({
  actions: z.array(json).max(4096),
  actions_hash: hex(32),
  nonce: z.string().max(256),
  quote: quoteHex,
})

const reportSchema = z.object({
  model_name: z.string().max(256).nullish(),
  signing_address: z.string().max(256),
  signing_algo: z.enum(['ed25519', 'ecdsa']),
  signing_public_key: z.string().max(256).nullish(),
  request_nonce: z.string().max(256),
  intel_quote: quoteHex,
  nvidia_payload: long.nullish(),
  event_log: eventLog,
  info: infoSchema,
  vm_config: long.nullish(),
  tls_cert_fingerprint: hex(32).nullish(),
  compose_manager_attestation: composeManagerSchema.nullish(),
})

/** A report in the shape that NEAR's inference proxy and Phala's vllm-proxy share. Nothing in it is verified. */
export type NearReport = z.output<typeof reportSchema>

/** Throws `provider_report_malformed`, `json_malformed`. */
export function parseNearReport(value: JsonValue): NearReport {
  const parsed = reportSchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('provider_report_malformed')
  return parsed.data
}

export const readNearReport = (bytes: Bytes): NearReport =>
  parseNearReport(parseJson(decodeUtf8(bytes)))

function readTcbInfo(text: string): z.output<typeof tcbInfoSchema> {
  const parsed = tcbInfoSchema.safeParse(parseJson(text))
  if (!parsed.success) throw new EvidenceError('provider_report_malformed')
  return parsed.data
}

const vmConfigSchema = z.object({ image: z.string().max(256).nullish() })

/** What the machine says of itself, which nothing measures; null where it does not say. */
export function imageNameOf({ info, vm_config: own }: NearReport): string | null {
  const text = own ?? info.vm_config
  if (text === null || text === undefined) return info.app_name ?? null
  const parsed = vmConfigSchema.safeParse(parseJson(text))
  if (!parsed.success) throw new EvidenceError('provider_report_malformed')
  return parsed.data.image ?? info.app_name ?? null
}
