import type { JsonValue } from '@vouchgate/attestation'

/**
 * The one form that conversations are converted through, where the client and the provider speak different dialects.
 * Where they speak the same one, bytes pass unread.
 *
 * A member that is null was not given. What a dialect cannot say is dropped by its encoder or refused, never guessed.
 */
export interface CanonicalRequest {
  readonly model: string
  readonly stream: boolean
  readonly messages: readonly Message[]
  readonly tools: readonly Tool[]
  readonly toolChoice: ToolChoice | null
  /** False: at most one tool call in an answer. */
  readonly parallelToolCalls: boolean | null
  readonly sampling: Sampling
  readonly format: ResponseFormat | null
  readonly reasoning: ReasoningWish | null
  /** How many likely tokens to show beside each; null: none are shown. */
  readonly logprobs: number | null
  /** Whether the client of a stream asked for the usage in it. Whole answers always carry it. */
  readonly streamUsage: boolean
  /** Members that only the client's own dialect knows, by name, for a provider that speaks it as well. */
  readonly extra: Readonly<Record<string, JsonValue>>
  /** Whose members `extra` holds; a name like `metadata` means another thing in another dialect. */
  readonly dialect?: 'openai-chat' | 'openai-responses' | 'anthropic-messages'
}

export interface Sampling {
  readonly maxTokens: number | null
  readonly temperature: number | null
  readonly topP: number | null
  readonly topK: number | null
  readonly seed: number | null
  readonly frequencyPenalty: number | null
  readonly presencePenalty: number | null
  readonly stop: readonly string[]
  /** How many answers. */
  readonly n: number | null
}

export type Message =
  /** `developer` is how newer OpenAI models call what others call `system`. */
  | { readonly role: 'system' | 'developer'; readonly parts: readonly TextPart[] }
  | { readonly role: 'user'; readonly parts: readonly UserPart[]; readonly name: string | null }
  | { readonly role: 'assistant'; readonly parts: readonly AssistantPart[] }
  | { readonly role: 'tool'; readonly results: readonly ToolResult[] }

/** Where the provider may keep what stands before; its lifetime. */
export type CacheMark = '5m' | '1h'

export interface TextPart {
  readonly type: 'text'
  readonly text: string
  readonly cache?: CacheMark
}

/** Base64 with its media type, or an address. */
export type Source =
  | { readonly kind: 'base64'; readonly mediaType: string; readonly data: string }
  | { readonly kind: 'url'; readonly url: string }

export interface ImagePart {
  readonly type: 'image'
  readonly source: Source
  readonly detail: 'auto' | 'low' | 'high' | null
  readonly cache?: CacheMark
}

export interface FilePart {
  readonly type: 'file'
  readonly source: Source | { readonly kind: 'id'; readonly id: string }
  readonly name: string | null
  readonly cache?: CacheMark
}

interface AudioPart {
  readonly type: 'audio'
  readonly format: string
  readonly data: string
}

export type UserPart = TextPart | ImagePart | FilePart | AudioPart

/**
 * What a model thought. `signature` and `encrypted` prove to its provider, and to nobody else, that it did: they must
 * come back unchanged in the next turn, or a tool loop ends in a 400.
 */
export interface ReasoningPart {
  readonly type: 'reasoning'
  /** Empty where only the proof was given. */
  readonly text: string
  /** Anthropic's signature of a thinking block. */
  readonly signature: string | null
  /** Thoughts that only the provider can read: Anthropic's redacted thinking, OpenAI's encrypted content. */
  readonly encrypted: string | null
  /** The provider's own id of the item. */
  readonly id: string | null
}

interface RefusalPart {
  readonly type: 'refusal'
  readonly text: string
}

export interface ToolCallPart {
  readonly type: 'tool_call'
  readonly id: string
  readonly name: string
  /** JSON as the model wrote it, which may not be valid. */
  readonly arguments: string
  /** Gemini's `thoughtSignature` of the part. */
  readonly signature: string | null
  readonly cache?: CacheMark
}

export type AssistantPart = TextPart | ReasoningPart | RefusalPart | ToolCallPart

export interface ToolResult {
  readonly callId: string
  readonly parts: readonly (TextPart | ImagePart)[]
  readonly isError: boolean
  readonly cache?: CacheMark
}

export interface Tool {
  readonly name: string
  readonly description: string | null
  /** JSON Schema of the arguments; null where there are none. */
  readonly parameters: JsonObject | null
  readonly strict: boolean | null
  readonly cache?: CacheMark
}

