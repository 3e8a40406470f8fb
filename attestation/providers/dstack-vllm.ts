import { z } from 'zod'
import { decodeUtf8, fromHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { checkObserved } from './channel.ts'
import { providerClaims } from './claims.ts'
import { acceptTdx } from './cpu.ts'
import { documentOf } from './evidence.ts'
import { expiryOf } from './expiry.ts'
import { challengeOf } from './freshness.ts'
import type { AppraiseKind } from './kind.ts'
import { checkReportData, gpusOf, launchOf } from './near-node.ts'
import { parseNearReport, type NearReport } from './near-report.ts'

/** The body of `GET /v1/attestation/report?version=2`. */
export const VLLM_REPORT = 'report'

/**
 * A node of Phala's vllm-proxy, or of what has taken its place, on dstack (providers.md §3a, §10.2).
 *
 * Newer nodes throw the private half of their signing key away, so nothing is ever encrypted to it: prompts travel to
 * the TLS key or not at all. GPUs answered the same nonce as the CPU and no more.
 */
export const appraiseDstackVllm: AppraiseKind = async (input) => {
  const { evidence, policy } = input
  // 1. The report answers this challenge.
  const nonce = challengeOf(evidence)
  const report = readVllmReport(documentOf(evidence, VLLM_REPORT), nonce)
  // 2. The quote is genuine, of a wanted workload, and commits to the node's keys and to this challenge.
  const quote = await acceptTdx(fromHex(report.intel_quote), input)
  const { address, digest } = keysOf(report)
  await checkReportData(quote, [address, digest], nonce)
  // 3. The event log replays to it, and the published configuration is the measured one.
  const launch = await launchOf(report, quote, input)
  // 4. The GPUs are genuine and answered the same challenge.
  const gpus = await gpusOf(report, nonce, quote, input)
  // 5. The connection ends in the node, and it serves this model.
  checkObserved(digest, evidence)
  checkModel(report, evidence.model)
  return [
    {
      bindings: [{ kind: 'tls-spki-sha256', digest }],
      expiresAt: expiryOf(quote, gpus),
      identity: { app_id: launch.logged['app_id'] ?? null },
      claims: providerClaims({
        cpu: quote,
        binds: 'the TLS key of the connection',
        gpus,
        launch: { launch, policy: policy.launch },
        extra: { evidence_scope: 'instance', freshness: 'client_nonce' },
      }),
      logged: launch.logged,
    },
  ]
}

const nonceSchema = z.object({
  request_nonce: z.string().optional(),
  nonce: z.string().optional(),
})

/**
 * A report that answers this challenge. Whatever its shape: routers were seen to answer one of their own.
 *
 * @throws EvidenceError `nonce_mismatch`, `provider_report_malformed`, `json_malformed`
 */
export function readVllmReport(bytes: Bytes, nonce: string): NearReport {
  const value = parseJson(decodeUtf8(bytes))
  const stated = nonceSchema.safeParse(value)
  if (!stated.success) throw new EvidenceError('provider_report_malformed')
  if ((stated.data.request_nonce ?? stated.data.nonce) !== nonce) {
    throw new EvidenceError('nonce_mismatch')
  }
  return parseNearReport(value)
}

/** A node serves one model, and not every one says which. */
function checkModel({ model_name: stated }: NearReport, model: string | null): void {
  const known = stated !== null && stated !== undefined && model !== null
  if (known && stated !== model) throw new EvidenceError('provider_model_mismatch')
}

const ADDRESS = /^(?:0x)?([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$/

/** An Ethereum address or an Ed25519 key. */
function addressOf({ signing_address }: NearReport): Bytes {
  const [, hex] = ADDRESS.exec(signing_address) ?? []
  if (hex === undefined) throw new EvidenceError('provider_keys_not_bound')
  return fromHex(hex)
}

/**
 * Version 1 of the report names no TLS key. It proves a node and no way to it: whoever passes it on can read the prompt.
 */
function keysOf(report: NearReport): { readonly address: Bytes; readonly digest: Bytes } {
  const { tls_cert_fingerprint: tls } = report
  if (tls === null || tls === undefined) throw new EvidenceError('provider_keys_not_bound')
  return { address: addressOf(report), digest: fromHex(tls) }
}
