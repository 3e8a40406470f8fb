import { decodeUtf8, equalBytes, isZero, sha256 } from '../bytes.ts'
import { EvidenceError, isVerificationError } from '../errors.ts'
import { parseQuote } from '../tdx/quote.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { readCertificate } from '../x509.ts'
import {
  chutesBinding,
  chutesCollateral,
  CHUTES_DOCUMENTS,
  readChutesRound,
  type ChutesCandidate,
  type ChutesShown,
} from './chutes-evidence.ts'
import { providerClaims } from './claims.ts'
import { acceptTdx } from './cpu.ts'
import { verifyRuntimeLaunch } from './dstack.ts'
import { documentOf } from './evidence.ts'
import { expiryOf } from './expiry.ts'
import { challengeOf } from './freshness.ts'
import { acceptGpus } from './gpus.ts'
import type { Appraised, AppraiseKind, KindInput } from './kind.ts'

/**
 * The instances of a chute, each in a TD of its own (providers.md §4). Every instance that passes is a channel; one that
 * fails is left out, or fails the round where the policy wants all of them.
 *
 * What runs in the TD is measured in RTMR3 by the node's software; which image and which model that is, Chutes checks
 * itself and shows nobody.
 */
export const appraiseChutes: AppraiseKind = async (input) => {
  const { evidence, policy } = input
  const nonce = challengeOf(evidence)
  const shown = readChutesRound(
    documentOf(evidence, CHUTES_DOCUMENTS.instances),
    documentOf(evidence, CHUTES_DOCUMENTS.evidence),
  )
  const outcomes = await Promise.all(shown.map((each) => outcomeOf(each, nonce, input)))
  const failure = outcomes.find((outcome) => outcome instanceof Error)
  const appraised = outcomes.filter((outcome): outcome is Appraised => !(outcome instanceof Error))
  const refused = appraised.length === 0 || policy.instances === 'all'
  if (refused && failure !== undefined) throw failure
  return appraised
}

/** Anything but a verdict on the evidence is a mistake of the caller, and ends the round. */
async function outcomeOf(
  shown: ChutesShown,
  nonce: string,
  input: KindInput,
): Promise<Appraised | Error> {
  try {
    if ('error' in shown) throw shown.error
    return await appraiseInstance(shown, nonce, input)
  } catch (error) {
    if (isVerificationError(error)) return error
    throw error
  }
}

async function appraiseInstance(
  shown: ChutesCandidate,
  nonce: string,
  input: KindInput,
): Promise<Appraised> {
  // 1. It measures what runs in it. Refused before everything else: no row of a policy can make up for that.
  checkRuntimeMeasured(shown)
  // 2. The quote is genuine, and of a wanted workload.
  const quote = await acceptTdx(shown.quote, input, chutesCollateral(shown.instanceId))
  // 3. It commits to the key of the instance, to this challenge and to the service that took it.
  await checkReportData(quote, shown, nonce)
  // 4. The GPUs answered what the quote commits to.
  const derived = await chutesBinding(nonce, shown.key)
  const gpus = await acceptGpus(
    {
      json: shown.gpuEvidence,
      nonce: derived,
      cpu: quote,
      rule: { kind: 'nonce-from-report-data', half: 'first' },
    },
    input,
  )
  // 5. Chutes shows no log of a launch, so that whatever is expected of one is refused.
  await verifyRuntimeLaunch(null, quote, input)
  const { instanceId, key } = shown
  return {
    bindings: [
      {
        kind: 'e2ee-public-key',
        protocol: 'chutes-ml-kem-768',
        keyId: instanceId,
        publicKey: key.bytes,
        digest: await sha256(key.bytes),
      },
    ],
    expiresAt: expiryOf(quote, gpus),
    identity: {
      chute_id: decodeUtf8(documentOf(input.evidence, CHUTES_DOCUMENTS.chuteId)),
      instance_id: instanceId,
    },
    claims: providerClaims({
      cpu: quote,
      binds: 'the key that requests are encrypted to',
      gpus,
      extra: { evidence_scope: 'instance', freshness: 'client_nonce', instance_id: instanceId },
    }),
    logged: {},
  }
}

/** A node that extends nothing at run time shows the same registers whatever it runs. */
function checkRuntimeMeasured({ quote }: ChutesCandidate): void {
  const { body } = parseQuote(quote)
  if (body.tee === 'tdx' && isZero(body.report.rtmr3)) {
    throw new EvidenceError('provider_runtime_not_measured')
  }
}

async function checkReportData(
  { reportData }: AcceptedQuote,
  { key, certificate }: ChutesCandidate,
  nonce: string,
): Promise<void> {
  if (!equalBytes(reportData.subarray(0, 32), await chutesBinding(nonce, key))) {
    throw new EvidenceError('provider_keys_not_bound')
  }
  const { spki } = readCertificate(certificate)
  if (!equalBytes(reportData.subarray(32), await sha256(spki))) {
    throw new EvidenceError('provider_certificate_not_bound')
  }
}