export type ToolChoice =
  | { readonly type: 'auto' | 'none' | 'required' }
  | { readonly type: 'tool'; readonly name: string }

export type ResponseFormat =
  | { readonly type: 'json' }
  | {
      readonly type: 'json_schema'
      readonly name: string
      readonly description: string | null
      readonly schema: JsonObject
      readonly strict: boolean | null
    }

export type Effort = 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max'

export interface ReasoningWish {
  readonly effort: Effort | null
  readonly budgetTokens: number | null
}

export type JsonObject = { readonly [member: string]: JsonValue }

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'error'

/** Disjoint counts: nothing is counted twice. What a provider does not say is 0. */
export interface CanonicalUsage {
  readonly uncachedInput: number
  readonly cacheRead: number
  readonly cacheWrite: number
  /** Of `cacheWrite`, what is kept for an hour instead of minutes, where the provider says (Anthropic). */
  readonly cacheWriteHour?: number
  /** Text and tool calls, without reasoning. */
  readonly output: number
  readonly reasoning: number
  /** Where the provider bills other numbers than the model read and wrote (Cohere). */
  readonly billed?: { readonly input: number; readonly output: number }
}

export interface LogprobToken {
  readonly token: string
  readonly logprob: number
  readonly bytes: readonly number[] | null
  readonly top: readonly Omit<LogprobToken, 'top'>[]
}

export interface CanonicalChoice {
  readonly index: number
  readonly parts: readonly AssistantPart[]
  readonly finish: FinishReason
  /** The stop sequence that ended it, where one did and the provider says which. */
  readonly stopSequence: string | null
  readonly logprobs: readonly LogprobToken[] | null
  /** What the provider calls the reason, where `finish` says less: `pause_turn`. */
  readonly nativeFinish?: string
}

/** A whole answer. */
export interface CanonicalAnswer {
  readonly id: string
  /** As the provider names it. */
  readonly model: string
  /** Unix seconds. */
  readonly created: number
  readonly choices: readonly CanonicalChoice[]
  /** Null where the provider does not say. */
  readonly usage: CanonicalUsage | null
}

/**
 * A stream, event by event. `choice` counts answers from 0. Blocks and tool calls are numbered from 0 without gaps, each
 * counter within its choice, whatever numbers the provider uses.
 */
export type CanonicalEvent =
  /** First, once. */
  | {
      readonly type: 'start'
      readonly id: string
      readonly model: string
      readonly created: number
      /** Where the provider counts the input before it answers. */
      readonly usage: CanonicalUsage | null
    }
  | {
      readonly type: 'text'
      readonly choice: number
      readonly text: string
      readonly logprobs: readonly LogprobToken[] | null
    }
  | { readonly type: 'refusal'; readonly choice: number; readonly text: string }
  | {
      readonly type: 'reasoning'
      readonly choice: number
      readonly block: number
      readonly text: string
    }
  /** The proof that belongs to a block of reasoning; after its text, or alone. */
  | {
      readonly type: 'reasoning_proof'
      readonly choice: number
      readonly block: number
      readonly signature: string | null
      readonly encrypted: string | null
      readonly id: string | null
    }
  | {
      readonly type: 'tool_call'
      readonly choice: number
      readonly call: number
      readonly id: string
      readonly name: string
      readonly signature: string | null
    }
  | {
      readonly type: 'tool_arguments'
      readonly choice: number
      readonly call: number
      readonly text: string
    }
  | {
      readonly type: 'finish'
      readonly choice: number
      readonly reason: FinishReason
      readonly stopSequence: string | null
      readonly nativeFinish?: string
    }
  /** The final counts; a later one replaces an earlier one. */
  | { readonly type: 'usage'; readonly usage: CanonicalUsage }
  /** The provider says in the stream that it failed. Nothing follows. */
  | { readonly type: 'failure'; readonly failure: ProviderFailure }

/** What a provider's failure means, whatever it calls it. */
export type FailureClass =
  | 'auth'
  | 'quota'
  | 'rate_limit'
  | 'context_length'
  | 'content_filter'
  | 'overloaded'
  | 'bad_request'
  | 'not_found'
  | 'server'

export interface ProviderFailure {
  readonly class: FailureClass
  /** HTTP status; the one it would have had where it came within a stream. */
  readonly status: number
  readonly retryAfterSeconds: number | null
  /**
   * The provider's words, only where they are about the client's own request (`bad_request`, `context_length`,
   * `content_filter`). They go to the client and nowhere else.
   */
  readonly message: string | null
}
