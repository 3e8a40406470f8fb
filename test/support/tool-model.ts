import { createServer } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { listen, portOf, stop } from './ports.ts'

export interface ToolModel {
  readonly url: string
  readonly seen: {
    readonly path: string
    readonly headers: IncomingHttpHeaders
    readonly body: unknown
  }[]
  /** Answers with this instead, once. */
  next: { status: number; body: object } | null
  /** Requests that the peer gave up. */
  readonly aborted: () => number
  close(): Promise<void>
}

const at = (value: unknown, ...path: readonly (string | number)[]): unknown => {
  let found = value
  for (const step of path)
    found = typeof found === 'object' && found !== null ? Reflect.get(found, step) : undefined
  return found
}

/**
 * An ordinary OpenAI-compatible API: it calls the first tool it is given, twice in parallel; once it has results, or no
 * tools, it says how many messages it got; asked for JSON, it gives some; asked for a long answer, it never ends.
 */
export async function startToolModel(): Promise<ToolModel> {
  const seen: ToolModel['seen'] = []
  let aborted = 0
  const model: { next: ToolModel['next'] } = { next: null }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString() || '{}')
      seen.push({ path: request.url ?? '', headers: request.headers, body })
      response.on('close', () => {
        if (!response.writableEnded) aborted++
      })
      const { next } = model
      model.next = null
      if (next !== null) {
        response.writeHead(next.status, { 'content-type': 'application/json', 'retry-after': '1' })
        response.end(JSON.stringify(next.body))
        return
      }
      if (request.url?.endsWith('/embeddings') === true) {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(embedding(body)))
        return
      }
      const message = answerTo(body)
      if (at(body, 'stream') !== true) {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(completion(message)))
        return
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const chunk of chunksOf(message)) response.write(`data: ${JSON.stringify(chunk)}\n\n`)
      if (message.endless) return
      response.end('data: [DONE]\n\n')
    })
  })
  await listen(server)
  return {
    url: `http://127.0.0.1:${portOf(server)}/v1`,
    seen,
    aborted: () => aborted,
    get next() {
      return model.next
    },
    set next(value) {
      model.next = value
    },
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}

interface Message {
  readonly content: string | null
  readonly calls: readonly { readonly id: string; readonly name: string; readonly args: string }[]
  readonly endless: boolean
}

function answerTo(body: unknown): Message {
  const messages = at(body, 'messages')
  const list: unknown[] = Array.isArray(messages) ? messages : []
  const name = at(body, 'tools', 0, 'function', 'name')
  const hasResults = list.some((message) => at(message, 'role') === 'tool')
  if (typeof name === 'string' && !hasResults && at(body, 'tool_choice') !== 'none') {
    // Forced to call one, it gives the answer through it: so SDKs ask for JSON.
    if (!['undefined', 'string'].includes(typeof at(body, 'tool_choice')) || name === 'json') {
      const only = { id: 'call_0', name, args: '{"answer":42}' }
      return { content: null, calls: [only], endless: false }
    }
    const call = (city: string, index: number) => ({
      id: `call_${index}`,
      name,
      args: JSON.stringify({ city }),
    })
    return { content: null, calls: [call('Oslo', 0), call('Rome', 1)], endless: false }
  }
  if (at(body, 'response_format') !== undefined) {
    return { content: '{"answer":42}', calls: [], endless: false }
  }
  const last = JSON.stringify(list.at(-1) ?? '')
  if (last.includes('for ever')) return { content: 'and on', calls: [], endless: true }
  return { content: `got ${list.length} messages`, calls: [], endless: false }
}

const USAGE = {
  prompt_tokens: 20,
  completion_tokens: 10,
  total_tokens: 30,
  prompt_tokens_details: { cached_tokens: 5 },
  completion_tokens_details: { reasoning_tokens: 3 },
}
const base = { id: 'chatcmpl-tool-model', created: 1_750_000_000, model: 'tool-model' }

const completion = ({ content, calls }: Message) => ({
  ...base,
  object: 'chat.completion',
  choices: [
    {
      index: 0,
      message: {
        role: 'assistant',
        content,
        refusal: null,
        ...(calls.length === 0
          ? {}
          : {
              tool_calls: calls.map(({ id, name, args }) => ({
                id,
                type: 'function',
                function: { name, arguments: args },
              })),
            }),
      },
      logprobs: null,
      finish_reason: calls.length === 0 ? 'stop' : 'tool_calls',
    },
  ],
  usage: USAGE,
})

function chunksOf({ content, calls, endless }: Message): object[] {
  const chunk = (delta: object, finish_reason: string | null = null) => ({
    ...base,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  })
  const text = content === null ? [] : (content.match(/\S+\s*/g) ?? [])
  const pieces = [
    chunk({ role: 'assistant', content: content === null ? null : '' }),
    ...text.map((piece) => chunk({ content: piece })),
    ...calls.flatMap(({ id, name, args }, index) => [
      chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }),
      chunk({ tool_calls: [{ index, function: { arguments: args.slice(0, 4) } }] }),
      chunk({ tool_calls: [{ index, function: { arguments: args.slice(4) } }] }),
    ]),
  ]
  if (endless) return pieces
  const finish = calls.length === 0 ? 'stop' : 'tool_calls'
  return [
    ...pieces,
    chunk({}, finish),
    { ...base, object: 'chat.completion.chunk', choices: [], usage: USAGE },
  ]
}

const embedding = (body: unknown) => {
  const input = at(body, 'input')
  const count = Array.isArray(input) ? input.length : 1
  return {
    object: 'list',
    model: 'tool-model',
    data: Array.from({ length: count }, (_, index) => ({
      object: 'embedding',
      index,
      embedding: at(body, 'encoding_format') === 'base64' ? 'AACAPwAAAEA=' : [1, 2],
    })),
    usage: { prompt_tokens: 4, total_tokens: 4 },
  }
}
