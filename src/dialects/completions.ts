import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../errors.ts'
import { isList, mustObject, mustWord, optionalBoolean, type Json } from './openai-chat/json.ts'

const MAX_PROMPTS = 2048

/** What the gateway needs to know of a `/v1/completions` body, which is passed on as it is. */
export interface CompletionShape {
  readonly model: string
  readonly stream: boolean
}

/** Throws `invalid_request` where the body is not a completion request. */
export function completionShape(value: JsonValue): CompletionShape {
  const body = mustObject(value)
  if (!isPrompt(body['prompt'])) throw new GatewayError('invalid_request')
  return { model: mustWord(body['model']), stream: optionalBoolean(body['stream']) ?? false }
}

/** A text, its tokens, or a list of either. OpenAI lets it out as well. */
function isPrompt(prompt: Json): boolean {
  if (prompt === undefined || prompt === null || typeof prompt === 'string') return true
  if (!isList(prompt)) return false
  const all = (test: (one: JsonValue) => boolean): boolean => prompt.every(test)
  if (all(isToken)) return true
  return (
    prompt.length <= MAX_PROMPTS &&
    (all((one) => typeof one === 'string') || all((one) => isList(one) && one.every(isToken)))
  )
}

const isToken = (value: JsonValue): boolean => Number.isSafeInteger(value)
