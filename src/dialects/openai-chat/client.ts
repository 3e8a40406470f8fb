import type { JsonValue } from '@vouchgate/attestation'
import type { ErrorCode } from '../../errors.ts'
import type { CanonicalAnswer, CanonicalRequest, ProviderFailure } from '../canonical.ts'
import type { ClientDialect, StreamEncoder } from '../dialect.ts'
import { writeAnswer } from './answer.ts'
import { writeError } from './error.ts'
import type { Pad } from './pad.ts'
import { readRequest } from './request.ts'
import { ChatStreamEncoder } from './stream-encoder.ts'

/** What clients of `/v1/chat/completions` speak. */
export class OpenAiChat implements ClientDialect {
  readonly name = 'openai-chat'
  readonly #pad: Pad | null

  /** `pad`: null where frames of streams keep their size, which gives token lengths away. */
  constructor(pad: Pad | null) {
    this.#pad = pad
  }

  decode(body: JsonValue): CanonicalRequest {
    return readRequest(body)
  }

  encode(answer: CanonicalAnswer): Buffer {
    return Buffer.from(JSON.stringify(writeAnswer(answer)))
  }

  stream(request: CanonicalRequest): StreamEncoder {
    return new ChatStreamEncoder(request, this.#pad)
  }

  error(code: ErrorCode, failure: ProviderFailure | null): Buffer {
    return Buffer.from(JSON.stringify({ error: writeError(code, failure) }))
  }
}
