import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Bytes, Clock } from '@vouchgate/attestation'
import { concat } from './der.ts'

/** A request as it arrived. */
export interface RecordedRequest {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Bytes
}

/** An answer sent in place of a completion, whatever was asked. */
interface FixedAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string
}

/** How the completion route behaves; a test changes it while the server runs. */
export interface ChatBehaviour {
  answer: FixedAnswer | null
  /** Wait before the first byte of the response. */
  delayMs: number
  /** Wait before each event of a stream. */
  chunkDelayMs: number
  /** Break the connection after so many events of a stream, or in the middle of a JSON body. */
  cutAfterChunks: number | null
  /** Read the request and never answer. */
  hang: boolean
  /** Keep the requests; the benchmark turns it off. */
  record: boolean
}

export interface OpenAiService {
  readonly chat: ChatBehaviour
  readonly requests: RecordedRequest[]
  /** Responses that the peer gave up before their end. */
  readonly aborted: () => number
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>
}

export interface OpenAiServiceOptions {
  readonly clock: Clock
  readonly models: readonly string[]
  /** Sees a request first; true when it answered. */
  readonly intercept?: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>
}

interface ChatRequest {
  readonly model: string
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly prompt: string
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

function contentText(content: unknown): string {
  if (!Array.isArray(content)) return text(content)
  return content.map((part) => (isRecord(part) ? text(part['text']) : '')).join('')
}

function readChatRequest(body: Uint8Array): ChatRequest | null {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(body).toString())
  } catch {
    return null
  }
  if (!isRecord(value) || !Array.isArray(value['messages'])) return null
  const last: unknown = value['messages'].at(-1)
  const options = value['stream_options']
  return {
    model: text(value['model']),
    stream: value['stream'] === true,
    includeUsage: isRecord(options) && options['include_usage'] === true,
    prompt: isRecord(last) ? contentText(last['content']) : '',
  }
}

/** A completion that repeats the prompt, so that a canary can be followed through every hop. */
const echo = (prompt: string): string => `You said: ${prompt}`
const words = (sentence: string): string[] => sentence.match(/\S+\s*/g) ?? []

function usageOf(prompt: string) {
  const prompt_tokens = words(prompt).length
  const completion_tokens = words(echo(prompt)).length
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

const JSON_TYPE = { 'content-type': 'application/json' } as const

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value)
  response.writeHead(status, { ...JSON_TYPE, 'content-length': Buffer.byteLength(body) }).end(body)
}

/** An error in the OpenAI shape. */
export function sendError(
  response: ServerResponse,
  status: number,
  type: string,
  message: string,
): void {
  sendJson(response, status, { error: { message, type, param: null, code: null } })
}

/** By events: as the upstream of a benchmark, this server must not be what is measured. */
function readBody(request: IncomingMessage): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => resolve(concat(...parts)))
    request.on('error', reject)
  })
}

/** The OpenAI routes of a model server: chat completions, whole and streamed, and the list of models. */
export function openAiService(options: OpenAiServiceOptions): OpenAiService {
  const chat: ChatBehaviour = {
    answer: null,
    delayMs: 0,
    chunkDelayMs: 0,
    cutAfterChunks: null,
    hang: false,
    record: true,
  }
  const requests: RecordedRequest[] = []
  let aborted = 0
  let served = 0
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '', headers } = request
    response.once('close', () => {
      if (!response.writableFinished) aborted += 1
    })
    const body = await readBody(request)
    if (chat.record) requests.push({ method, path: url, headers, body })
    if (await options.intercept?.(request, response)) return
    if (method === 'GET' && url === '/v1/models') {
      const data = options.models.map((id) => ({
        id,
        object: 'model',
        created: 0,
        owned_by: 'test',
      }))
      return sendJson(response, 200, { object: 'list', data })
    }
    if (method !== 'POST' || url !== '/v1/chat/completions') {
      return sendError(response, 404, 'not_found', 'no such route')
    }
    served += 1
    const head = { id: `chatcmpl-${served}`, created: options.clock.now() }
    await complete(body, response, chat, head)
  }
  return { chat, requests, aborted: () => aborted, handle }
}

interface Head {
  readonly id: string
  readonly created: number
}

async function complete(
  body: Bytes,
  response: ServerResponse,
  chat: ChatBehaviour,
  head: Head,
): Promise<void> {
  if (chat.hang) return
  if (chat.delayMs > 0) await delay(chat.delayMs)
  if (chat.answer !== null) {
    const { status, headers = JSON_TYPE, body: fixed } = chat.answer
    response.writeHead(status, headers).end(fixed)
    return
  }
  const asked = readChatRequest(body)
  if (asked === null) {
    sendError(response, 400, 'invalid_request_error', 'not a chat completion request')
  } else if (asked.stream) {
    await stream(asked, response, chat, head)
  } else {
    whole(asked, response, chat, head)
  }
}

function whole(
  asked: ChatRequest,
  response: ServerResponse,
  chat: ChatBehaviour,
  head: Head,
): void {
  const { model, prompt } = asked
  const message = { role: 'assistant', content: echo(prompt) }
  const completion = {
    ...head,
    object: 'chat.completion',
    model,
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage: usageOf(prompt),
  }
  if (chat.cutAfterChunks === null) return sendJson(response, 200, completion)
  const json = JSON.stringify(completion)
  response.writeHead(200, { ...JSON_TYPE, 'content-length': Buffer.byteLength(json) })
  response.write(json.slice(0, json.length / 2), () => response.destroy())
}

/** The events of a stream: the role, one per word, the end, and the usage where it was asked for. */
function events(asked: ChatRequest, head: Head): string[] {
  const { model, prompt, includeUsage } = asked
  const base = { ...head, object: 'chat.completion.chunk', model }
  const usage = includeUsage ? { usage: null } : {}
  const event = (delta: object, finish_reason: string | null) =>
    JSON.stringify({ ...base, choices: [{ index: 0, delta, finish_reason }], ...usage })
  return [
    event({ role: 'assistant', content: '' }, null),
    ...words(echo(prompt)).map((content) => event({ content }, null)),
    event({}, 'stop'),
    ...(includeUsage ? [JSON.stringify({ ...base, choices: [], usage: usageOf(prompt) })] : []),
    '[DONE]',
  ]
}

async function stream(
  asked: ChatRequest,
  response: ServerResponse,
  chat: ChatBehaviour,
  head: Head,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  for (const [index, data] of events(asked, head).entries()) {
    if (response.destroyed) return
    if (index === chat.cutAfterChunks) {
      // The peer must have what was sent so far: only then is it a cut and not a refusal.
      await delay(10)
      response.destroy()
      return
    }
    if (chat.chunkDelayMs > 0) await delay(chat.chunkDelayMs)
    response.write(`data: ${data}\n\n`)
  }
  response.end()
}
