import type { UnixSeconds } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import type { DeviceKind } from '../chip.ts'
import { GenuineGpuEvidence, type GenuineGpuDevice } from '../verdict.ts'
import { checkNrasDevice, findingOf, type NrasDeviceToken } from './device.ts'
import { NrasFailure } from './failure.ts'
import { parseNrasJwks, writeNrasJwks } from './jwks.ts'
import { checkSubmods, claimsVersion, type NrasClaimsVersion } from './overall.ts'
import type { NrasPolicy } from './policy.ts'
import { parseNrasResponse } from './response.ts'
import { verifyNrasToken, type NrasToken, type TokenContext } from './token.ts'
import { GenuineNrasVerdict } from './verdict.ts'

export interface NrasInput {
  /** The body that `POST /v3|v4/attest/{gpu,switch}` was answered with, as received. */
  readonly response: Uint8Array
  /** The body of `/.well-known/jwks.json`, or the archived keys of an earlier verdict. */
  readonly jwks: Uint8Array
  /** What was sent to NRAS, verified here first: only so can a token be tied to a device. */
  readonly evidence: GenuineGpuEvidence
  /** Which devices of the evidence were sent: NRAS judges GPUs and switches separately. */
  readonly kind: DeviceKind
  readonly now: UnixSeconds
  readonly policy: NrasPolicy
}

/**
 * Proves that NVIDIA's Remote Attestation Service found the devices of one kind of this evidence good: all of them,
 * these very ones, for this nonce, now. None of the steps is optional. NRAS answers with HTTP 200 whatever it found.
 *
 * @throws EvidenceError `nras_*` with the step `nras`; NrasFailure, which says what NRAS has against which device.
 * `nras_key_unknown` may mean that the key set is older than the token. TypeError for evidence that was not verified.
 */
export async function verifyNrasResponse(input: NrasInput): Promise<GenuineNrasVerdict> {
  const { evidence, kind, now, policy } = input
  if (!GenuineGpuEvidence.is(evidence)) throw new TypeError('not a GenuineGpuEvidence')
  const { nonce } = evidence
  // 1. The response and the key set are what they should be.
  const response = parseNrasResponse(input.response)
  const context: TokenContext = { keys: parseNrasJwks(input.jwks), now, policy }
  // 2. NRAS signed the overall token, which is valid now, about a platform, and for our nonce.
  const overall = await verifyNrasToken(response.overall, context)
  const version = claimsVersion(overall)
  if (overall.claims['eat_nonce'] !== nonce) throw new EvidenceError('nras_nonce_mismatch')
  // 3. It was made for exactly these device tokens, one for each device of our evidence.
  const expected = expectedDevices(evidence, kind)
  await checkSubmods(overall, response.devices, [...expected.keys()])
  // 4. NRAS signed each of them, and each is valid now.
  const judged = await verifyDeviceTokens(response.devices, expected, context)
  // 5. The attestation succeeded.
  checkResult(overall, judged, version)
  // 6. So did every check of every device, and it is the device of our evidence.
  const devices = judged.map((one) => ({
    name: one.name,
    ueid: one.device.ueid,
    ...checkNrasDevice(one, { version, nonce, policy }),
  }))
  const tokens = [overall, ...judged.map(({ token }) => token)]
  const keys = [...new Set(tokens.map(({ key }) => key))]
  return new GenuineNrasVerdict({
    environment: policy.environment,
    kind,
    claimsVersion: version,
    pinned: tokens.every(({ pin }) => pin === 'pinned') ? 'pinned' : 'unpinned',
    evidence,
    issuedAt: overall.issuedAt,
    expiresAt: Math.min(...tokens.map(({ expiresAt }) => expiresAt)),
    devices,
    keys,
    archive: {
      response: Uint8Array.from(input.response),
      jwks: writeNrasJwks(keys),
      judgedAt: now,
    },
  })
}

/** The devices that were sent, under the names NRAS gives them: by their place in the request. */
function expectedDevices(
  { devices }: GenuineGpuEvidence,
  kind: DeviceKind,
): ReadonlyMap<string, GenuineGpuDevice> {
  const prefix = kind === 'gpu' ? 'GPU' : 'SWITCH'
  const sent = devices.filter((device) => device.kind === kind)
  return new Map(sent.map((device, index) => [`${prefix}-${index}`, device]))
}

async function verifyDeviceTokens(
  texts: ReadonlyMap<string, string>,
  expected: ReadonlyMap<string, GenuineGpuDevice>,
  context: TokenContext,
): Promise<NrasDeviceToken[]> {
  const judged: NrasDeviceToken[] = []
  // One after the other: the first token that does not hold is the one that is told.
  for (const [name, device] of expected) {
    judged.push({ name, device, token: await verifyNrasToken(texts.get(name) ?? '', context) })
  }
  return judged
}

/** Exactly `true`. What NRAS says against which device is reported, where it says so. */
function checkResult(
  { claims }: NrasToken,
  judged: readonly NrasDeviceToken[],
  version: NrasClaimsVersion,
): void {
  if (claims['x-nvidia-overall-att-result'] === true) return
  const findings = judged.map((one) => findingOf(one, version))
  throw new NrasFailure(
    'nras_attestation_failed',
    findings.filter(({ errorCode, checks }) => errorCode !== null || checks.length > 0),
  )
}
