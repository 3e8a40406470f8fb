import type { ProviderDialect } from '../dialect.ts'
import { decodeBedrock } from './answer.ts'
import { classifyBedrock } from './failure.ts'
import { encodeBedrock } from './request.ts'
import { BedrockStream } from './stream.ts'

/**
 * Converse and ConverseStream of Amazon Bedrock. The credential is either a signature (`signAwsRequest`, service `bedrock`)
 * or an API key as bearer. A stream has the content type `application/vnd.amazon.eventstream`.
 */
export const bedrock: ProviderDialect = {
  name: 'bedrock',
  encode: encodeBedrock,
  decode: decodeBedrock,
  stream: (target) => new BedrockStream(target),
  classify: classifyBedrock,
}
