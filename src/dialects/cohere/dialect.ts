import type { ProviderDialect } from '../dialect.ts'
import { decodeCohere } from './answer.ts'
import { classifyCohere } from './failure.ts'
import { encodeCohere } from './request.ts'
import { CohereStream } from './stream.ts'

/** Cohere's chat API. The base URL ends with `/v2`; the key is a bearer. */
export const cohere: ProviderDialect = {
  name: 'cohere',
  encode: encodeCohere,
  decode: decodeCohere,
  stream: (target) => new CohereStream(target),
  classify: classifyCohere,
}
