import { z } from 'zod'
import { decodeUtf8, encodeUtf8, fromBase64, sha256, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson, type JsonValue } from '../json.ts'
import {
  chutesInstanceId,
  parseChutesInstances,
  type ChutesInstances,
  type ChutesKey,
} from './chutes-instances.ts'

/** The names under which one round is kept: what Chutes answered, and the id of the chute that was asked about. */
export const CHUTES_DOCUMENTS = {
  chuteId: 'chute-id',
  instances: 'instances',
  evidence: 'evidence',
} as const

/** Collateral is kept by instance: each may run on another platform. */
export const chutesCollateral = (instanceId: string): string => `tdx/collateral/${instanceId}`

/** What one instance shows, not yet verified. */
export interface ChutesCandidate {
  readonly instanceId: string
  readonly key: ChutesKey
  readonly quote: Bytes
  /** DER of the certificate of the service that took the quote. */
  readonly certificate: Bytes
  /** A bare list, as `parseGpuEvidence` reads it. */
  readonly gpuEvidence: string
}

/** An instance that shows something, or why that cannot be read. */
export type ChutesShown =
  | ChutesCandidate
  | { readonly instanceId: string; readonly error: EvidenceError }

const MAX_ENTRIES = 64
const json: z.ZodType<JsonValue> = z.json()

const answerSchema = z.object({ evidence: z.array(json).max(MAX_ENTRIES).nullish() })

const entrySchema = z.object({
  instance_id: chutesInstanceId,
  quote: z.string().max(65_536),
  certificate: z.string().max(16_384),
  gpu_evidence: z.array(json).max(64),
})

/**
 * The instances of a round that have both a key and evidence: without the one nothing can be encrypted to an instance,
 * and instances that are no TEEs have keys too. An entry that cannot be read spoils only itself.
 *
 * @throws EvidenceError `evidence_malformed`, `json_malformed`, `encoding_malformed` where an answer as a whole cannot
 * be read, `provider_instances_absent` where no instance is left.
 */
export function readChutesRound(instances: Bytes, evidence: Bytes): ChutesShown[] {
  const keys = keysOf(parseChutesInstances(instances))
  const answer = answerSchema.safeParse(parseJson(decodeUtf8(evidence)))
  if (!answer.success) throw new EvidenceError('evidence_malformed')
  const shown = (answer.data.evidence ?? []).flatMap((entry) => {
    const parsed = entrySchema.safeParse(entry)
    const instanceId = parsed.success ? parsed.data.instance_id : '?'
    const key = keys.get(instanceId)
    if (!parsed.success) {
      return [{ instanceId, error: new EvidenceError('provider_report_malformed') }]
    }
    return key === undefined ? [] : [candidate(parsed.data, key)]
  })
  if (shown.length === 0) throw new EvidenceError('provider_instances_absent')
  return withoutTwins(shown)
}

/** Of an instance that is listed twice, nobody can say which key is meant. */
function keysOf({ instances }: ChutesInstances): ReadonlyMap<string, ChutesKey> {
  const counts = Map.groupBy(instances, ({ instanceId }) => instanceId)
  return new Map(
    instances.flatMap(({ instanceId, key }) =>
      key === null || counts.get(instanceId)?.length !== 1 ? [] : [[instanceId, key]],
    ),
  )
}

function candidate(entry: z.output<typeof entrySchema>, key: ChutesKey): ChutesShown {
  const { instance_id: instanceId, quote, certificate, gpu_evidence: gpus } = entry
  try {
    return {
      instanceId,
      key,
      quote: fromBase64(quote),
      certificate: fromBase64(certificate),
      gpuEvidence: JSON.stringify(gpus),
    }
  } catch (error) {
    if (!(error instanceof EvidenceError)) throw error
    return { instanceId, error }
  }
}

/** Two entries for one instance contradict each other, whatever each is worth. */
function withoutTwins(shown: readonly ChutesShown[]): ChutesShown[] {
  return [...Map.groupBy(shown, ({ instanceId }) => instanceId)].flatMap(([instanceId, entries]) =>
    entries.length === 1 || instanceId === '?'
      ? entries
      : [{ instanceId, error: new EvidenceError('provider_report_malformed') }],
  )
}

/** First half of the report data, and what the GPUs of the instance were asked with: both hash text, not bytes. */
export const chutesBinding = (nonce: string, { text }: ChutesKey): Promise<Bytes> =>
  sha256(encodeUtf8(nonce + text))
