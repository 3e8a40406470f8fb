import {
  concatBytes,
  decodeUtf8,
  equalBytes,
  fromHex,
  sha256,
  sha384,
  toHex,
  type Bytes,
} from '../bytes.ts'
import { EvidenceError, PolicyError } from '../errors.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import type { Claim } from '../aci/claim.ts'
import { checkObserved } from './channel.ts'
import { providerClaims } from './claims.ts'
import { acceptTdx } from './cpu.ts'
import { documentOf } from './evidence.ts'
import { expiryOf } from './expiry.ts'
import { acceptGpus, type BoundGpus } from './gpus.ts'
import type { AppraiseKind, KindInput } from './kind.ts'
import type { LaunchPolicy } from './policy.ts'
import { SECRETAI_DOCUMENTS } from './unchallenged.ts'

const QUOTE = /^(?:[0-9a-fA-F]{2}){632,32768}\s*$/
const REGISTER = 48

/**
 * A SecretVM on TDX, in which TLS ends (providers.md §6). Its quote was taken when it started and answers no challenge:
 * all that is fresh is that the peer holds the key. One machine may serve several models.
 */
export const appraiseSecretAi: AppraiseKind = async (input) => {
  const { evidence } = input
  // 1. The quote is genuine, and of a wanted workload.
  const quote = await acceptTdx(
    readSecretAiQuote(documentOf(evidence, SECRETAI_DOCUMENTS.cpu)),
    input,
  )
  // 2. It commits to the key that the connection ended in.
  const digest = Uint8Array.from(quote.reportData.subarray(0, 32))
  checkObserved(digest, evidence)
  // 3. The GPUs answered what the quote commits to.
  const gpus = await gpusOf(quote, input)
  // 4. The compose file is the measured one, and wanted.
  const compose = await composeOf(quote, input)
  return [
    {
      bindings: [{ kind: 'tls-spki-sha256', digest }],
      expiresAt: expiryOf(quote, gpus),
      identity: { tls_spki_sha256: toHex(digest) },
      claims: providerClaims({
        cpu: quote,
        binds: 'the TLS key of the connection',
        gpus,
        ...(compose.software === null ? {} : { software: compose.software }),
        extra: {
          evidence_scope: 'router',
          freshness: 'key_possession',
          compose_hash: compose.measured ? compose.hash : null,
        },
      }),
      logged: { compose_hash: compose.hash },
    },
  ]
}

/** Hex, perhaps with a line end. Throws `provider_tee_unsupported` for the base64 of an SEV-SNP report. */
export function readSecretAiQuote(body: Bytes): Bytes {
  const text = decodeUtf8(body)
  if (!QUOTE.test(text)) throw new EvidenceError('provider_tee_unsupported')
  return fromHex(text.trimEnd())
}

/** The second half of the report data, which is what the machine asked its GPUs with. */
const secretAiGpuNonce = ({ reportData }: Pick<AcceptedQuote, 'reportData'>): Bytes =>
  Uint8Array.from(reportData.subarray(32))

async function gpusOf(quote: AcceptedQuote, input: KindInput): Promise<BoundGpus | null> {
  if (input.policy.gpu === 'unchecked') return null
  const json = decodeUtf8(documentOf(input.evidence, SECRETAI_DOCUMENTS.gpu))
  const rule = { kind: 'nonce-from-report-data', half: 'second' } as const
  return acceptGpus({ json, nonce: secretAiGpuNonce(quote), cpu: quote, rule }, input)
}

interface Compose {
  /** SHA-256 of the file as served, hex. */
  readonly hash: string
  /** Whether it is the measured one, on an image that the policy names. */
  readonly measured: boolean
  readonly software: Claim | null
}

/**
 * RTMR3 holds the file and the root file system of the image. Which image that is the machine does not say, so that
 * the file is known to be the measured one only together with an image that the policy expects.
 */
async function composeOf(quote: AcceptedQuote, input: KindInput): Promise<Compose> {
  const { launch } = input.policy
  const digest = await sha256(documentOf(input.evidence, SECRETAI_DOCUMENTS.compose))
  const hash = toHex(digest)
  checkNothingElse(launch)
  const { os_image_hash: images, compose_hash: expected } = launch
  if (images === 'any') {
    if (expected !== 'any')
      throw new PolicyError('compose_not_expected', 'unknown', expected.join(', '))
    return { hash, measured: false, software: null }
  }
  const registers = await Promise.all(images.map((image) => replayed([digest, fromHex(image)])))
  const measured = quote.measurements['rtmr3'] ?? ''
  if (!registers.some((register) => equalBytes(register, fromHex(measured)))) {
    throw new EvidenceError('provider_launch_mismatch')
  }
  if (expected === 'any') return { hash, measured: true, software: null }
  if (!expected.includes(hash))
    throw new PolicyError('compose_not_expected', hash, expected.join(', '))
  return { hash, measured: true, software: EXPECTED_COMPOSE }
}

const EXPECTED_COMPOSE: Claim = {
  status: 'asserted',
  source: 'operator_asserted',
  reason: 'the measured compose file is one that the operator expects',
}

/** What is expected of a launch and is not measured here is missed. */
function checkNothingElse({ app_id: app, key_provider_id: provider }: LaunchPolicy): void {
  if (app !== 'any') throw new PolicyError('app_not_expected', 'unknown', app.join(', '))
  if (provider !== 'any') {
    throw new PolicyError('key_provider_not_expected', 'unknown', provider.join(', '))
  }
}

/** Entries are extended as they are, filled with zeros to the size of the register. */
async function replayed(entries: readonly Bytes[]): Promise<Bytes> {
  let value: Bytes = new Uint8Array(REGISTER)
  for (const entry of entries) {
    const padded = concatBytes(entry, new Uint8Array(REGISTER - entry.length))
    value = await sha384(concatBytes(value, padded))
  }
  return value
}
