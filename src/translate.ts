import type { JsonValue } from '@vouchgate/attestation'
import type { PromptCall } from './call.ts'
import { isAttested, type Provider, type Route } from './config/index.ts'
import { forwardedBetas } from './betas.ts'
import { ConvertingRelay } from './converting-relay.ts'
import { anthropic } from './dialects/anthropic/provider.ts'
import { bedrock } from './dialects/bedrock/dialect.ts'
import type { CanonicalRequest } from './dialects/canonical.ts'
import { cohere } from './dialects/cohere/dialect.ts'
import { embeddings, rerank, type Telling } from './dialects/cohere/openai.ts'
import type { ProviderDialect, Target } from './dialects/dialect.ts'
import { gemini } from './dialects/gemini/dialect.ts'
import { OpenAiChatProvider } from './dialects/openai-chat/provider.ts'
import { VARIANTS, type VariantName } from './dialects/openai-chat/variants.ts'
import { GatewayError } from './errors.ts'
import type { SessionId } from './ids.ts'
import { pad, type Family, type Operation, type OperationName } from './operations.ts'
import { PADDING_BLOCK } from './padding.ts'
import { bodyHash, forwardable, readable, type Prompt, type Shape } from './prompt.ts'
import type { AnswerSink } from './answer-sink.ts'
import { Relay } from './relay.ts'
import { Sensitive } from './sensitive.ts'
import { isSalted, withSalt } from './tenant.ts'
import { WholeRelay } from './whole-relay.ts'

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
const canServe = (provider: Provider, operation: Operation): boolean =>
  operation.convertible ||
  operation.family === familyOf(provider) ||
  retold(provider, operation.name) !== null

/** What is no conversation, and still told to a provider of another family in its own words. */
function retold(provider: Provider, name: OperationName): Telling | null {
  if (familyOf(provider) !== 'cohere') return null
  if (name === 'embeddings') return embeddings
  return name === 'rerank' ? rerank : null
}

/**
 * The bytes themselves where the provider speaks what the client speaks, else the conversation in the provider's words.
 * Throws `request_not_supported` and what a dialect throws.
 */
export function translate(input: TranslateInput): Translation {
  const { call, provider } = input
  const { operation } = call
  if (!canServe(provider, operation)) throw new GatewayError('request_not_supported')
  if (passes(operation, provider)) return passedOn(input)
  const tell = retold(provider, operation.name)
  return tell === null ? converted(input) : retelling(input, tell)
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
  shape.body.drop()
  return {
    path: operation.path,
    headers: {
      ...(operation.family === 'anthropic' ? anthropicHeaders(call.betas) : {}),
      ...(shape.form === null ? {} : { 'content-type': shape.form.contentType }),
    },
    body,
    sink: (session) =>
      new Relay({
        response: call.response,
        stream: shape.stream,
        maxBytes,
        wire: operation.wire,
        answers: shape.form?.answers ?? operation.answers,
        padding: model.padding ? { pad, onApplied: () => receipt.padded(PADDING_BLOCK) } : null,
        ...hooks(call, route, { session, hash: () => hash ?? bodyHash(body) }),
      }),
  }
}

/** https://docs.anthropic.com/en/api/versioning */
const ANTHROPIC_HEADERS = { 'anthropic-version': '2023-06-01' }

function anthropicHeaders(asked: string): Readonly<Record<string, string>> {
  const betas = forwardedBetas(asked)
  return betas === null ? ANTHROPIC_HEADERS : { ...ANTHROPIC_HEADERS, 'anthropic-beta': betas }
}

function converted({
  call,
  shape,
  route,
  provider,
  maxBytes,
  target,
}: TranslateInput): Translation {
  const dialect = dialectOf(provider)
  const request: CanonicalRequest = call.operation.dialect.decode(valueOf(call, shape))
  const at: Target = { ...target, model: route.model }
  const { path, headers, body: bytes } = dialect.encode(request, at)
  const salted = isSalted(call.model, provider, call.operation)
  const body = new Sensitive(salted ? withSalt(bytes, call.tenant.salt) : bytes)
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

function retelling(
  { call, shape, route, provider, maxBytes, target }: TranslateInput,
  tell: Telling,
): Translation {
  const { request, answer } = tell(valueOf(call, shape), { ...target, model: route.model })
  const { path, headers, body: bytes } = request
  const body = new Sensitive(bytes)
  return {
    path,
    headers,
    body,
    sink: (session) =>
      new WholeRelay({
        response: call.response,
        maxBytes,
        decode: answer,
        dialect: dialectOf(provider),
        ...hooks(call, route, { session, hash: () => bodyHash(body) }),
      }),
  }
}

/** What the gateway consumes itself never reaches a provider, in whatever dialect, and neither do a client's names. */
const valueOf = ({ prompt, tenant }: PromptCall, shape: Shape): JsonValue =>
  readable(prompt, shape, (bytes, members) => tenant.edits(bytes, members, false))

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
