import { decodeUtf8, parseJson, type JsonValue } from '@vouchgate/attestation'
import { readBounded } from './bounded.ts'
import { ClientError, type ClientErrorCode } from './errors.ts'
import type { VerifiedFetch } from './verified-fetch.ts'

const MAX_DOCUMENT = 8 << 20

export interface DocumentRequest {
  readonly fetch: VerifiedFetch
  /** With a leading slash, without query. */
  readonly path: string
  readonly apiKey?: string
  /** What any answer but 200 means. */
  readonly unavailable: ClientErrorCode
}

/** One strict JSON document of the gateway, over the verified channel. Throws `json_malformed` too. */
export async function fetchDocument(request: DocumentRequest): Promise<JsonValue> {
  const { fetch, path, apiKey, unavailable } = request
  const headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
  const url = new URL(path, fetch.gateway().endpoint.origin)
  const response = await fetch(url, { headers })
  const { body } = response
  if (response.status !== 200 || body === null) {
    await body?.cancel()
    throw new ClientError(unavailable)
  }
  const bytes = await readBounded(body, MAX_DOCUMENT)
  if (bytes === null) throw new ClientError('response_too_large')
  return parseJson(decodeUtf8(bytes))
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A member of a JSON object; undefined where there is none, or no object. */
export const memberOf = (value: unknown, name: string): unknown =>
  isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined
