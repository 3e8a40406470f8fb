import type { JsonValue } from '@vouchgate/attestation'
import type { ErrorCode } from '../../errors.ts'
import type { CanonicalAnswer, CanonicalRequest, ProviderFailure } from '../canonical.ts'
import type { ClientDialect, StreamEncoder } from '../dialect.ts'
import { writeError } from '../openai-chat/error.ts'
import type { Pad } from '../openai-chat/pad.ts'
import { writeAnswer } from './answer.ts'
import { readRequest } from './request.ts'
import { ResponsesStreamEncoder } from './stream-encoder.ts'

/** What clients of `/v1/responses` speak. Nothing is kept between requests. */
export class OpenAiResponses implements ClientDialect {
  readonly name = 'openai-responses'
  readonly #pad: Pad | null

  /** `pad`: null where frames of streams keep their size, which gives token lengths away. */
  constructor(pad: Pad | null) {
    this.#pad = pad
  }

  decode(body: JsonValue): CanonicalRequest {
    return readRequest(body)
  }

  encode(answer: CanonicalAnswer, request: CanonicalRequest): Buffer {
    return Buffer.from(JSON.stringify(writeAnswer(answer, request)))
  }

  stream(request: CanonicalRequest): StreamEncoder {
    return new ResponsesStreamEncoder(request, this.#pad)
  }

  error(code: ErrorCode, failure: ProviderFailure | null): Buffer {
    return Buffer.from(JSON.stringify({ error: writeError(code, failure) }))
  }
}
