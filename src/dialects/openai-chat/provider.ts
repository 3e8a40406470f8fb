import type { IncomingHttpHeaders } from 'node:http'
import type { CanonicalAnswer, CanonicalRequest, ProviderFailure } from '../canonical.ts'
import type { EncodedRequest, ProviderDialect, StreamDecoder, Target } from '../dialect.ts'
import { classify } from './failure.ts'
import { readAnswer } from './provider-answer.ts'
import { writeRequest } from './provider-request.ts'
import { ChatStreamDecoder } from './stream-decoder.ts'
import { VARIANTS, type Variant, type VariantName } from './variants.ts'

/** A provider of chat completions as OpenAI has them, or nearly so. */
export class OpenAiChatProvider implements ProviderDialect {
  readonly name = 'openai-chat'
  readonly #variant: Variant

  constructor(variant: VariantName) {
    this.#variant = VARIANTS[variant]
  }

  encode(request: CanonicalRequest, target: Target): EncodedRequest {
    const body = writeRequest(request, target.model, this.#variant)
    return { path: '/chat/completions', headers: {}, body: Buffer.from(JSON.stringify(body)) }
  }

  decode(body: Buffer, target: Target): CanonicalAnswer {
    return readAnswer(body, target)
  }

  stream(target: Target): StreamDecoder {
    return new ChatStreamDecoder(target, this.#variant.done)
  }

  classify(status: number, headers: IncomingHttpHeaders, body: Buffer): ProviderFailure {
    return classify(status, headers, body)
  }
}
