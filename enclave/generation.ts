import { inspect } from 'node:util'
import {
  bootSubject,
  keysetDigest,
  reportDataFor,
  statement,
  toHex,
  type AttestationReport,
  type BootDocument,
  type Bytes,
  type Keyset,
  type SourceProvenance,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { certificateReportData, createCertificate } from './certificate.ts'
import { HpkeKey, ReceiptKey, ServerKey } from './keys.ts'
import type { QuoteSource, TeeEvidence } from './quote-source.ts'

/** One keyset and the certificate that goes with it. Shows nothing secret when printed or serialised. */
export class Generation {
  readonly keyset: Keyset
  /** `sha256:<hex>` */
  readonly keysetDigest: string
  readonly bornAt: UnixSeconds
  readonly notAfter: UnixSeconds
  readonly #key: ServerKey
  readonly #certificate: string

  constructor(fields: GenerationFields) {
    this.keyset = fields.keyset
    this.keysetDigest = fields.keysetDigest
    this.bornAt = fields.bornAt
    this.notAfter = fields.keyset.not_after
    this.#key = fields.key
    this.#certificate = fields.certificate
  }

  /** PEM, made on demand for `tlsOptions`: the key is secret, and nothing but `node:tls` has a use for it. */
  get tls(): { readonly key: string; readonly cert: string } {
    return { key: this.#key.pem(), cert: this.#certificate }
  }

  /** With `getters`, `util.inspect` would call the one above. */
  [inspect.custom](): string {
    return `Generation ${this.keysetDigest}`
  }
}

interface GenerationFields {
  readonly keyset: Keyset
  readonly keysetDigest: string
  readonly bornAt: UnixSeconds
  readonly key: ServerKey
  readonly certificate: string
}

/** A generation with the keys that only the enclave uses. */
export interface LiveGeneration {
  readonly generation: Generation
  readonly receiptKey: ReceiptKey
  readonly hpkeKey: HpkeKey
  /** Over no nonce. */
  readonly report: AttestationReport
}

export interface GenerationInput {
  readonly source: QuoteSource
  readonly boot: BootDocument
  readonly provenance: SourceProvenance
  readonly domain: string | null
  readonly now: UnixSeconds
  readonly lifetimeSeconds: number
}

/** New keys, their certificate and their nonce-less report: two quotes. Rejects with `EnclaveError`. */
export async function createGeneration(input: GenerationInput): Promise<LiveGeneration> {
  const { source, domain, now } = input
  const key = new ServerKey()
  const receiptKey = new ReceiptKey()
  const hpkeKey = new HpkeKey()
  const notAfter = now + input.lifetimeSeconds
  const keyset: Keyset = {
    subject: await bootSubject(input.boot),
    not_after: notAfter,
    receipt_signing_keys: [receiptKey.entry],
    e2ee_public_keys: [hpkeKey.entry],
    tls_public_keys: [{ spki_sha256: key.spkiSha256, ...(domain === null ? {} : { domain }) }],
  }
  const digest = await keysetDigest(keyset)
  const evidence = await source.quote(await certificateReportData(key.spki))
  const certificate = await createCertificate({ key, evidence, domain, now, notAfter })
  const fields = { keyset, keysetDigest: digest, bornAt: now, key, certificate }
  const generation = new Generation(fields)
  const report = await createReport(generation, null, input)
  return { generation, receiptKey, hpkeKey, report }
}

/** What is the same in every report of one boot. */
export type ReportInput = Pick<GenerationInput, 'source' | 'boot' | 'provenance'>

/** The report over `nonce` (ACI §4.1), with a quote of its own. Rejects with `EnclaveError`. */
export async function createReport(
  generation: Generation,
  nonce: string | null,
  input: ReportInput,
): Promise<AttestationReport> {
  const reportData = await reportDataFor(statement(generation.keysetDigest, nonce))
  const tee = await input.source.quote(reportData)
  return {
    api_version: 'aci/1',
    workload_keyset_digest: generation.keysetDigest,
    attestation: {
      tee_type: 'tdx',
      workload_keyset: generation.keyset,
      report_data: toHex(reportData.subarray(0, STATEMENT_DIGEST_LENGTH)),
      source_provenance: input.provenance,
      evidence: evidenceOf(tee, reportData, input.boot),
    },
    service_capabilities: { supported_e2ee_versions: [], serving: 'aggregator' },
  }
}

const STATEMENT_DIGEST_LENGTH = 32

function evidenceOf(tee: TeeEvidence, reportData: Bytes, boot: BootDocument) {
  return {
    quote: toHex(tee.quote),
    quote_report_data: toHex(reportData),
    ...(tee.eventLog === null ? {} : { event_log: tee.eventLog }),
    ...(tee.vmConfig === null ? {} : { vm_config: tee.vmConfig }),
    boot,
  }
}
