import { sha256, toHex, type UnixSeconds } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { readEvidenceCertificate, type EvidenceCertificate } from '../ra-tls/certificate.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { checkObserved } from './channel.ts'
import { providerClaims } from './claims.ts'
import { acceptTdx } from './cpu.ts'
import { verifyRuntimeLaunch, type DstackLaunch } from './dstack.ts'
import { documentOf } from './evidence.ts'
import type { AppraiseKind, KindInput } from './kind.ts'
import { RA_TLS_CERTIFICATE } from './unchallenged.ts'

/**
 * A TDX workload whose TLS certificate carries its own quote (e2ee.md §3.3). It answers no challenge: the quote may be
 * as old as the certificate, and all that is fresh is that the peer holds the key. GPUs do not show.
 */
export const appraiseOpenAiRaTls: AppraiseKind = async (input) => {
  const { evidence, now } = input
  // 1. The certificate carries evidence, and is valid now.
  const carried = await readEvidenceCertificate(documentOf(evidence, RA_TLS_CERTIFICATE))
  checkValidity(carried, now)
  // 2. The quote is genuine, and of a wanted workload.
  const quote = await acceptTdx(carried.quote, input)
  // 3. It commits to the key of the certificate.
  await carried.checkBinding(quote.reportData)
  // 4. The connection ended in that key: the certificate alone can be copied by anyone.
  const digest = await sha256(carried.certificate.spki)
  checkObserved(digest, evidence)
  // 5. A certificate says nothing of GPUs: a policy that looks at them finds none.
  if (input.policy.gpu !== 'unchecked') throw new EvidenceError('gpu_evidence_count')
  // 6. What was launched is logged, and wanted.
  const launch = await verifyRuntimeLaunch(carried.eventLog, quote, input)
  return [
    {
      bindings: [{ kind: 'tls-spki-sha256', digest }],
      expiresAt: Math.min(quote.expiresAt, carried.certificate.notAfter),
      identity: { tls_spki_sha256: toHex(digest), app_id: launch?.logged['app_id'] ?? null },
      claims: claimsOf(quote, carried, launch, input),
      logged: launch?.logged ?? {},
    },
  ]
}

function checkValidity({ certificate }: EvidenceCertificate, now: UnixSeconds): void {
  if (now < certificate.notBefore || now >= certificate.notAfter) {
    throw new EvidenceError('ra_tls_certificate_expired')
  }
}

const claimsOf = (
  quote: AcceptedQuote,
  { form }: EvidenceCertificate,
  launch: DstackLaunch | null,
  { policy }: KindInput,
) =>
  providerClaims({
    cpu: quote,
    binds: 'the TLS key of the connection',
    gpus: null,
    ...(launch === null ? {} : { launch: { launch, policy: policy.launch } }),
    extra: { evidence_scope: 'instance', freshness: 'key_possession', evidence_form: form },
  })
