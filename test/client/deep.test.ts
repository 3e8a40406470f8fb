import {
  buildSession,
  parsePolicy,
  tdxOnlyPolicy,
  type SessionDocument,
} from '@vouchgate/attestation'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  auditSessions,
  verifiedFetch,
  verifyGateway,
  type VerifiedFetch,
  type VerifiedGateway,
} from '../../client/index.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import { startAttestedServer, type AttestedServer } from './attested-server.ts'
import { MRTD, newWorld, pinnedRow } from './world.ts'

let world = newWorld()
let gateway: AttestedServer
let provider: ModelServer
let verified: VerifiedGateway
let fetch: VerifiedFetch

beforeEach(async () => {
  world = newWorld()
  gateway = await startAttestedServer(world)
  provider = await startModelServer({ ...world, fields: { mrtd: MRTD } })
  verified = await verifyGateway(provider.origin, world.options)
  fetch = verifiedFetch(await verifyGateway(gateway.origin, world.options), world.options)
})
afterEach(async () => {
  await provider.close()
  await gateway.close()
})

const LIST = '/v1/aci/sessions'

/** What an honest gateway records of its provider. */
const session = () =>
  buildSession({
    ...verified,
    upstreamName: 'provider-1',
    establishedAt: world.clock.now(),
    expiresAt: world.clock.now() + 600,
  })

function publish(id: string, document: SessionDocument): void {
  gateway.routes.set(LIST, { api_version: 'aci/1', sessions: [{ session_id: id }] })
  gateway.routes.set(`${LIST}/${id}`, document)
}

const audit = (policy = world.policy) =>
  auditSessions({ fetch, policy: () => tdxOnlyPolicy(policy), clock: world.clock })

test('an honest session is judged again to the same end', async () => {
  const { id, document } = await session()
  publish(id, document)
  const [result, ...rest] = await audit()
  expect(rest).toEqual([])
  expect(result).toMatchObject({ id, document })
  expect(result).toHaveProperty('endpoint')
})

test('a session under another id is refused', async () => {
  const { document } = await session()
  publish('00'.repeat(32), document)
  expect(await audit()).toMatchObject([{ error: { code: 'session_id_mismatch' } }])
})

test('evidence that was exchanged is refused', async () => {
  const { id, document } = await session()
  const data = 'data:application/json;base64,e30='
  publish(id, { ...document, evidence: { ...document.evidence, data } })
  expect(await audit()).toMatchObject([{ id, error: { code: 'session_evidence_mismatch' } }])
})

test('a better claim than the evidence shows is refused', async () => {
  const { id, document } = await session()
  const gpu_attested = { status: 'asserted', source: 'hardware_proven' } as const
  publish(id, { ...document, claims: { ...document.claims, gpu_attested } })
  expect(await audit()).toMatchObject([{ id, error: { code: 'session_claim_mismatch' } }])
})

test('a provider that the auditor does not expect is refused by policy', async () => {
  const { id, document } = await session()
  publish(id, document)
  const policy = parsePolicy({
    trusted_root: { test_pki_pem: world.vendor.rootPem },
    workload: [{ ...pinnedRow, mrtd: 'ee'.repeat(48) }],
  })
  expect(await audit(policy)).toMatchObject([{ id, error: { code: 'workload_not_expected' } }])
})

test('a session past its end is not current', async () => {
  const { id, document } = await session()
  publish(id, document)
  world.clock.advance(601)
  expect(await audit()).toMatchObject([{ id, error: { code: 'session_expired' } }])
})

test('a session that is listed and not served does not pass', async () => {
  gateway.routes.set(LIST, { sessions: [{ session_id: '11'.repeat(32) }] })
  expect(await audit()).toMatchObject([{ error: { code: 'sessions_unavailable' } }])
})

test.for([
  ['no list', undefined, 'sessions_unavailable'],
  ['another document', { data: [] }, 'sessions_malformed'],
  ['a path for an id', { sessions: [{ session_id: '../x' }] }, 'sessions_malformed'],
  [
    'too many',
    { sessions: Array.from({ length: 1025 }, () => ({ session_id: '11'.repeat(32) })) },
    'sessions_malformed',
  ],
  ['no JSON', '{', 'json_malformed'],
  ['a list without end', 'x'.repeat(9 << 20), 'response_too_large'],
] as const)('%s is refused', async ([, answer, code]) => {
  if (answer !== undefined) gateway.routes.set(LIST, answer)
  await expect(audit()).rejects.toMatchObject({ code })
})
