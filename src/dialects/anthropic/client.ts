import type { ClientDialect } from '../dialect.ts'
import { encodeAnswer } from './client-answer.ts'
import { errorJson } from './client-error.ts'
import { decodeRequest } from './client-request.ts'
import { MessagesEncoder } from './client-stream.ts'

/** `POST /v1/messages`, as Anthropic's SDKs speak it. */
export const anthropicMessages: ClientDialect = {
  name: 'anthropic-messages',
  decode: decodeRequest,
  encode: encodeAnswer,
  stream: () => new MessagesEncoder(),
  error: (code, failure, requestId) => Buffer.from(errorJson(code, failure, requestId)),
}
