import type { CanonicalUsage, JsonObject } from '../canonical.ts'
import { wholeOf } from '../openai-chat/json.ts'
import { member, type Json } from '../json.ts'

/** Cached tokens are part of `input_tokens`, reasoning of `output_tokens`. */
export function readUsage(usage: Json): CanonicalUsage | null {
  const input = wholeOf(member(usage, 'input_tokens'))
  const written = wholeOf(member(usage, 'output_tokens'))
  if (input === null && written === null) return null
  const details = member(usage, 'input_tokens_details')
  const cacheRead = Math.min(input ?? 0, wholeOf(member(details, 'cached_tokens')) ?? 0)
  const cacheWrite = Math.min(
    (input ?? 0) - cacheRead,
    wholeOf(member(details, 'cache_write_tokens')) ?? 0,
  )
  const stated = wholeOf(member(member(usage, 'output_tokens_details'), 'reasoning_tokens')) ?? 0
  const reasoning = Math.min(written ?? 0, stated)
  return {
    uncachedInput: (input ?? 0) - cacheRead - cacheWrite,
    cacheRead,
    cacheWrite,
    output: (written ?? 0) - reasoning,
    reasoning,
  }
}

export const writeUsage = (usage: CanonicalUsage): JsonObject => {
  const input = usage.uncachedInput + usage.cacheRead + usage.cacheWrite
  const output = usage.output + usage.reasoning
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: usage.cacheRead, cache_write_tokens: usage.cacheWrite },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: usage.reasoning },
    total_tokens: input + output,
  }
}
