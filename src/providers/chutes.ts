import {
  chutesBinding,
  chutesCollateral,
  CHUTES_DOCUMENTS,
  decodeUtf8,
  encodeCollateral,
  encodeUtf8,
  EvidenceError,
  isVerificationError,
  parseJson,
  readChutesRound,
  type Bytes,
  type ChutesCandidate,
} from '@vouchgate/attestation'
import { z } from 'zod'
import { ChannelError } from '../../client/errors.ts'
import type { AttestedProvider } from '../config/index.ts'
import type { Collect, CollectDeps, NamedDocuments } from './collect.ts'
import { mergeDocuments } from './merge.ts'
import { nodeEvidence } from './node-report.ts'

const MAX_LIST = 1 << 20
const MAX_INSTANCES = 1 << 20
/** 106 KB for each instance with 8 GPUs. */
const MAX_EVIDENCE = 8 << 20
/** Cold, Chutes was seen to take two minutes. */
const EVIDENCE_TIMEOUT_MS = 180_000

const listSchema = z.object({
  items: z.array(z.object({ name: z.string().max(256), chute_id: z.string().max(64) })).max(1000),
})
const CHUTE_ID = /^[0-9a-f-]{1,64}$/

/** One round over the instances of a chute: their keys, and their evidence over a fresh nonce. */
export const collectChutes: Collect = async (provider, deps) => {
  const { origin } = provider
  const { nonce } = deps
  const chuteId = await chuteIdOf(provider, deps)
  const instances = await ask(deps, origin, `/e2e/instances/${chuteId}`, MAX_INSTANCES)
  const { body: evidence } = await deps.web({
    origin,
    path: `/chutes/${chuteId}/evidence?nonce=${nonce}`,
    headers: { authorization: deps.authorization },
    maxBytes: MAX_EVIDENCE,
    timeoutMs: EVIDENCE_TIMEOUT_MS,
  })
  const shown = readChutesRound(instances, evidence)
  const readable = shown.filter((each): each is ChutesCandidate => !('error' in each))
  return nodeEvidence(provider, deps, {
    kind: 'chutes',
    spkiSha256: null,
    documents: [
      [CHUTES_DOCUMENTS.chuteId, encodeUtf8(chuteId)],
      [CHUTES_DOCUMENTS.instances, instances],
      [CHUTES_DOCUMENTS.evidence, evidence],
      ...(await endorsements(readable, provider, deps)),
    ],
  })
}

async function ask(
  deps: CollectDeps,
  origin: string,
  path: string,
  maxBytes: number,
): Promise<Bytes> {
  const headers = { authorization: deps.authorization }
  const { body } = await deps.web({ origin, path, headers, maxBytes })
  return body
}

/** As configured; else the one of exactly this name, since the list also finds parts of names. */
async function chuteIdOf(provider: AttestedProvider, deps: CollectDeps): Promise<string> {
  const { origin, model, chuteId } = provider
  if (chuteId !== undefined) return chuteId
  const query = new URLSearchParams({ include_public: 'true', name: model ?? '' })
  const list = await ask(deps, origin, `/chutes/?${query.toString()}`, MAX_LIST)
  const parsed = listSchema.safeParse(parseJson(decodeUtf8(list)))
  if (!parsed.success) throw new EvidenceError('provider_report_malformed')
  const found = parsed.data.items.filter(({ name }) => name === model)
  const [only] = found
  // Of two chutes of one name nobody can say which is meant: then it has to be configured.
  if (only === undefined || found.length > 1 || !CHUTE_ID.test(only.chute_id)) {
    throw new EvidenceError('provider_model_mismatch')
  }
  return only.chute_id
}

/**
 * What the instances' quotes and GPUs are judged by. Where an instance shows something that does not hold, nothing is
 * fetched for it, and its appraisal says why. That nobody can be asked ends the round only where no instance is spared.
 */
async function endorsements(
  candidates: readonly ChutesCandidate[],
  { policy }: AttestedProvider,
  deps: CollectDeps,
): Promise<NamedDocuments> {
  const gathered = await Promise.all(
    candidates.map(async ({ instanceId, key, quote, gpuEvidence: json }) => {
      const nonce = await chutesBinding(deps.nonce, key)
      const collateral = async (): Promise<NamedDocuments> => [
        [chutesCollateral(instanceId), encodeCollateral(await deps.pcs(quote))],
      ]
      return Promise.all([
        unlessRefused(collateral()),
        unlessRefused(deps.gpus({ json, nonce, policy: policy.gpu })),
      ])
    }),
  )
  const failures = gathered.map((parts) => parts.find((part) => part instanceof ChannelError))
  const [failure] = failures
  if (failure !== undefined && !failures.includes(undefined)) throw failure
  return mergeDocuments(gathered.flat().filter(isHad))
}

const isHad = (part: NamedDocuments | ChannelError): part is NamedDocuments =>
  !(part instanceof ChannelError)

async function unlessRefused(
  documents: Promise<NamedDocuments>,
): Promise<NamedDocuments | ChannelError> {
  try {
    return await documents
  } catch (error) {
    if (error instanceof ChannelError) return error
    if (isVerificationError(error)) return []
    throw error
  }
}
