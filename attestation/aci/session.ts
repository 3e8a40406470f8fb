import { z } from 'zod'
import {
  encodeUtf8,
  fromBase64,
  sha256,
  sha256Label,
  toBase64,
  toHex,
  type Bytes,
  type UnixSeconds,
} from '../bytes.ts'
import type { ChannelBinding } from '../binding.ts'
import { VerifiedEndpoint } from '../endpoint.ts'
import { EvidenceError } from '../errors.ts'
import type { JsonValue } from '../json.ts'
import { jcs } from './jcs.ts'
import { digestLabel, unixTime } from './keyset.ts'

const claim = z.strictObject({
  status: z.enum(['asserted', 'refuted', 'unknown']),
  source: z
    .enum(['hardware_proven', 'verifier_derived', 'provider_asserted', 'operator_asserted'])
    .optional(),
  reason: z.string().max(4096).optional(),
})

const json: z.ZodType<JsonValue> = z.json()

const sessionSchema = z.looseObject({
  api_version: z.literal('aci/1'),
  upstream_name: z.string().max(256),
  endpoint: z.string().max(2048).nullable(),
  verifier_id: z.string().max(256),
  established_at: unixTime,
  expires_at: unixTime,
  identity: z.record(z.string(), json).optional(),
  channel_binding: z
    .array(z.looseObject({ type: z.string().max(64) }))
    .min(1)
    .max(64),
  claims: z.looseObject({
    tee_attested: claim,
    gpu_attested: claim,
    tcb_up_to_date: claim,
    os_known_good: claim,
    serving_software_known_good: claim,
    model_weights_provenance: claim,
    extra: z.record(z.string(), json).optional(),
  }),
  evidence: z.strictObject({ digest: digestLabel, data: z.string().max(1 << 23) }),
})

/** The immutable record of one verified upstream channel (ACI §8.2). */
export type SessionDocument = z.output<typeof sessionSchema>

/** `vouchgate/<major>` of the verifier whose claims a session carries. */
export const VERIFIER_ID = 'vouchgate/1'

const DATA_PREFIX = 'data:application/json;base64,'
const DATA_URI = /^data:[a-z0-9.+/-]{1,100};base64,/

/** The content address: hex SHA-256 of the JCS form (ACI §8). */
export const sessionId = async (document: SessionDocument): Promise<string> =>
  toHex(await sha256(encodeUtf8(jcs(document))))

export interface SessionInput {
  readonly endpoint: VerifiedEndpoint
  readonly upstreamName: string
  /** The bytes `endpoint` was verified from. */
  readonly evidence: Uint8Array
  readonly establishedAt: UnixSeconds
  readonly expiresAt: UnixSeconds
}

/** Records a verification. Throws `TypeError` for anything but a real `VerifiedEndpoint`. */
export async function buildSession(
  input: SessionInput,
): Promise<{ id: string; document: SessionDocument }> {
  const { endpoint } = input
  if (!VerifiedEndpoint.is(endpoint)) throw new TypeError('not a VerifiedEndpoint')
  const document: SessionDocument = {
    api_version: 'aci/1',
    upstream_name: input.upstreamName,
    endpoint: endpoint.origin,
    verifier_id: VERIFIER_ID,
    established_at: input.establishedAt,
    expires_at: input.expiresAt,
    identity: endpoint.identity,
    channel_binding: bindingsJson(endpoint),
    claims: endpoint.claims,
    evidence: {
      digest: await sha256Label(input.evidence),
      data: DATA_PREFIX + toBase64(input.evidence),
    },
  }
  return { id: await sessionId(document), document }
}

const bindingsJson = (endpoint: VerifiedEndpoint) =>
  endpoint.bindings.map((binding) => bindingJson(binding, endpoint))

/** ACI §8.2; the provider's kind names who the key belongs to. */
function bindingJson(binding: ChannelBinding, { origin, kind }: VerifiedEndpoint) {
  if (binding.kind === 'tls-spki-sha256') {
    return { type: 'tls_spki_sha256', origin, spki_sha256: toHex(binding.digest) }
  }
  return {
    type: 'e2ee_public_key_sha256',
    provider: kind,
    ...(binding.keyId === null ? {} : { key_id: binding.keyId }),
    algorithm: binding.protocol,
    public_key_sha256: toHex(binding.digest),
  }
}

