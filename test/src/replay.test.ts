import { createServer, type Server } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import { stringify } from 'yaml'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CanonicalAnswer, CanonicalEvent } from '../../src/dialects/canonical.ts'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import { bedrock } from '../../src/dialects/bedrock/dialect.ts'
import { cohere } from '../../src/dialects/cohere/dialect.ts'
import { ProviderError, type ProviderDialect } from '../../src/dialects/dialect.ts'
import { gemini } from '../../src/dialects/gemini/dialect.ts'
import { GatewayError } from '../../src/errors.ts'
import { OpenAiChatProvider } from '../../src/dialects/openai-chat/provider.ts'
import { SseParser } from '../../src/dialects/sse.ts'
import { schemaOfEvent, violations } from '../dialects/openapi.ts'
import {
  has,
  items,
  number,
  parse,
  pick,
  recordings,
  text,
  type Recording,
} from '../dialects/recordings.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { hasVectors } from '../support/vectors.ts'
import { KEY, startWorld, type Answer, type World } from './harness.ts'

/** What a client has of an answer, whatever it speaks. */
interface Heard {
  readonly text: string
  readonly calls: readonly { readonly name: string; readonly input: unknown }[]
  readonly prompt: number
  readonly completion: number
  readonly ended: boolean
}

interface Client {
  readonly route: string
  readonly body: (model: string, stream: boolean) => object
  readonly whole: (value: unknown) => Heard
  readonly stream: (events: readonly { event: string; data: string }[]) => Heard
}

const inputOf = (raw: string): unknown => {
  try {
    return JSON.parse(raw === '' ? '{}' : raw)
  } catch {
    return raw
  }
}
const tool = { name: 'f', description: 'd', parameters: { type: 'object', properties: {} } }

const chat: Client = {
  route: '/v1/chat/completions',
  body: (model, stream) => ({
    model,
    stream,
    messages: [{ role: 'user', content: 'hello' }],
    tools: [{ type: 'function', function: tool }],
    ...(stream ? { stream_options: { include_usage: true } } : {}),
  }),
  whole: (value) => ({
    text: text(value, 'choices', 0, 'message', 'content'),
    calls: items(value, 'choices', 0, 'message', 'tool_calls').map((call) => ({
      name: text(call, 'function', 'name'),
      input: inputOf(text(call, 'function', 'arguments')),
    })),
    prompt: number(value, 'usage', 'prompt_tokens'),
    completion: number(value, 'usage', 'completion_tokens'),
    ended: true,
  }),
  stream: (events) => {
    const chunks = events.filter(({ data }) => data !== '[DONE]').map(({ data }) => parse(data))
    const first = chunks.flatMap((chunk) =>
      items(chunk, 'choices').filter((choice) => number(choice, 'index') === 0),
    )
    const calls = new Map<number, { name: string; raw: string }>()
    for (const choice of first) {
      for (const call of items(choice, 'delta', 'tool_calls')) {
        const at = number(call, 'index')
        const known = calls.get(at) ?? { name: '', raw: '' }
        calls.set(at, {
          name: known.name + text(call, 'function', 'name'),
          raw: known.raw + text(call, 'function', 'arguments'),
        })
      }
    }
    const usage = chunks.findLast((chunk) => has(chunk, 'usage'))
    return {
      text: first.map((choice) => text(choice, 'delta', 'content')).join(''),
      calls: [...calls.values()].map(({ name, raw }) => ({ name, input: inputOf(raw) })),
      prompt: number(usage, 'usage', 'prompt_tokens'),
      completion: number(usage, 'usage', 'completion_tokens'),
      ended: events.at(-1)?.data === '[DONE]',
    }
  },
}

