import {
  decodeUtf8,
  encodeCollateral,
  encodeProviderEvidence,
  parseGpuEvidence,
  readSecretAiQuote,
  SECRETAI_DOCUMENTS,
  TDX_COLLATERAL,
  toHex,
  type Bytes,
} from '@vouchgate/attestation'
import { ChannelError } from '../../client/errors.ts'
import type { Collect, CollectDeps, NamedDocuments } from './collect.ts'

const MAX_CPU = 1 << 16
const MAX_TEXT = 2 << 20

/** What the machine shows of itself, each over a connection whose key was looked at. */
export const collectSecretAi: Collect = async ({ origin, model, policy }, deps) => {
  const ask = (path: string, maxBytes: number) =>
    deps.attested({ origin, path, headers: { accept: '*/*' }, maxBytes })
  const [cpu, compose] = [await ask('/cpu', MAX_CPU), await ask('/docker-compose', MAX_TEXT)]
  const gpu = policy.gpu === 'unchecked' ? null : await ask('/gpu', MAX_TEXT)
  const keys = new Set([cpu, compose, gpu].flatMap((each) => keyOf(each?.spkiSha256)))
  // Documents of two machines prove nothing of either.
  if (keys.size > 1) throw new ChannelError('channel_key_mismatch')
  const [observedSpkiSha256 = null] = keys
  const collateral = await deps.pcs(readSecretAiQuote(cpu.body))
  return encodeProviderEvidence({
    kind: 'secretai',
    collectedAt: deps.clock.now(),
    origin,
    model,
    nonce: null,
    observedSpkiSha256,
    documents: new Map([
      [SECRETAI_DOCUMENTS.cpu, cpu.body],
      [SECRETAI_DOCUMENTS.compose, compose.body],
      [TDX_COLLATERAL, encodeCollateral(collateral)],
      ...(gpu === null ? [] : [[SECRETAI_DOCUMENTS.gpu, gpu.body] as const]),
      ...(gpu === null ? [] : await gpuDocuments(gpu.body, policy.gpu, deps)),
    ]),
  })
}

const keyOf = (spkiSha256: Bytes | null | undefined): string[] =>
  spkiSha256 === null || spkiSha256 === undefined ? [] : [toHex(spkiSha256)]

/** By the nonce that the document states: whether it is the quoted one is judged with the quote. */
async function gpuDocuments(
  body: Bytes,
  policy: Parameters<CollectDeps['gpus']>[0]['policy'],
  { gpus }: CollectDeps,
): Promise<NamedDocuments> {
  const json = decodeUtf8(body)
  const { statedNonce } = parseGpuEvidence(json)
  return statedNonce === null ? [] : gpus({ json, nonce: statedNonce, policy })
}
