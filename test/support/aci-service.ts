import { createHash, generateKeyPairSync } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  bootSubject,
  isNonce,
  keysetDigest,
  reportDataFor,
  statement,
  toHex,
  type AttestationReport,
  type BootDocument,
  type Bytes,
  type Clock,
  type Keyset,
} from '@vouchgate/attestation'
import { sendError, sendJson } from './openai-service.ts'
import type { CollateralOverrides, QuoteFields, TeeVendor } from './tee-vendor.ts'

/** How the service proves itself; a test breaks one thing while the server runs. */
export interface EvidenceBehaviour {
  /** Fields of the TD and of the quoting enclave, e.g. a debug TD. */
  quote: Omit<QuoteFields, 'reportData'>
  /** Collateral inside the report, or null for none. */
  collateral: CollateralOverrides | null
  /** Edits the keyset before its digest is bound: another key's SPKI, an expiry in the past. */
  keyset: (keyset: Keyset) => Keyset
  /** The nonce that the quote binds, given the one that was asked for. */
  nonce: (asked: string | null) => string | null
  /** Edits the 64 bytes of report data before they are quoted. */
  reportData: (reportData: Bytes) => Uint8Array
  /** Edits the report after everything was bound. */
  report: (report: AttestationReport) => unknown
  /** Answers the attestation route with this status and an OpenAI-shaped error. */
  status: number | null
  /** Never answers the attestation route. */
  hang: boolean
}

export interface AciService {
  readonly evidence: EvidenceBehaviour
  /** The keyset as served, edits included. */
  readonly keyset: () => Keyset
  readonly report: (nonce: string | null) => Promise<unknown>
  readonly intercept: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>
  /** Puts another TLS key into the keyset and starts its lifetime anew. */
  readonly bind: (spkiSha256: string) => void
}

export interface AciServiceOptions {
  readonly vendor: TeeVendor
  readonly clock: Clock
  readonly fields: Omit<QuoteFields, 'reportData'>
  readonly boot: BootDocument | null
  readonly lifetimeSeconds: number
  readonly spkiSha256: string
}

const ROUTE = '/v1/aci/attestation'

function newKeyset(subject: string | null, notAfter: number, spkiSha256: string): Keyset {
  const { publicKey } = generateKeyPairSync('ed25519')
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
  const key_id = `receipt-${createHash('sha256').update(raw).digest('hex').slice(0, 8)}`
  return {
    subject,
    not_after: notAfter,
    receipt_signing_keys: [{ key_id, algo: 'ed25519', public_key: toHex(raw) }],
    e2ee_public_keys: [],
    tls_public_keys: [{ spki_sha256: spkiSha256 }],
  }
}

/** The attestation route of an ACI/1 service that serves its own model ("direct"). */
export async function aciService(options: AciServiceOptions): Promise<AciService> {
  const { vendor, clock, boot, lifetimeSeconds } = options
  const subject = boot === null ? null : await bootSubject(boot)
  const generation = (spkiSha256: string) =>
    newKeyset(subject, clock.now() + lifetimeSeconds, spkiSha256)
  let current = generation(options.spkiSha256)
  const evidence: EvidenceBehaviour = {
    quote: options.fields,
    collateral: {},
    keyset: (keyset) => keyset,
    nonce: (asked) => asked,
    reportData: (reportData) => reportData,
    report: (report) => report,
    status: null,
    hang: false,
  }
  const keyset = (): Keyset => evidence.keyset(current)
  const report = async (asked: string | null): Promise<unknown> => {
    const served = keyset()
    const digest = await keysetDigest(served)
    const reportData = await reportDataFor(statement(digest, evidence.nonce(asked)))
    const quote = await vendor.quote({
      ...evidence.quote,
      reportData: evidence.reportData(reportData),
    })
    const { collateral } = evidence
    const document: AttestationReport = {
      api_version: 'aci/1',
      workload_keyset_digest: digest,
      attestation: {
        tee_type: 'tdx',
        workload_keyset: served,
        report_data: toHex(reportData.subarray(0, 32)),
        source_provenance: {
          repo_url: null,
          repo_commit: null,
          image_digest: null,
          image_provenance: null,
        },
        evidence: {
          quote: toHex(quote),
          ...(boot === null ? {} : { boot }),
          ...(collateral === null
            ? {}
            : { collateral: vendor.collateral({ at: clock.now(), ...collateral }) }),
        },
      },
      service_capabilities: { supported_e2ee_versions: [], serving: 'direct' },
    }
    return evidence.report(document)
  }
  return {
    evidence,
    keyset,
    report,
    bind: (spkiSha256) => {
      current = generation(spkiSha256)
    },
    intercept: async (request, response) => {
      response.setHeader('x-aci-version', 'aci/1')
      const [pathname, query] = (request.url ?? '').split('?')
      if (pathname !== ROUTE || request.method !== 'GET') return false
      const nonce = new URLSearchParams(query).get('nonce')
      if (evidence.hang) return true
      if (evidence.status !== null) {
        sendError(response, evidence.status, 'server_error', 'attestation is unavailable')
      } else if (nonce !== null && !isNonce(nonce)) {
        sendError(response, 400, 'invalid_request_error', 'the nonce is not 64 hex digits')
      } else {
        sendJson(response, 200, await report(nonce))
      }
      return true
    },
  }
}
