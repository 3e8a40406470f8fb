import { EvidenceError } from '../errors.ts'
import { providerClaims } from './claims.ts'
import { documentOf, type ProviderEvidence } from './evidence.ts'
import { checkObserved } from './channel.ts'
import { expiryOf } from './expiry.ts'
import { challengeOf } from './freshness.ts'
import type { AppraiseKind, KindInput } from './kind.ts'
import { verifyNearNode, type NearNode } from './near-node.ts'
import { readNearReport, type NearReport } from './near-report.ts'

/** The body of `GET /v1/attestation/report`. */
export const NEAR_REPORT = 'report'

/**
 * A NEAR AI model node, in whose TD TLS ends (providers.md §1).
 *
 * GPUs answered the same nonce as the CPU and no more: somebody who runs the host could show another machine's.
 */
export const appraiseNearDirect: AppraiseKind = async (input) => {
  const { evidence } = input
  const report = readNearReport(documentOf(evidence, NEAR_REPORT))
  // 1. The report answers this challenge and is about this model.
  const nonce = challengeOf(evidence)
  checkSubject(report, evidence, nonce)
  // 2. The node is genuine, wanted, and its quote commits to its keys.
  const node = await verifyNearNode(report, nonce, input)
  // 3. The connection ends in the node.
  checkObserved(node.tlsFingerprint, evidence)
  return [appraised(node, input)]
}

export function checkSubject(report: NearReport, evidence: ProviderEvidence, nonce: string): void {
  if (report.request_nonce !== nonce) throw new EvidenceError('nonce_mismatch')
  if (report.model_name !== evidence.model) throw new EvidenceError('provider_model_mismatch')
}

const appraised = (node: NearNode, { policy }: KindInput) => ({
  bindings: [{ kind: 'tls-spki-sha256', digest: node.tlsFingerprint }] as const,
  expiresAt: expiryOf(node.quote, node.gpus),
  identity: { app_id: node.launch.logged['app_id'] ?? null },
  claims: providerClaims({
    cpu: node.quote,
    binds: 'the TLS key of the connection and the key of the node',
    gpus: node.gpus,
    launch: { launch: node.launch, policy: policy.launch },
    extra: {
      // The key of the node comes from a key service: every node of the app holds the same one.
      evidence_scope: 'app',
      freshness: 'client_nonce',
      compose_actions_hash: node.actionsHash,
    },
  }),
  logged: node.launch.logged,
})
