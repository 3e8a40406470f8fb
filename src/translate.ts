import type { JsonValue } from '@vouchgate/attestation'
import type { PromptCall } from './call.ts'
import { isAttested, type Provider, type Route } from './config/index.ts'
import { ConvertingRelay } from './converting-relay.ts'
import { anthropic } from './dialects/anthropic/provider.ts'
import { bedrock } from './dialects/bedrock/dialect.ts'
import type { CanonicalRequest } from './dialects/canonical.ts'
import { cohere } from './dialects/cohere/dialect.ts'
import type { ProviderDialect, Target } from './dialects/dialect.ts'
import { gemini } from './dialects/gemini/dialect.ts'
import { OpenAiChatProvider } from './dialects/openai-chat/provider.ts'
import { VARIANTS, type VariantName } from './dialects/openai-chat/variants.ts'
import { GatewayError } from './errors.ts'
import type { SessionId } from './ids.ts'
import { pad, type Family, type Operation } from './operations.ts'
import { PADDING_BLOCK } from './padding.ts'
import {
  bodyHash,
  forwardable,
  parsedBody,
  type Changes,
  type Prompt,
  type Shape,
} from './prompt.ts'
import { Relay, type AnswerSink } from './relay.ts'
import { Sensitive } from './sensitive.ts'
import { isSalted, withSalt } from './tenant.ts'

/** One prompt as it goes to one provider, and how the answer comes back to the client. */
export interface Translation {
  /** Below the provider's base URL. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Prompt
  /** For one exchange over a connection of this session. */
  readonly sink: (session: SessionId | null) => AnswerSink
}

export interface TranslateInput {
  readonly call: PromptCall
  readonly shape: Shape
  readonly route: Route
  readonly provider: Provider
  readonly maxBytes: number
  readonly target: Omit<Target, 'model'>
}

const familyOf = (provider: Provider): Family => (isAttested(provider) ? 'openai' : provider.kind)

/** Dialects of conversations, by family; made once, since they hold nothing. */
const DIALECTS: Readonly<Record<Exclude<Family, 'openai'>, ProviderDialect>> = {
  anthropic,
  bedrock,
  cohere,
  gemini,
}
const COMPATIBLE: ReadonlyMap<string, ProviderDialect> = new Map(
  Object.keys(VARIANTS).map((name) => [name, compatible(name)]),
)

function compatible(name: string): ProviderDialect {
  const known = Object.keys(VARIANTS).find((each): each is VariantName => each === name)
  return new OpenAiChatProvider(known ?? 'generic')
}

const dialectOf = (provider: Provider): ProviderDialect => {
  const family = familyOf(provider)
  if (family !== 'openai') return DIALECTS[family]
  const variant = isAttested(provider) ? 'vllm' : provider.variant
  return COMPATIBLE.get(variant) ?? new OpenAiChatProvider('generic')
}

/** Whether the provider can be asked this at all. */
const canServe = (provider: Provider, { family, convertible }: Operation): boolean =>
  convertible || family === familyOf(provider)

/**
 * The bytes themselves where the provider speaks what the client speaks, else the conversation in the provider's words.
 * Throws `request_not_supported` and what a dialect throws.
 */
export function translate(input: TranslateInput): Translation {
  const { call, provider } = input
  const { operation } = call
  if (!canServe(provider, operation)) throw new GatewayError('request_not_supported')
  return passes(operation, provider) ? passedOn(input) : converted(input)
}

/**
 * OpenAI's responses are spoken by few of those that are compatible otherwise, so they are always converted; and what
 * Mistral calls content is not what OpenAI's clients can read.
 */
function passes({ family, name, convertible }: Operation, provider: Provider): boolean {
  const foreign = !isAttested(provider) && provider.variant === 'mistral' && convertible
  return family === familyOf(provider) && name !== 'responses' && !foreign
}

function passedOn({ call, shape, route, provider, maxBytes }: TranslateInput): Translation {
  const { operation, prompt, receivedHash, tenant, model, receipt } = call
  const salted = isSalted(model, provider, operation)
  const body = forwardable(prompt, shape, {
    model: route.model,
    edits: (bytes, members) => tenant.edits(bytes, members, salted),
  })
  const hash = body === prompt ? receivedHash : null
  return {
    path: operation.path,
    headers: operation.family === 'anthropic' ? ANTHROPIC_HEADERS : {},
    body,
    sink: (session) =>
      new Relay({
        response: call.response,
        stream: shape.stream,
        maxBytes,
        wire: operation.wire,
        answers: operation.answers,
        padding: model.padding ? { pad, onApplied: () => receipt.padded(PADDING_BLOCK) } : null,
        ...hooks(call, route, { session, hash: () => hash ?? bodyHash(body) }),
      }),
  }
}

/** https://docs.anthropic.com/en/api/versioning */
const ANTHROPIC_HEADERS = { 'anthropic-version': '2023-06-01' }

function converted({
  call,
  shape,
  route,
  provider,
  maxBytes,
  target,
}: TranslateInput): Translation {
  const dialect = dialectOf(provider)
  const request = canonicalOf(call, shape)
  const at: Target = { ...target, model: route.model }
  const { path, headers, body: bytes } = dialect.encode(request, at)
  const salted = isSalted(call.model, provider, call.operation)
  const body = new Sensitive(salted ? withSalt(bytes, call.tenant.salt()) : bytes)
  return {
    path,
    headers,
    body,
    sink: (session) =>
      new ConvertingRelay({
        response: call.response,
        request,
        client: call.operation.dialect,
        provider: dialect,
        target: at,
        maxBytes,
        ...hooks(call, route, { session, hash: () => bodyHash(body) }),
      }),
  }
}

/** What the gateway consumes itself never reaches a provider, in whatever dialect. */
function canonicalOf(call: PromptCall, shape: Shape): CanonicalRequest {
  const { prompt, tenant } = call
  const edits: Changes['edits'] = (bytes, members) => tenant.edits(bytes, members, false)
  const value: JsonValue = parsedBody(forwardable(prompt, shape, { model: shape.model, edits }))
  return call.operation.dialect.decode(value)
}

interface Sent {
  readonly session: SessionId | null
  /** Of the bytes that are handed to the connection. */
  readonly hash: () => string
}

const hooks = (call: PromptCall, { provider, model }: Route, { session, hash }: Sent) => ({
  onSent: () => call.receipt.forwarded({ provider, model, session }, hash()),
  seal: (answer: Parameters<PromptCall['seal']>[0], returned: string) =>
    call.seal(answer, returned),
})
