import type { IncomingHttpHeaders } from 'node:http'
import type {
  CanonicalAnswer,
  CanonicalRequest,
  ProviderFailure,
} from '../../../src/dialects/canonical.ts'
import type {
  EncodedRequest,
  ProviderDialect,
  StreamDecoder,
  Target,
} from '../../../src/dialects/dialect.ts'
import { classify } from '../../../src/dialects/openai-chat/failure.ts'
import { readAnswer } from './answer.ts'
import { writeRequest } from './request.ts'
import { ResponsesStreamDecoder } from './stream-decoder.ts'

/** A provider of OpenAI's responses, which is asked to keep nothing. */
export class OpenAiResponsesProvider implements ProviderDialect {
  readonly name = 'openai-responses'

  encode(request: CanonicalRequest, target: Target): EncodedRequest {
    const body = writeRequest(request, target.model)
    return { path: '/responses', headers: {}, body: Buffer.from(JSON.stringify(body)) }
  }

  decode(body: Buffer, target: Target): CanonicalAnswer {
    return readAnswer(body, target)
  }

  stream(target: Target): StreamDecoder {
    return new ResponsesStreamDecoder(target)
  }

  classify(status: number, headers: IncomingHttpHeaders, body: Buffer): ProviderFailure {
    return classify(status, headers, body)
  }
}
