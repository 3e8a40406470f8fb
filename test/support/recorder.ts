import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'

interface Recorded {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** An HTTP server that remembers what it was asked and answers what it is told to. */
export interface Recorder {
  readonly url: string
  readonly requests: Recorded[]
  answer: { status: number; type: string; body: string | Buffer }
  close(): Promise<void>
}

export async function startRecorder(): Promise<Recorder> {
  const requests: Recorded[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts)
      requests.push({ path: request.url ?? '', headers: request.headers, body })
      const { status, type, body: answer } = recorder.answer
      response.writeHead(status, { 'content-type': type }).end(answer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('not listening')
  const recorder: Recorder = {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    answer: { status: 200, type: 'application/json', body: '{}' },
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return recorder
}
