import type { Attributes } from '@opentelemetry/api'
import type { Confidentiality } from '../config/index.ts'
import type { ErrorCode } from '../errors.ts'
import type { ModelName, ProviderId } from '../ids.ts'
import type { OperationName } from '../operations.ts'
import type { End } from '../receipts.ts'

/** The names of OpenTelemetry's GenAI conventions where they have one for the operation, else ours. */
export const GEN_AI_OPERATIONS = {
  chat: 'chat',
  completions: 'text_completion',
  embeddings: 'embeddings',
  responses: 'chat',
  messages: 'chat',
  count_tokens: 'count_tokens',
  rerank: 'rerank',
  moderations: 'moderations',
  images: 'images',
  speech: 'speech',
  transcriptions: 'transcription',
} as const satisfies Record<OperationName, string>

/**
 * Everything that telemetry can say: enums of ours, numbers, names of the configuration. There is no member for content,
 * nor for anything that a client or a provider has chosen.
 */
export interface TelemetryFacts {
  readonly 'gen_ai.operation.name'?: (typeof GEN_AI_OPERATIONS)[OperationName]
  /** As configured; what a client asks for can be anything. */
  readonly 'gen_ai.request.model'?: ModelName
  /** The provider's id in the configuration. */
  readonly 'gen_ai.provider.name'?: ProviderId
  readonly 'gen_ai.token.type'?: 'input' | 'output'
  /** Cached tokens are part of it. */
  readonly 'gen_ai.usage.input_tokens'?: number
  readonly 'gen_ai.usage.cache_read.input_tokens'?: number
  readonly 'gen_ai.usage.cache_creation.input_tokens'?: number
  /** Reasoning is part of it. */
  readonly 'gen_ai.usage.output_tokens'?: number
  readonly 'error.type'?: ErrorCode
  readonly 'vouchgate.confidentiality'?: Confidentiality
  readonly 'vouchgate.end'?: End
  readonly 'vouchgate.attempts'?: number
  readonly 'vouchgate.cost.micro_usd'?: number
}

const NAMES: ReadonlySet<string> = new Set<keyof TelemetryFacts>([
  'gen_ai.operation.name',
  'gen_ai.request.model',
  'gen_ai.provider.name',
  'gen_ai.token.type',
  'gen_ai.usage.input_tokens',
  'gen_ai.usage.cache_read.input_tokens',
  'gen_ai.usage.cache_creation.input_tokens',
  'gen_ai.usage.output_tokens',
  'error.type',
  'vouchgate.confidentiality',
  'vouchgate.end',
  'vouchgate.attempts',
  'vouchgate.cost.micro_usd',
])
const WORD = /^[A-Za-z0-9._:/@-]{1,128}$/

/** Second line behind the types: whatever is not named above, or is neither a number nor one short word, is not sent. */
export function attributes(facts: TelemetryFacts): Attributes {
  const sent: Attributes = {}
  for (const [name, value] of Object.entries(facts)) {
    const plain = typeof value === 'number' || (typeof value === 'string' && WORD.test(value))
    if (NAMES.has(name) && plain) sent[name] = value
  }
  return sent
}
