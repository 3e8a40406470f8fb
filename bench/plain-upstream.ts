import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** Events of a stream, beside its end. */
export const TOKENS = 50
/** Between the events of a stream, by the model that is asked. */
const GAPS_MS = { 'stream-model': 20, 'slow-model': 500 } as const
export const SLOW_TOKENS = 12

/** A whole answer of the usual size; made once, so that the upstream is not what is measured. */
export const ANSWER = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 0,
  model: 'test-model',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'word '.repeat(60) },
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 200, completion_tokens: 60, total_tokens: 260 },
})

const EVENT = `data: ${JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 0,
  model: 'test-model',
  choices: [{ index: 0, delta: { content: 'word ' }, finish_reason: null }],
})}\n\n`
const STREAM = Buffer.from('"stream":true')
const SLOW = Buffer.from('"slow-model"')

async function stream(response: ServerResponse, slow: boolean): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const gap = GAPS_MS[slow ? 'slow-model' : 'stream-model']
  for (let sent = 0; sent < (slow ? SLOW_TOKENS : TOKENS) && !response.destroyed; sent++) {
    if (sent > 0) await delay(gap)
    response.write(EVENT)
  }
  response.end('data: [DONE]\n\n')
}

/** An ordinary OpenAI API over HTTP that does next to nothing. */
export async function plainUpstream(): Promise<{ origin: string }> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts)
      if (body.includes(STREAM)) {
        void stream(response, body.includes(SLOW))
        return
      }
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(ANSWER),
      }
      response.writeHead(200, headers).end(ANSWER)
    })
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new TypeError('not listening')
  return { origin: `http://127.0.0.1:${address.port}` }
}
