import type { ProviderDialect } from '../dialect.ts'
import { decodeAnswer } from './answer.ts'
import { classify } from './failure.ts'
import { encodeRequest } from './request.ts'
import { AnthropicStream } from './stream.ts'

/**
 * Anthropic's Messages API, below a base URL that ends in `/v1`. The credential goes as `x-api-key`.
 * Sources: the types of Anthropic's official SDK; recorded exchanges.
 */
export const anthropic: ProviderDialect = {
  name: 'anthropic',
  encode: encodeRequest,
  decode: decodeAnswer,
  stream: (target) => new AnthropicStream(target),
  classify,
}
