import { GatewayError } from '../../errors.ts'
import { collect } from '../collect.ts'
import type { ProviderDialect } from '../dialect.ts'
import { readAnswer } from '../loose.ts'
import { classifyGemini } from './failure.ts'
import { encodeGemini } from './request.ts'
import { GeminiReader, GeminiStream } from './stream.ts'

/**
 * Google's `generateContent`, of the Gemini API and of Vertex AI. The base URL ends before `/models`; the key goes into
 * `x-goog-api-key`, never into the query.
 */
export const gemini: ProviderDialect = {
  name: 'gemini',
  encode: encodeGemini,
  decode(body, target) {
    const reader = new GeminiReader(target)
    const events = reader.chunk(readAnswer(body))
    if (reader.failed) return collect(events)
    try {
      return collect([...events, ...reader.end()])
    } catch (error) {
      // A whole answer is not broken off; it lacks what it must have.
      const broken = error instanceof GatewayError && error.code === 'upstream_broken'
      throw broken ? new GatewayError('upstream_malformed') : error
    }
  },
  stream: (target) => new GeminiStream(target),
  classify: classifyGemini,
}
