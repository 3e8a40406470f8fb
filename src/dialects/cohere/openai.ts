import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type { CanonicalUsage } from '../canonical.ts'
import type { EncodedRequest, Target } from '../dialect.ts'
import { makeId } from '../ids.ts'
import { compact, textAt, writeJson } from '../loose.ts'
import { optionalBoolean, optionalOne, optionalText, optionalWhole } from '../openai-chat/json.ts'
import { decodeEmbed, decodeRerank, encodeEmbed, encodeRerank, type EmbedRequest } from './embed.ts'
import { isList, member } from '../json.ts'

/** One request in Cohere's words, and how its answer is told in OpenAI's. */
export interface WholeExchange {
  readonly request: EncodedRequest
  /** Throws `upstream_malformed`. */
  readonly answer: (body: Buffer) => WholeReply
}

/** Throws `invalid_request` or `request_not_supported`. */
export type Telling = (body: JsonValue, target: Target) => WholeExchange

interface WholeReply {
  readonly body: Buffer
  readonly id: string | null
  readonly usage: CanonicalUsage | null
}

const NOTHING_USED = { uncachedInput: 0, cacheRead: 0, cacheWrite: 0, output: 0, reasoning: 0 }
const MAX_ITEMS = 10_000
const MAX_DIMENSIONS = 1 << 16
const INPUT_TYPES = [
  'search_document',
  'search_query',
  'classification',
  'clustering',
] as const satisfies readonly EmbedRequest['inputType'][]

const invalid = (): GatewayError => new GatewayError('invalid_request')

const written = (value: JsonValue): Buffer => Buffer.from(writeJson(value, 'upstream_malformed'))

/** Tokens are of a vocabulary that this provider does not have: `request_not_supported`. */
function textsOf(input: JsonValue | undefined): string[] {
  if (typeof input === 'string') return [input]
  if (!isList(input) || input.length === 0 || input.length > MAX_ITEMS) throw invalid()
  if (input.some((one) => typeof one === 'number' || isList(one))) {
    throw new GatewayError('request_not_supported')
  }
  return textsIn(input, (one) => (typeof one === 'string' ? one : null))
}

function textsIn(list: readonly JsonValue[], read: (one: JsonValue) => string | null): string[] {
  const texts = list.map(read).filter((one) => one !== null)
  if (texts.length < list.length) throw invalid()
  return texts
}

/** Little-endian float32 in base64, which OpenAI's SDKs ask for by themselves. */
const packed = (vector: readonly number[]): string => {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, number] of vector.entries()) bytes.writeFloatLE(number, index * 4)
  return bytes.toString('base64')
}

/**
 * `/v1/embeddings`. Cohere must be told what its embeddings are for, and OpenAI has no word for it: `input_type` is taken
 * in Cohere's words, and without it texts are documents.
 */
export function embeddings(body: JsonValue, target: Target): WholeExchange {
  const texts = textsOf(member(body, 'input'))
  const { model } = target
  const inputType = optionalOne(member(body, 'input_type'), INPUT_TYPES) ?? 'search_document'
  const dimensions = optionalWhole(member(body, 'dimensions'), 1, MAX_DIMENSIONS)
  const format = optionalOne(member(body, 'encoding_format'), ['float', 'base64'])
  const shown = (vector: readonly number[]): JsonValue =>
    format === 'base64' ? packed(vector) : vector
  return {
    request: encodeEmbed({ model, texts, inputType, dimensions }),
    answer: (bytes) => {
      const { vectors, inputTokens } = decodeEmbed(bytes, texts.length)
      const data = vectors.map((vector, index) => ({
        object: 'embedding',
        index,
        embedding: shown(vector),
      }))
      const tokens = inputTokens ?? 0
      const usage = { prompt_tokens: tokens, total_tokens: tokens }
      return {
        body: written({ object: 'list', data, model, usage }),
        id: null,
        usage: inputTokens === null ? null : { ...NOTHING_USED, uncachedInput: inputTokens },
      }
    },
  }
}

/** `/v1/rerank`, as vLLM, Jina and Cohere itself answer it. */
export function rerank(body: JsonValue, target: Target): WholeExchange {
  const query = optionalText(member(body, 'query'))
  const given = member(body, 'documents')
  if (query === null || !isList(given) || given.length === 0 || given.length > MAX_ITEMS) {
    throw invalid()
  }
  const documents = textsIn(given, (one) => (typeof one === 'string' ? one : textAt(one, 'text')))
  const topN = optionalWhole(member(body, 'top_n'), 1, MAX_ITEMS)
  const shows = optionalBoolean(member(body, 'return_documents')) ?? false
  const { model } = target
  return {
    request: encodeRerank({ model, query, documents, topN }),
    answer: (bytes) => {
      const { results, searchUnits } = decodeRerank(bytes, documents.length)
      const id = makeId('rerank-', target)
      const told = results.map(({ index, score }) => ({
        index,
        relevance_score: score,
        ...(shows ? { document: { text: documents[index] ?? '' } } : {}),
      }))
      const meta = searchUnits === null ? null : { billed_units: { search_units: searchUnits } }
      return { body: written(compact({ id, model, results: told, meta })), id, usage: null }
    },
  }
}
