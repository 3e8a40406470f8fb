import type { Effort } from '../canonical.ts'

/** How a provider of chat completions departs from OpenAI. */
export interface Variant {
  readonly maxTokens: 'max_tokens' | 'max_completion_tokens' | 'by_model'
  readonly seed: 'seed' | 'random_seed'
  /** Whether it knows the role `developer`. */
  readonly developer: boolean
  readonly topK: boolean
  readonly logprobs: boolean
  /** Whether a stream must be asked for its usage; where false, it comes unasked and asking is refused. */
  readonly streamOptions: boolean
  /** The members that it accepts; null where it passes over what it does not know. */
  readonly members: ReadonlySet<string> | null
  /** Where the reasoning of earlier turns goes. */
  readonly history: History
  /** Where the wish to reason goes. */
  readonly wish: 'reasoning_effort' | 'reasoning' | 'thinking' | 'nowhere'
  /** The efforts that it knows, weakest first; null: all. */
  readonly efforts: readonly Effort[] | null
  readonly content: 'openai' | 'mistral'
  /** Anthropic's marks of what may be cached, within parts. */
  readonly cacheControl: boolean
  /** Google's signatures, within calls. */
  readonly extraContent: boolean
  /** Whether every stream ends in `[DONE]`, so that one without it broke. */
  readonly done: boolean
  /** Members that every request has. */
  readonly always: Readonly<Record<string, boolean>>
}

type History =
  | 'nowhere'
  | 'reasoning_content'
  /** Only in turns that called tools, and in all of those: anything else was answered with 400 by one model or another. */
  | 'reasoning_content_of_calls'
  | 'reasoning'
  | 'reasoning_details'
  | 'thinking_parts'

const GENERIC: Variant = {
  maxTokens: 'by_model',
  seed: 'seed',
  developer: false,
  topK: false,
  logprobs: true,
  streamOptions: true,
  members: null,
  history: 'reasoning_content',
  wish: 'reasoning_effort',
  efforts: null,
  content: 'openai',
  cacheControl: false,
  extraContent: true,
  done: false,
  always: {},
}

/** A provider whose streams are known to end in `[DONE]`. */
const KNOWN: Variant = { ...GENERIC, maxTokens: 'max_tokens', extraContent: false, done: true }

const OPENAI: Variant = {
  ...KNOWN,
  maxTokens: 'max_completion_tokens',
  developer: true,
  history: 'nowhere',
}

/** https://docs.mistral.ai/api: any other member is answered with 422. */
const MISTRAL_MEMBERS: ReadonlySet<string> = new Set([
  'model',
  'messages',
  'temperature',
  'top_p',
  'max_tokens',
  'stream',
  'stop',
  'random_seed',
  'response_format',
  'tools',
  'tool_choice',
  'presence_penalty',
  'frequency_penalty',
  'n',
  'prediction',
  'parallel_tool_calls',
  'prompt_mode',
  'prompt_cache_key',
  'reasoning_effort',
  'safe_prompt',
  'metadata',
])

export const VARIANTS = {
  openai: { ...OPENAI, always: { store: false } },
  azure: OPENAI,
  vllm: { ...KNOWN, topK: true, history: 'reasoning' },
  sglang: { ...KNOWN, topK: true },
  tgi: { ...KNOWN, history: 'nowhere', wish: 'nowhere', done: false },
  ollama: { ...KNOWN, history: 'reasoning' },
  groq: {
    ...KNOWN,
    maxTokens: 'max_completion_tokens',
    logprobs: false,
    history: 'reasoning',
    efforts: ['none', 'low', 'medium', 'high'],
  },
  deepseek: { ...KNOWN, history: 'reasoning_content_of_calls', wish: 'thinking' },
  mistral: {
    ...KNOWN,
    seed: 'random_seed',
    logprobs: false,
    streamOptions: false,
    members: MISTRAL_MEMBERS,
    history: 'thinking_parts',
    efforts: ['none', 'high'],
    content: 'mistral',
  },
  openrouter: {
    ...KNOWN,
    topK: true,
    history: 'reasoning_details',
    wish: 'reasoning',
    cacheControl: true,
  },
  cerebras: {
    ...KNOWN,
    maxTokens: 'max_completion_tokens',
    history: 'reasoning',
    efforts: ['none', 'low', 'medium', 'high'],
  },
  xai: { ...KNOWN, maxTokens: 'max_completion_tokens', efforts: ['low', 'high'] },
  generic: GENERIC,
} as const satisfies Record<string, Variant>

export type VariantName = keyof typeof VARIANTS