const responsesOf = (value: unknown): Heard => ({
  text: items(value, 'output')
    .filter((item) => text(item, 'type') === 'message')
    .flatMap((item) => items(item, 'content'))
    .map((part) => text(part, 'text'))
    .join(''),
  calls: items(value, 'output')
    .filter((item) => text(item, 'type') === 'function_call')
    .map((item) => ({ name: text(item, 'name'), input: inputOf(text(item, 'arguments')) })),
  prompt: number(value, 'usage', 'input_tokens'),
  completion: number(value, 'usage', 'output_tokens'),
  ended: ['completed', 'incomplete'].includes(text(value, 'status')),
})

const responses: Client = {
  route: '/v1/responses',
  body: (model, stream) => ({
    model,
    stream,
    input: 'hello',
    tools: [{ type: 'function', ...tool }],
  }),
  whole: responsesOf,
  stream: (events) => {
    const last = events.at(-1)
    return responsesOf(last === undefined ? null : pick(parse(last.data), 'response'))
  },
}

const messages: Client = {
  route: '/v1/messages',
  body: (model, stream) => ({
    model,
    stream,
    max_tokens: 100,
    messages: [{ role: 'user', content: 'hello' }],
    tools: [{ name: 'f', description: 'd', input_schema: tool.parameters }],
  }),
  whole: (value) => ({
    text: items(value, 'content')
      .filter((block) => text(block, 'type') === 'text')
      .map((block) => text(block, 'text'))
      .join(''),
    calls: items(value, 'content')
      .filter((block) => text(block, 'type') === 'tool_use')
      .map((block) => ({ name: text(block, 'name'), input: pick(block, 'input') })),
    prompt: anthropicPrompt(pick(value, 'usage')),
    completion: number(value, 'usage', 'output_tokens'),
    ended: has(value, 'stop_reason'),
  }),
  stream: (events) => {
    const values = events.map(({ data }) => parse(data))
    const of = (type: string) => values.filter((value) => text(value, 'type') === type)
    const started = of('content_block_start')
    const deltas = of('content_block_delta')
    const calls = started
      .filter((value) => text(value, 'content_block', 'type') === 'tool_use')
      .map((value) => ({
        name: text(value, 'content_block', 'name'),
        input: inputOf(
          deltas
            .filter((delta) => number(delta, 'index') === number(value, 'index'))
            .map((delta) => text(delta, 'delta', 'partial_json'))
            .join(''),
        ),
      }))
    const usage = of('message_delta').at(-1)
    return {
      text: deltas.map((delta) => text(delta, 'delta', 'text')).join(''),
      calls,
      prompt: anthropicPrompt(pick(usage, 'usage')),
      completion: number(usage, 'usage', 'output_tokens'),
      ended: of('message_stop').length === 1,
    }
  },
}

const anthropicPrompt = (usage: unknown): number =>
  number(usage, 'input_tokens') +
  number(usage, 'cache_read_input_tokens') +
  number(usage, 'cache_creation_input_tokens')

const CLIENTS = { chat, responses, messages } as const

interface Upstream {
  readonly folder: string
  readonly part: string
  readonly kind: 'openai' | 'anthropic' | 'gemini' | 'bedrock' | 'cohere'
  readonly variant?: string
  readonly dialect: ProviderDialect
  readonly extra?: object
}

const compatible = (folder: string, variant: Parameters<typeof make>[0]): Upstream => ({
  folder,
  part: '/chat/completions',
  kind: 'openai',
  variant,
  dialect: make(variant),
})
const make = (variant: ConstructorParameters<typeof OpenAiChatProvider>[0]) =>
  new OpenAiChatProvider(variant)

const UPSTREAMS: readonly Upstream[] = [
  compatible('openai-chat', 'openai'),
  compatible('azure-openai', 'azure'),
  compatible('groq', 'groq'),
  compatible('deepseek', 'deepseek'),
  compatible('mistral', 'mistral'),
  compatible('openrouter', 'openrouter'),
  compatible('cerebras', 'cerebras'),
  compatible('zai', 'generic'),
  compatible('ollama', 'ollama'),
  compatible('huggingface-tgi', 'tgi'),
  { folder: 'anthropic', part: '/v1/messages', kind: 'anthropic', dialect: anthropic },
  { folder: 'gemini', part: 'enerateContent', kind: 'gemini', dialect: gemini },
  {
    folder: 'bedrock',
    part: '/converse',
    kind: 'bedrock',
    dialect: bedrock,
    extra: { region: 'us-east-1' },
  },
  { folder: 'cohere', part: '/v2/chat', kind: 'cohere', dialect: cohere },
]

