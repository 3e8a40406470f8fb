import type { Claim } from '../aci/claim.ts'
import { launchExtras, type Claims } from '../aci/claims.ts'
import type { ChannelBindings } from '../binding.ts'
import { equalBytes, fromHex, sha256, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { JsonValue } from '../json.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { checkObserved } from './channel.ts'
import { providerClaims } from './claims.ts'
import { acceptTdx } from './cpu.ts'
import type { DstackLaunch } from './dstack.ts'
import { documentOf } from './evidence.ts'
import { expiryOf } from './expiry.ts'
import { challengeOf } from './freshness.ts'
import type { AppraiseKind, Appraised, KindInput } from './kind.ts'
import { readNearCloudReport } from './near-cloud-report.ts'
import { checkSubject } from './near-direct.ts'
import { checkReportData, keysOf, launchOf, verifyNearNode, type NearNode } from './near-node.ts'
import type { NearReport } from './near-report.ts'

export const NEAR_CLOUD_DOCUMENTS = {
  /** The body of `GET /v1/attestation/report?model=`. */
  report: 'report',
  /** Collateral of the router's quote; that of the node's has the common name. */
  gatewayCollateral: 'tdx/gateway-collateral',
} as const

/**
 * NEAR AI's router and the model node behind it (providers.md §1).
 *
 * The node's evidence says nothing of where the router sends a prompt. So the prompt is encrypted to the key in the
 * node's quote, and travels to the key in the router's: what the router sees of it, it sees inside its TD.
 */
export const appraiseNearCloud: AppraiseKind = async (input) => {
  const { evidence } = input
  const report = readNearCloudReport(documentOf(evidence, NEAR_CLOUD_DOCUMENTS.report))
  // 1. Both parts of the report answer this challenge, the node's is about this model.
  const nonce = challengeOf(evidence)
  if (report.gateway.request_nonce !== nonce) throw new EvidenceError('nonce_mismatch')
  checkSubject(report.node, evidence, nonce)
  // 2. The router is genuine, wanted, and its quote commits to its keys.
  const gateway = await verifyGateway(report.gateway, nonce, input)
  // 3. The connection ends in the router.
  checkObserved(gateway.tlsFingerprint, evidence)
  // 4. So is the node, and its quote commits to the key that prompts are encrypted to.
  const node = await verifyNearNode(report.node, nonce, input)
  // 5. It is another TD: one list of expected workloads covers both, and encrypted to itself the router hides nothing.
  if (equalBytes(node.signingKey, gateway.signingKey)) {
    throw new EvidenceError('provider_keys_not_bound')
  }
  return [await appraised(gateway, node, input)]
}

interface Gateway {
  readonly quote: AcceptedQuote
  readonly signingKey: Bytes
  readonly tlsFingerprint: Bytes
  readonly launch: DstackLaunch
}

async function verifyGateway(
  report: NearReport,
  nonce: string,
  input: KindInput,
): Promise<Gateway> {
  const { gatewayCollateral } = NEAR_CLOUD_DOCUMENTS
  const quote = await acceptTdx(fromHex(report.intel_quote), input, gatewayCollateral)
  const { signingKey, tlsFingerprint } = keysOf(report)
  await checkReportData(quote, [signingKey, tlsFingerprint], nonce)
  const launch = await launchOf(report, quote, input)
  return { quote, signingKey, tlsFingerprint, launch }
}

async function appraised(gateway: Gateway, node: NearNode, input: KindInput): Promise<Appraised> {
  const bindings: ChannelBindings = [
    { kind: 'tls-spki-sha256', digest: gateway.tlsFingerprint },
    {
      kind: 'e2ee-public-key',
      protocol: 'near-ed25519-v2',
      keyId: null,
      publicKey: node.signingKey,
      digest: await sha256(node.signingKey),
    },
  ]
  return {
    bindings,
    expiresAt: Math.min(expiryOf(gateway.quote, null), expiryOf(node.quote, node.gpus)),
    identity: {
      app_id: node.launch.logged['app_id'] ?? null,
      gateway_app_id: gateway.launch.logged['app_id'] ?? null,
    },
    claims: claimsOf(gateway, node, input),
    logged: { ...node.launch.logged, ...ofGateway(gateway.launch.logged) },
  }
}

function claimsOf(gateway: Gateway, node: NearNode, { policy }: KindInput): Claims {
  const claims = providerClaims({
    cpu: node.quote,
    binds: 'the key that prompts are encrypted to, another one the TLS key of the router',
    gpus: node.gpus,
    launch: { launch: node.launch, policy: policy.launch },
    extra: {
      // The key of the node comes from a key service: every node of the app holds the same one.
      evidence_scope: 'app',
      freshness: 'client_nonce',
      compose_actions_hash: node.actionsHash,
      ...gatewayExtras(gateway),
    },
  })
  return { ...claims, tcb_up_to_date: lower(claims.tcb_up_to_date, gateway.quote) }
}

/** Both TDs hold a key of the channel, so the claim is as good as the worse of them. */
const lower = (claim: Claim, { tcb }: AcceptedQuote): Claim =>
  claim.status !== 'asserted' || tcb.status === 'UpToDate'
    ? claim
    : {
        status: 'refuted',
        source: 'hardware_proven',
        reason: `TCB status ${tcb.status} of the router`,
      }

const gatewayExtras = ({ quote, launch }: Gateway): Readonly<Record<string, JsonValue>> => ({
  gateway_tcb_status: quote.tcb.status,
  ...ofGateway(quote.measurements),
  ...ofGateway(launchExtras(launch.claims)),
})

const ofGateway = <Value>(values: Readonly<Record<string, Value>>): Record<string, Value> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`gateway_${name}`, value]))
