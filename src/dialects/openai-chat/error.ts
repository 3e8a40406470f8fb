import { errorMembers, type ErrorCode } from '../../errors.ts'
import type { ProviderFailure } from '../canonical.ts'

/** Codes that OpenAI's clients look for. */
const FAMILIAR: Partial<Record<ProviderFailure['class'], string>> = {
  context_length: 'context_length_exceeded',
  content_filter: 'content_filter',
}

/**
 * An error as OpenAI writes it. The provider's words are there only where they are about the client's own request.
 */
export function writeError(
  code: ErrorCode,
  failure: ProviderFailure | null,
): ReturnType<typeof errorMembers> {
  const error = errorMembers(code)
  const familiar = failure === null ? undefined : FAMILIAR[failure.class]
  return {
    message: failure?.message ?? error.message,
    type: familiar === undefined ? error.type : 'invalid_request_error',
    param: error.param,
    code: familiar ?? error.code,
  }
}