/** Throws `session_malformed`. */
export function parseSession(value: unknown): SessionDocument {
  const parsed = sessionSchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('session_malformed')
  return parsed.data
}

/** The id a document really has, and the evidence bytes it really carries. Throws `session_evidence_mismatch`. */
export async function verifySession(
  document: SessionDocument,
): Promise<{ id: string; evidence: Bytes }> {
  const { data, digest } = document.evidence
  const prefix = DATA_URI.exec(data)?.[0]
  if (prefix === undefined) throw new EvidenceError('session_malformed')
  const evidence = fromBase64(data.slice(prefix.length))
  if ((await sha256Label(evidence)) !== digest) {
    throw new EvidenceError('session_evidence_mismatch')
  }
  return { id: await sessionId(document), evidence }
}

/**
 * The deep audit's last step: what the session states must be what its own evidence shows when it is
 * appraised again. Without it a gateway could keep good evidence and publish a better claim or another key.
 *
 * Whether a workload is the expected one is each party's own policy, so the operator's word on it is compared with
 * nothing; it may only be given as the operator's word. Nor must a gateway have looked at GPUs, or at what a log shows
 * on platforms that it does not expect: of those it may say that it does not know, and nothing else.
 *
 * @param endpoints every channel that the evidence proves; one of them must be the session's.
 * @returns that one.
 * @throws EvidenceError `session_claim_mismatch`
 */
export function checkSessionClaims<E extends VerifiedEndpoint>(
  document: SessionDocument,
  endpoints: readonly E[],
): E {
  const endpoint = endpoints.find((each) => sameJson(document.channel_binding, bindingsJson(each)))
  const same =
    endpoint !== undefined &&
    document.endpoint === endpoint.origin &&
    document.expires_at <= endpoint.expiresAt &&
    document.established_at >= endpoint.verifiedAt &&
    sameJson(document.identity ?? {}, endpoint.identity) &&
    statesNoMore(document.claims, endpoint)
  if (!same) throw new EvidenceError('session_claim_mismatch')
  return endpoint
}

/** Claims in which the operator's own word may stand. */
const OPERATORS: ReadonlySet<string> = new Set(['os_known_good', 'serving_software_known_good'])
/** What depends on whether a policy looks at GPUs. */
const GPUS: ReadonlySet<string> = new Set([
  'gpu_attested',
  'gpu_bound_to_cpu',
  'gpu_count',
  'gpu_binding',
])

function statesNoMore(
  { extra = {}, ...claims }: SessionDocument['claims'],
  { claims: shownClaims, logged }: VerifiedEndpoint,
): boolean {
  const { extra: shownExtra, ...shown } = shownClaims
  const expected: Readonly<Record<string, unknown>> = { ...shownExtra, ...logged }
  return (
    sameNames(claims, shown) &&
    sameNames(extra, expected) &&
    Object.entries(claims).every(([name, stated]) => isShown(name, stated, shown[name])) &&
    Object.entries(extra).every(([name, stated]) => {
      const mayBeUnknown = name in logged || GPUS.has(name)
      // By which policy something was accepted is no fact about it.
      if (name === 'workload' || (stated === null && mayBeUnknown)) return true
      return sameJson(stated, expected[name])
    })
  )
}

const sameNames = (left: object, right: object): boolean =>
  sameJson(Object.keys(left).toSorted(), Object.keys(right).toSorted())

function isShown(name: string, stated: unknown, shown: unknown): boolean {
  const parsed = claim.safeParse(stated)
  if (!parsed.success) return false
  const { status, source } = parsed.data
  const isOperators = OPERATORS.has(name) && source === 'operator_asserted'
  const isUnknown = status === 'unknown' && (OPERATORS.has(name) || GPUS.has(name))
  return isUnknown || isOperators || sameJson(stated, shown)
}

const sameJson = (left: unknown, right: unknown): boolean =>
  left !== undefined && right !== undefined && jcs(left) === jcs(right)
