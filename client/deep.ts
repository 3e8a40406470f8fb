import {
  appraiseEvidence,
  asRecorded,
  checkSessionClaims,
  isVerificationError,
  parseSession,
  verifySession,
  type Clock,
  type JsonValue,
  type ProviderPolicy,
  type SessionDocument,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { fetchDocument, memberOf } from './documents.ts'
import { ClientError } from './errors.ts'
import type { VerifiedFetch } from './verified-fetch.ts'

/** What an auditor expects of a provider, by the name that the gateway gives it. */
export type SessionPolicy = (upstreamName: string, evidence: Uint8Array) => ProviderPolicy

/** A session whose evidence was judged again, from its own bytes, to the same end. */
export interface AppraisedSession {
  readonly id: string
  readonly document: SessionDocument
  readonly endpoint: VerifiedEndpoint
}

/** A session that did not hold. `id` is what the gateway listed. */
export interface FailedSession {
  readonly id: string
  readonly error: unknown
}

const MAX_SESSIONS = 1024
const SESSION_ID = /^[0-9a-f]{64}$/

/**
 * Judges the record of a verification again, offline and at its own time, under the auditor's policy
 * (ACI §9.2). Nothing of the gateway's word is taken: the verdict comes from the evidence.
 *
 * @param value the session document, as parsed JSON.
 * @throws EvidenceError, PolicyError
 */
export async function appraiseSession(
  value: unknown,
  policy: SessionPolicy,
): Promise<AppraisedSession> {
  const document = parseSession(value)
  const { id, evidence } = await verifySession(document)
  const wanted = policy(document.upstream_name, evidence)
  const kept = { evidence, challenge: 'recorded', now: 'recorded' } as const
  const judged = await appraiseEvidence({ ...kept, policy: wanted })
  try {
    return { id, document, endpoint: checkSessionClaims(document, judged) }
  } catch (error) {
    if (!isVerificationError(error)) throw error
    // Another policy may show less of the GPUs than the gateway looked at; the evidence then has to show it.
    const shown = await appraiseEvidence({ ...kept, policy: asRecorded(evidence, wanted) })
    return { id, document, endpoint: checkSessionClaims(document, shown) }
  }
}

export interface AuditOptions {
  readonly fetch: VerifiedFetch
  /** What the auditor expects of the providers behind the gateway. */
  readonly policy: SessionPolicy
  readonly clock: Clock
}

/**
 * The deep audit: fetches every current session of a gateway over the verified channel and judges each.
 *
 * @throws ClientError `sessions_*` where the list cannot be had; a session that fails is in the result.
 */
export async function auditSessions(
  options: AuditOptions,
): Promise<(AppraisedSession | FailedSession)[]> {
  const { fetch } = options
  const list = await fetchDocument({
    fetch,
    path: '/v1/aci/sessions',
    unavailable: 'sessions_unavailable',
  })
  const results: (AppraisedSession | FailedSession)[] = []
  for (const id of sessionIds(list)) {
    results.push(await auditSession(id, options).catch((error: unknown) => ({ id, error })))
  }
  return results
}

async function auditSession(id: string, options: AuditOptions): Promise<AppraisedSession> {
  const document = await fetchDocument({
    fetch: options.fetch,
    path: `/v1/aci/sessions/${id}`,
    unavailable: 'sessions_unavailable',
  })
  const session = await appraiseSession(document, options.policy)
  if (session.id !== id) throw new ClientError('session_id_mismatch')
  if (session.document.expires_at <= options.clock.now()) throw new ClientError('session_expired')
  return session
}

function sessionIds(list: JsonValue): string[] {
  const sessions = memberOf(list, 'sessions')
  if (!Array.isArray(sessions) || sessions.length > MAX_SESSIONS) {
    throw new ClientError('sessions_malformed')
  }
  return sessions.map((entry: unknown) => {
    const id = memberOf(entry, 'session_id')
    if (typeof id !== 'string' || !SESSION_ID.test(id)) throw new ClientError('sessions_malformed')
    return id
  })
}
