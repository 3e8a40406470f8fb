import { fromHex, isNonce, type AttestationReport, type Collateral } from '@vouchgate/attestation'
import type { FastifyRequest } from 'fastify'
import type { Context } from '../context.ts'
import { GatewayError } from '../errors.ts'
import { isSessionId, type CredentialDigest, type ProviderId } from '../ids.ts'
import { credentialDigest } from '../keys.ts'
import { member, pathParameter } from './parameters.ts'

/** `GET /v1/aci/attestation?nonce=` (ACI §4). */
export const attestation = (context: Context) => async (request: FastifyRequest) => {
  const report = await context.enclave.report(readNonce(member(request.query, 'nonce')))
  return withCollateral(report, await collateralOf(context, report))
}

function readNonce(value: unknown): string | null {
  if (value === undefined) return null
  if (typeof value !== 'string' || !isNonce(value)) throw new GatewayError('invalid_nonce')
  return value
}

const withCollateral = (report: AttestationReport, collateral: Collateral | null) => {
  if (collateral === null) return report
  const { attestation: inner } = report
  return { ...report, attestation: { ...inner, evidence: { ...inner.evidence, collateral } } }
}

/** A convenience: whoever verifies can fetch it alone, so the report is served without it where there is none. */
export async function collateralOf(
  { collateral }: Pick<Context, 'collateral'>,
  report: AttestationReport,
): Promise<Collateral | null> {
  try {
    return await collateral.source(fromHex(report.attestation.evidence.quote))
  } catch {
    return null
  }
}

/** `GET /v1/aci/sessions?upstream_name=&model=` (ACI §8.1). */
export const listSessions = (context: Context) => async (request: FastifyRequest) => {
  const upstream = member(request.query, 'upstream_name')
  const providers = providersFor(context, upstream, member(request.query, 'model'))
  const sessions = providers
    .flatMap((provider) => context.sessions.current(provider))
    .map((id) => context.store.summary(id))
    .filter((summary) => summary !== null)
  return { api_version: 'aci/1', sessions }
}

function providersFor(context: Context, upstream: unknown, model: unknown): ProviderId[] {
  const given = [upstream, model].filter((value) => value !== undefined)
  if (!given.every((value) => typeof value === 'string')) throw new GatewayError('invalid_query')
  const routes = typeof model === 'string' ? context.config.models.get(model)?.routes : undefined
  const ofModel = routes?.map(({ provider }) => provider) ?? []
  return [...context.config.providers.keys()].filter(
    (id) =>
      (upstream === undefined || upstream === id) && (model === undefined || ofModel.includes(id)),
  )
}

/** `GET /v1/aci/sessions/{id}` (ACI §8.1): public, since it carries nothing of any request. */
export const getSession = (context: Context) => async (request: FastifyRequest) => {
  const id = pathParameter(request.params, 'id')
  const document = isSessionId(id)
    ? ((await context.store.document(id)) ?? (await context.peers.session(id)))
    : null
  if (document === null) throw new GatewayError('not_found')
  return document
}

/** `GET /v1/aci/receipts/{id}` (ACI §7.6): for the key that made the request, and nobody else. */
export const getReceipt = (context: Context) => async (request: FastifyRequest) => {
  const { authorization } = request.headers
  if (authorization === undefined) throw new GatewayError('unauthorized')
  const credential = credentialDigest(authorization)
  const receipt =
    credential && (await findReceipt(context, pathParameter(request.params, 'id'), credential))
  if (receipt === null) throw new GatewayError('not_found')
  return receipt
}

/** Nobody without a key of this gateway makes other processes look for anything. */
async function findReceipt(
  { receipts, peers, keys }: Context,
  id: string,
  credential: CredentialDigest,
): Promise<object | null> {
  const own = receipts.find(id, credential)
  return own !== null || !keys.knows(credential) ? own : peers.receipt(id, credential)
}
