import { z } from 'zod'
import type { ChannelBindings } from '../binding.ts'
import {
  concatBytes,
  decodeUtf8,
  equalBytes,
  fromHex,
  sha256,
  toHex,
  type Bytes,
} from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { ethereumAddress } from '../keccak.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { checkObserved } from './channel.ts'
import { providerClaims } from './claims.ts'
import { acceptTdx } from './cpu.ts'
import { documentOf } from './evidence.ts'
import { expiryOf } from './expiry.ts'
import { challengeOf } from './freshness.ts'
import type { AppraiseKind } from './kind.ts'
import { checkReportData, gpusOf, launchOf } from './near-node.ts'
import type { ProviderPolicy } from './policy.ts'
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
  const keys = keysOf(report)
  await checkKeys(keys, quote, nonce)
  // 3. The event log replays to it, and the published configuration is the measured one.
  const launch = await launchOf(report, quote, input)
  // 4. The GPUs are genuine and answered the same challenge.
  const gpus = await gpusOf(report, nonce, quote, input)
  // 5. There is a key for prompts to travel to, the connection ends in it, and behind it is this model.
  const bindings = await bindingsOf(keys, report, policy)
  if (keys.tls !== null) checkObserved(keys.tls, evidence)
  checkModel(report, evidence.model)
  return [
    {
      bindings,
      expiresAt: expiryOf(quote, gpus),
      identity: { app_id: launch.logged['app_id'] ?? null },
      claims: providerClaims({
        cpu: quote,
        binds: keys.tls === null ? 'the signing key of the node' : 'the TLS key of the connection',
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
  /** Services that pass a report on name the model as it was asked for; a node names its own. */
  model: z.string().max(256).optional(),
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
  const report = parseNearReport(value)
  return { ...report, model_name: stated.data.model ?? report.model_name }
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

interface Keys {
  readonly address: Bytes
  /** SHA-256 of the node's TLS SPKI; null in version 1 of the report. */
  readonly tls: Bytes | null
}

const keysOf = (report: NearReport): Keys => ({
  address: addressOf(report),
  tls:
    typeof report.tls_cert_fingerprint === 'string' ? fromHex(report.tls_cert_fingerprint) : null,
})

/** With a TLS key the report data holds a hash of both (version 2), without one the address itself (version 1). */
async function checkKeys(
  { address, tls }: Keys,
  quote: AcceptedQuote,
  nonce: string,
): Promise<void> {
  if (tls !== null) {
    await checkReportData(quote, [address, tls], nonce)
    return
  }
  const padded = concatBytes(address, new Uint8Array(32 - address.length))
  if (!equalBytes(quote.reportData, concatBytes(padded, fromHex(nonce)))) {
    throw new EvidenceError('provider_keys_not_bound')
  }
}

/**
 * Version 1 proves a node and no way to it that this gateway knows: whoever passes it on can read the prompt. Where
 * somebody only looks, the signing key is named.
 */
async function bindingsOf(
  { address, tls }: Keys,
  report: NearReport,
  { channel }: ProviderPolicy,
): Promise<ChannelBindings> {
  if (tls !== null) return [{ kind: 'tls-spki-sha256', digest: tls }]
  const point = /^(?:04)?([0-9a-fA-F]{128})$/.exec(report.signing_public_key ?? '')?.[1]
  const isNamed = point !== undefined && ethereumAddress(fromHex(point)) === toHex(address)
  if (channel === 'require' || !isNamed) throw new EvidenceError('provider_keys_not_bound')
  const publicKey = fromHex(point)
  const digest = await sha256(publicKey)
  return [{ kind: 'e2ee-public-key', protocol: 'near-ecdsa', keyId: null, publicKey, digest }]
}
