import { randomBytes } from 'node:crypto'
import { anthropicMessages } from './dialects/anthropic/client.ts'
import type { ClientDialect } from './dialects/dialect.ts'
import { OpenAiChat } from './dialects/openai-chat/client.ts'
import { OpenAiResponses } from './dialects/openai-responses/client.ts'
import { pooled } from './ids.ts'
import { ANTHROPIC_WIRE, OPENAI_WIRE, TRANSCRIPTION_WIRE, type Wire } from './wire.ts'

/** Whose API a provider speaks. A body goes unread only to one that speaks the client's. */
export type Family = 'openai' | 'anthropic' | 'gemini' | 'bedrock' | 'cohere'

/** One prompt route. */
export interface Operation {
  readonly name: OperationName
  /** Below `/v1` here and below the base URL of a provider of the same family. */
  readonly path: string
  readonly family: Family
  /** What the client speaks; its errors have this shape. */
  readonly dialect: ClientDialect
  /** Whether it is a conversation, which a provider of another family can answer as well. */
  readonly convertible: boolean
  /** What answers look like that pass unread. */
  readonly wire: Wire
  readonly answers: 'json' | 'binary'
  readonly takes: 'json' | 'form'
  /** Whether a body has what this request cannot do without, beside the model. */
  readonly isRequest: (body: Readonly<Record<string, unknown>>) => boolean
  /** Whether it asks that something be kept for a later request. */
  readonly keeps: (body: Readonly<Record<string, unknown>>) => boolean
}

const isText = (value: unknown): boolean => typeof value === 'string'
const isList = (value: unknown): boolean => Array.isArray(value)
const isTextOrList = (value: unknown): boolean => isText(value) || isList(value)

/** Every frame of a stream wants some. */
const padding = pooled(randomBytes, 1 << 14)

/** Base64url has no character that JSON escapes, and random ones do not compress. */
export function pad(length: number): string {
  const { buffer, byteOffset, byteLength } = padding(Math.ceil((length * 3) / 4))
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64url').slice(0, length)
}

const CHAT = new OpenAiChat(pad)
const RESPONSES = new OpenAiResponses(pad)

/** Anthropic's containers outlive a request, with the files in them, and code execution makes one unasked. */
function keepsContainer({ container, tools }: Readonly<Record<string, unknown>>): boolean {
  if (container !== undefined && container !== null) return true
  return Array.isArray(tools) && tools.some(runsCode)
}

const runsCode = (tool: unknown): boolean =>
  typeof tool === 'object' &&
  tool !== null &&
  'type' in tool &&
  typeof tool.type === 'string' &&
  tool.type.startsWith('code_execution')

const openai = {
  family: 'openai',
  dialect: CHAT,
  convertible: false,
  wire: OPENAI_WIRE,
  answers: 'json',
  takes: 'json',
  keeps: () => false,
} as const
const anthropic = {
  family: 'anthropic',
  dialect: anthropicMessages,
  wire: ANTHROPIC_WIRE,
  answers: 'json',
  takes: 'json',
  keeps: keepsContainer,
} as const

/** Every prompt route there is, each entry complete. */
export const OPERATIONS = {
  chat: {
    ...openai,
    path: '/chat/completions',
    convertible: true,
    isRequest: ({ messages }) => isList(messages),
    keeps: ({ store }) => store === true,
  },
  completions: {
    ...openai,
    path: '/completions',
    isRequest: ({ prompt }) => isTextOrList(prompt),
  },
  embeddings: {
    ...openai,
    path: '/embeddings',
    isRequest: ({ input }) => isTextOrList(input),
  },
  responses: {
    ...openai,
    // Providers of this family need not have it, so that it always goes through the conversation.
    family: 'openai',
    dialect: RESPONSES,
    path: '/responses',
    convertible: true,
    isRequest: ({ input }) => isTextOrList(input),
  },
  messages: {
    ...anthropic,
    path: '/messages',
    convertible: true,
    isRequest: ({ messages }) => isList(messages),
  },
  count_tokens: {
    ...anthropic,
    path: '/messages/count_tokens',
    convertible: false,
    isRequest: ({ messages }) => isList(messages),
  },
  rerank: {
    ...openai,
    path: '/rerank',
    isRequest: ({ query, documents }) => isText(query) && isList(documents),
  },
  moderations: {
    ...openai,
    path: '/moderations',
    isRequest: ({ input }) => isTextOrList(input),
  },
  images: {
    ...openai,
    path: '/images/generations',
    isRequest: ({ prompt }) => isText(prompt),
  },
  speech: {
    ...openai,
    path: '/audio/speech',
    answers: 'binary',
    isRequest: ({ input }) => isText(input),
  },
  transcriptions: {
    ...openai,
    path: '/audio/transcriptions',
    wire: TRANSCRIPTION_WIRE,
    takes: 'form',
    isRequest: () => true,
  },
} as const satisfies Record<string, Omit<Operation, 'name'>>

export type OperationName = keyof typeof OPERATIONS

export const operation = (name: OperationName): Operation => ({ name, ...OPERATIONS[name] })
