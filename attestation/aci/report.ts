import { z } from 'zod'
import { decodeUtf8 } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'
import type { Collateral } from '../tdx/collateral.ts'
import { bootSchema, type BootDocument } from './boot.ts'
import { digestLabel, hexOf, keysetSchema, type Keyset } from './keyset.ts'

/** Each member null where unknown. Labels, not proof: only a measurement can back them (ACI §4.1). */
export interface SourceProvenance {
  readonly repo_url: string | null
  readonly repo_commit: string | null
  readonly image_digest: string | null
  readonly image_provenance: string | null
}

/** ACI §4.1. */
export interface AttestationReport {
  readonly api_version: 'aci/1'
  readonly workload_keyset_digest: string
  readonly attestation: {
    readonly tee_type: 'tdx'
    readonly workload_keyset: Keyset
    readonly report_data: string
    readonly source_provenance?: SourceProvenance | undefined
    readonly evidence: ReportEvidence
  }
  readonly service_capabilities?:
    | { readonly supported_e2ee_versions: readonly string[]; readonly serving: string }
    | undefined
}

/** dstack-style TDX evidence, plus what Vouchgate adds: the boot document and the collateral. */
export interface ReportEvidence {
  readonly quote: string
  readonly quote_report_data?: string | undefined
  readonly event_log?: string | undefined
  readonly app_compose?: string | undefined
  readonly vm_config?: string | undefined
  readonly boot?: BootDocument | undefined
  readonly collateral?: Collateral | undefined
}

const MAX_TEXT = 1 << 20
const label = z.string().max(4096).nullable().default(null)
// Some services write null for what they do not have.
const text = z
  .string()
  .max(MAX_TEXT)
  .nullish()
  .transform((value) => value ?? undefined)

const reportSchema = z.object({
  api_version: z.literal('aci/1'),
  workload_keyset_digest: digestLabel,
  attestation: z.object({
    tee_type: z.literal('tdx'),
    workload_keyset: keysetSchema,
    report_data: hexOf(32),
    source_provenance: z
      .object({ repo_url: label, repo_commit: label, image_digest: label, image_provenance: label })
      .optional(),
    evidence: z.object({
      quote: z.string().max(1 << 17),
      quote_report_data: hexOf(64).optional(),
      event_log: text,
      app_compose: text,
      vm_config: text,
      boot: bootSchema.optional(),
      collateral: z.record(z.string(), z.string().max(MAX_TEXT)).optional(),
    }),
  }),
  service_capabilities: z
    .object({ supported_e2ee_versions: z.array(z.string()), serving: z.string() })
    .optional(),
})

/** A report whose collateral has not been looked at. */
export type ParsedReport = z.output<typeof reportSchema>

/** Throws `report_malformed`; nothing is verified here. */
export function parseReport(bytes: Uint8Array): ParsedReport {
  const parsed = reportSchema.safeParse(parseJson(decodeUtf8(bytes)))
  if (!parsed.success) throw new EvidenceError('report_malformed')
  return parsed.data
}
