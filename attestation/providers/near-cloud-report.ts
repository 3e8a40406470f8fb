import { z } from 'zod'
import { decodeUtf8, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson, type JsonValue } from '../json.ts'
import { parseNearReport, type NearReport } from './near-report.ts'

const json: z.ZodType<JsonValue> = z.json()

/**
 * The router's own attestation, and that of the node behind it. More than one node would leave open which of them a
 * prompt is encrypted to.
 */
const schema = z.object({
  gateway_attestation: json,
  model_attestations: z.tuple([json]),
})

/** What NEAR AI's router answers about one model. Nothing in it is verified. */
export interface NearCloudReport {
  readonly gateway: NearReport
  readonly node: NearReport
}

/** Throws `provider_report_malformed`, `json_malformed`. */
export function readNearCloudReport(bytes: Bytes): NearCloudReport {
  const parsed = schema.safeParse(parseJson(decodeUtf8(bytes)))
  if (!parsed.success) throw new EvidenceError('provider_report_malformed')
  const { gateway_attestation: gateway, model_attestations: nodes } = parsed.data
  return { gateway: parseNearReport(gateway), node: parseNearReport(nodes[0]) }
}