const TYPES = {
  json: 'application/json',
  sse: 'text/event-stream',
  eventstream: 'application/vnd.amazon.eventstream',
} as const

let current: Recording
let server: Server
let world: World

beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      response.writeHead(current.status, { 'content-type': TYPES[current.kind] })
      response.end(current.body)
    })
  })
  await listen(server)
  const base = `http://127.0.0.1:${portOf(server)}`
  world = await startWorld({
    extra: {
      providers: UPSTREAMS.map(({ folder, kind, variant, extra }) => ({
        id: folder,
        kind,
        base_url: `${base}/${folder}`,
        api_key: { env: 'UPSTREAM_KEY' },
        ...(variant === undefined ? {} : { variant }),
        ...extra,
      })),
      models: UPSTREAMS.map(({ folder }) => ({
        name: folder,
        confidentiality: 'plain',
        routes: [{ provider: folder, model: 'model-at-provider' }],
      })),
    },
  })
}, 60_000)
afterAll(async () => {
  await world.close()
  await stop(server)
})

const target = { model: 'm', random: (length: number) => new Uint8Array(length), now: () => 0 }

/** What the provider said, read by its dialect alone: the tests of the dialects hold that to the raw bytes. */
function said({ dialect }: Upstream, { kind, body }: Recording): Heard | null {
  try {
    if (kind === 'json') return heardAnswer(dialect.decode(body, target))
    const decoder = dialect.stream(target)
    return heardEvents([...decoder.push(body), ...decoder.end()])
  } catch (error) {
    if (error instanceof ProviderError || error instanceof GatewayError) return null
    throw error
  }
}

const usageOf = (usage: CanonicalAnswer['usage']) => ({
  prompt: usage === null ? 0 : usage.uncachedInput + usage.cacheRead + usage.cacheWrite,
  completion: usage === null ? 0 : usage.output + usage.reasoning,
})

/** Null where the provider says that it went wrong, which no client may take for an answer. */
function heardAnswer({ choices, usage }: CanonicalAnswer): Heard | null {
  if (choices.some(({ finish }) => finish === 'error')) return null
  const parts = choices[0]?.parts ?? []
  return {
    text: parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join(''),
    calls: parts.flatMap((part) =>
      part.type === 'tool_call' ? [{ name: part.name, input: inputOf(part.arguments) }] : [],
    ),
    ...usageOf(usage),
    ended: true,
  }
}

function heardEvents(events: readonly CanonicalEvent[]): Heard | null {
  const failed = events.some(
    (event) => event.type === 'failure' || (event.type === 'finish' && event.reason === 'error'),
  )
  if (failed) return null
  const calls = new Map<number, { name: string; raw: string }>()
  let words = ''
  let usage: CanonicalAnswer['usage'] = null
  for (const event of events) {
    if (event.type === 'text' && event.choice === 0) words += event.text
    if (event.type === 'usage') usage = event.usage
    if (event.type === 'tool_call' && event.choice === 0) {
      calls.set(event.call, { name: event.name, raw: '' })
    }
    if (event.type === 'tool_arguments' && event.choice === 0) {
      const call = calls.get(event.call)
      if (call !== undefined) call.raw += event.text
    }
  }
  return {
    text: words,
    calls: [...calls.values()].map(({ name, raw }) => ({ name, input: inputOf(raw) })),
    ...usageOf(usage),
    ended: true,
  }
}

