import { GatewayError } from '../../errors.ts'
import type { JsonValue } from '@vouchgate/attestation'
import type { EncodedRequest } from '../dialect.ts'
import { compact, countAt, listAt, numberAt, readAnswer, writeJson } from '../loose.ts'
import { isList, member } from '../json.ts'

export interface EmbedRequest {
  readonly model: string
  readonly texts: readonly string[]
  readonly inputType: 'search_document' | 'search_query' | 'classification' | 'clustering'
  readonly dimensions: number | null
}

export interface Embeddings {
  /** In the order of the texts. */
  readonly vectors: readonly (readonly number[])[]
  /** As billed; null where the provider does not say. */
  readonly inputTokens: number | null
}

export interface RerankRequest {
  readonly model: string
  readonly query: string
  readonly documents: readonly string[]
  readonly topN: number | null
}

export interface Ranking {
  /** The best first; `index` counts the documents of the request. */
  readonly results: readonly { readonly index: number; readonly score: number }[]
  readonly searchUnits: number | null
}

const post = (path: string, body: JsonValue): EncodedRequest => ({
  path,
  headers: {},
  body: Buffer.from(writeJson(body, 'invalid_request')),
})

/** `/v2/embed`, as floats. */
export const encodeEmbed = (request: EmbedRequest): EncodedRequest =>
  post(
    '/embed',
    compact({
      model: request.model,
      texts: request.texts,
      input_type: request.inputType,
      embedding_types: ['float'],
      output_dimension: request.dimensions,
    }),
  )

function vector(value: JsonValue): number[] {
  const numbers = (isList(value) ? value : []).filter((one) => typeof one === 'number')
  if (!isList(value) || value.length === 0 || numbers.length < value.length)
    throw new GatewayError('upstream_malformed')
  return numbers
}

/** Of version 2 (`embeddings.float`), and of version 3 models on Bedrock (a plain list). Throws `upstream_malformed`. */
export function decodeEmbed(body: Buffer, count: number): Embeddings {
  const value = readAnswer(body)
  const given = member(value, 'embeddings')
  const vectors = (isList(given) ? given : listAt(given, 'float')).map(vector)
  if (vectors.length !== count) throw new GatewayError('upstream_malformed')
  return {
    vectors,
    inputTokens: countAt(member(member(value, 'meta'), 'billed_units'), 'input_tokens'),
  }
}

/** `/v2/rerank`. */
export const encodeRerank = (request: RerankRequest): EncodedRequest =>
  post(
    '/rerank',
    compact({
      model: request.model,
      query: request.query,
      documents: request.documents,
      top_n: request.topN,
    }),
  )

/** Throws `upstream_malformed` also where a result is for no document of the request. */
export function decodeRerank(body: Buffer, count: number): Ranking {
  const value = readAnswer(body)
  const results = listAt(value, 'results').map((result) => {
    const index = countAt(result, 'index')
    const score = numberAt(result, 'relevance_score')
    if (index === null || score === null || index >= count)
      throw new GatewayError('upstream_malformed')
    return { index, score }
  })
  if (
    !isList(member(value, 'results')) ||
    new Set(results.map(({ index }) => index)).size < results.length
  )
    throw new GatewayError('upstream_malformed')
  return {
    results,
    searchUnits: countAt(member(member(value, 'meta'), 'billed_units'), 'search_units'),
  }
}
