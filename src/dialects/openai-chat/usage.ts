import type { CanonicalUsage, JsonObject } from '../canonical.ts'
import { wholeOf } from './json.ts'
import { isObject, member, type Json } from '../json.ts'

/**
 * OpenAI's counts include one another: cached and written tokens are part of `prompt_tokens`, reasoning is part of
 * `completion_tokens`. Where `total_tokens` is larger than the two together (xAI, Gemini), reasoning stands outside.
 */
export function readUsage(usage: Json): CanonicalUsage | null {
  if (!isObject(usage)) return null
  const prompt = wholeOf(usage['prompt_tokens'])
  const completion = wholeOf(usage['completion_tokens'])
  if (prompt === null && completion === null) return null
  const details = member(usage, 'prompt_tokens_details')
  const cacheRead = Math.min(prompt ?? 0, cachedTokens(usage, details))
  const cacheWrite = Math.min(
    (prompt ?? 0) - cacheRead,
    wholeOf(member(details, 'cache_write_tokens')) ?? 0,
  )
  return {
    uncachedInput: (prompt ?? 0) - cacheRead - cacheWrite,
    cacheRead,
    cacheWrite,
    ...outputCounts(usage, prompt ?? 0, completion ?? 0),
  }
}

const cachedTokens = (usage: JsonObject, details: Json): number =>
  wholeOf(member(details, 'cached_tokens')) ??
  wholeOf(usage['prompt_cache_hit_tokens']) ??
  wholeOf(usage['cached_tokens']) ??
  0

function outputCounts(
  usage: JsonObject,
  prompt: number,
  completion: number,
): Pick<CanonicalUsage, 'output' | 'reasoning'> {
  const outside = (wholeOf(usage['total_tokens']) ?? 0) - prompt - completion
  if (outside > 0) return { output: completion, reasoning: outside }
  const stated = wholeOf(member(usage['completion_tokens_details'], 'reasoning_tokens')) ?? 0
  const reasoning = Math.min(stated, completion)
  return { output: completion - reasoning, reasoning }
}

export function writeUsage(usage: CanonicalUsage): JsonObject {
  const input = usage.uncachedInput + usage.cacheRead + usage.cacheWrite
  const output = usage.output + usage.reasoning
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: {
      cached_tokens: usage.cacheRead,
      cache_write_tokens: usage.cacheWrite,
    },
    completion_tokens_details: { reasoning_tokens: usage.reasoning },
  }
}