function heard(client: Client, answer: Answer, stream: boolean): Heard {
  if (!stream) return client.whole(parse(answer.text))
  const parser = new SseParser()
  return client.stream([...parser.push(answer.bytes), ...parser.end()])
}

/** What OpenAI's description does not allow of what is written in its dialects. */
function described({ route }: Client, answer: Answer, stream: boolean): string[] {
  if (route === messages.route) return []
  const isChat = route === chat.route
  if (!stream) {
    return violations(isChat ? 'CreateChatCompletionResponse' : 'Response', parse(answer.text))
  }
  const parser = new SseParser()
  const events = [...parser.push(answer.bytes), ...parser.end()]
  const values = events.filter(({ data }) => data !== '[DONE]').map(({ data }) => parse(data))
  const schema = (value: unknown) =>
    isChat ? 'CreateChatCompletionStreamResponse' : schemaOfEvent(text(value, 'type'))
  return values.flatMap((value) => violations(schema(value), value))
}

const counts = new Map<string, number>()
const count = ({ folder }: Upstream, name: string): void => {
  counts.set(`${folder} ${name}`, (counts.get(`${folder} ${name}`) ?? 0) + 1)
}

/** Byte for byte; a stream up to the event that ends it, or with an error where it has none. */
function passedOn({ kind, body }: Recording, answer: Answer): string {
  const raw = body.toString()
  const complete = kind === 'json' || raw.includes('data: [DONE]')
  const [heardRaw = ''] = complete
    ? [answer.text.trimEnd()]
    : answer.text.split('\n\ndata: {"error"')
  if (answer.status !== 200) return `status ${answer.status}`
  if (!raw.startsWith(heardRaw)) return 'other bytes'
  return answer.text.includes('[DONE]') === (kind === 'sse' && complete) ? 'as said' : 'another end'
}

function converted(
  client: Client,
  answer: Answer,
  stream: boolean,
  expected: Heard | null,
): string {
  if (expected === null) {
    const failed = /"error"|response\.failed/.test(answer.text) && !answer.text.includes('[DONE]')
    return failed ? 'as said' : 'a failure passed for an answer'
  }
  if (answer.status !== 200) return `status ${answer.status}`
  const wrong = described(client, answer, stream)
  if (wrong.length > 0) return wrong.join(', ')
  const got = JSON.stringify(heard(client, answer, stream))
  return isDeepStrictEqual(JSON.parse(got), JSON.parse(JSON.stringify(expected)))
    ? 'as said'
    : `${got} in place of ${JSON.stringify(expected)}`
}

describe.runIf(hasVectors).each(UPSTREAMS)('what $folder said', (upstream) => {
  const recorded = recordings(upstream.folder, upstream.part).filter(
    ({ status, url }) => status === 200 && !url.includes('count_tokens'),
  )

  test.each(Object.entries(CLIENTS))('is heard by a client of %s', async (name, client) => {
    expect(recorded.length).toBeGreaterThan(0)
    for (const recording of recorded) {
      current = recording
      const stream = recording.kind !== 'json'
      const answer = await world.call(client.route, {
        method: 'POST',
        key: KEY,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(client.body(upstream.folder, stream)),
      })
      const passes = name === 'chat' && upstream.kind === 'openai' && upstream.variant !== 'mistral'
      const outcome = passes
        ? passedOn(recording, answer)
        : converted(client, answer, stream, said(upstream, recording))
      expect(outcome, `${recording.name}: ${answer.text.slice(0, 300)}`).toBe('as said')
      count(upstream, name)
    }
  })
})

test.runIf(hasVectors)('the matrix is whole', () => {
  const rows = UPSTREAMS.map(({ folder }) =>
    [folder, ...Object.keys(CLIENTS).map((name) => counts.get(`${folder} ${name}`) ?? 0)].join(' '),
  )
  process.stdout.write(stringify({ 'replayed (chat responses messages)': rows }))
  expect(rows.every((row) => !/ 0(?: |$)/.test(row))).toBe(true)
})
