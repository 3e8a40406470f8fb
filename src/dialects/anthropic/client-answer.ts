import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import type {
  AssistantPart,
  CanonicalAnswer,
  JsonObject,
  ReasoningPart,
  ToolCallPart,
} from '../canonical.ts'
import { argumentsObject } from './exact.ts'
import { sealSignature } from './seal.ts'
import { stopReasonOf } from './stop.ts'
import { wireUsage } from './usage.ts'

/** The blocks that carry a proof: Anthropic's own, or another provider's sealed into a signature. */
export function proofBlock(part: Omit<ReasoningPart, 'type'>): JsonObject {
  const { text, signature, encrypted, id } = part
  if (encrypted === null) return { type: 'thinking', thinking: text, signature: signature ?? '' }
  if (id === null) return { type: 'redacted_thinking', data: encrypted }
  return { type: 'thinking', thinking: text, signature: sealSignature(encrypted, id) }
}

export const callBlock = (
  part: Pick<ToolCallPart, 'id' | 'name' | 'signature'>,
  input: JsonValue,
): JsonObject => ({
  type: 'tool_use',
  id: part.id,
  name: part.name,
  input,
  ...(part.signature === null
    ? {}
    : { extra_content: { google: { thought_signature: part.signature } } }),
})

function blocksOf(part: AssistantPart): readonly JsonObject[] {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return part.text === '' ? [] : [{ type: 'text', text: part.text }]
    case 'reasoning':
      return reasoningBlocks(part)
    case 'tool_call':
      return [callBlock(part, argumentsObject(part.arguments))]
  }
}

/** Readable thoughts beside redacted ones are two blocks. */
function reasoningBlocks(part: ReasoningPart): readonly JsonObject[] {
  const { text, encrypted, id } = part
  return text !== '' && encrypted !== null && id === null
    ? [proofBlock({ ...part, encrypted: null }), proofBlock(part)]
    : [proofBlock(part)]
}

/** Throws `upstream_error` where the provider ended in one: this dialect has no way to say so in an answer. */
export function encodeAnswer(answer: CanonicalAnswer): Buffer {
  const [choice] = answer.choices
  if (choice === undefined || choice.finish === 'error') throw new GatewayError('upstream_error')
  const { parts, finish: reason, stopSequence } = choice
  const native = choice.nativeFinish === undefined ? {} : { nativeFinish: choice.nativeFinish }
  const stop = stopReasonOf({ reason, stopSequence, ...native })
  const message = {
    id: answer.id,
    type: 'message',
    role: 'assistant',
    model: answer.model,
    content: parts.flatMap(blocksOf),
    stop_reason: stop,
    stop_sequence: stopSequence,
    usage: wireUsage(answer.usage),
  }
  return Buffer.from(JSON.stringify(message))
}
