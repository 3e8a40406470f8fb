import {
  createServer,
  type IncomingHttpHeaders,
  type RequestListener,
  type Server,
} from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'
import { afterEach, describe, expect, test } from 'vitest'
import { ChannelError } from '../../client/errors.ts'
import { Sensitive } from '../../src/sensitive.ts'
import { send, SendError, type ResponseSink } from '../../src/upstream/send.ts'
import { listen, portOf, stop } from '../support/ports.ts'

const opened: { readonly server: Server; readonly pool: Pool }[] = []
afterEach(async () => {
  for (const { server, pool } of opened.splice(0)) {
    await pool.destroy()
    server.closeAllConnections()
    await stop(server)
  }
})

async function poolTo(answer: RequestListener, options: Pool.Options = {}): Promise<Pool> {
  const server = createServer(answer)
  await listen(server)
  const pool = new Pool(`http://127.0.0.1:${portOf(server)}`, { headersTimeout: 200, ...options })
  opened.push({ server, pool })
  return pool
}

function sinkOf(data: ResponseSink['data'] = () => true) {
  const seen: string[] = []
  const sink: ResponseSink = {
    sent: () => void seen.push('sent'),
    head: (status) => void seen.push(`head ${status}`),
    data: (chunk, resume) => {
      seen.push(`data ${chunk.toString()}`)
      return data(chunk, resume)
    },
  }
  return { sink, seen }
}

const outbound = (signal = new AbortController().signal) => ({
  message: { operation: '/x', body: new Sensitive(Buffer.from('{}')), stream: false, signal },
  path: '/x',
  apiKey: null,
  authorize: () => ({}),
})
const connectFailing = (
  code: 'channel_key_mismatch' | 'channel_timeout' | 'channel_unreachable',
) => ({
  connect: (_options: unknown, callback: (error: Error, socket: null) => void) =>
    callback(new ChannelError(code), null),
})

describe('a prompt for a provider', () => {
  test('asks for an answer in clear, and names no client', async () => {
    let headers: IncomingHttpHeaders = {}
    const pool = await poolTo((request, response) => {
      headers = request.headers
      response.end()
    })
    await send(pool, outbound(), sinkOf().sink)
    const { host: _host, connection: _connection, 'content-length': _length, ...rest } = headers
    expect(rest).toEqual({
      'content-type': 'application/json',
      accept: 'application/json',
      'accept-encoding': 'identity',
    })
  })

  test('is not written once nobody waits for it', async () => {
    let asked = 0
    const pool = await poolTo((_request, response) => {
      asked++
      response.end('late')
    })
    const { sink, seen } = sinkOf()
    const gone = send(pool, outbound(AbortSignal.abort()), sink)
    await expect(gone).rejects.toMatchObject({ failure: 'aborted' })
    expect([asked, seen]).toEqual([0, []])
  })

  test('is answered no faster than its reader takes it', async () => {
    const pool = await poolTo((_request, response) => {
      response.write('one')
      setTimeout(() => response.end('two'), 20)
    })
    const { promise: held, resolve } = Promise.withResolvers<() => void>()
    const { sink, seen } = sinkOf((chunk, resume) => {
      resolve(resume)
      return String(chunk) !== 'one'
    })
    const sending = send(pool, outbound(), sink)
    const resume = await held
    await delay(100)
    expect(seen).toEqual(['sent', 'head 200', 'data one'])
    resume()
    await sending
    expect(seen.at(-1)).toBe('data two')
  })

  test.each([
    ['identity', null],
    ['Identity', null],
    ['gzip', 'malformed'],
    ['', 'malformed'],
  ])('that is answered with the encoding %j', async (encoding, failure) => {
    const pool = await poolTo((_request, response) => {
      response.setHeader('content-encoding', encoding)
      response.end('{}')
    })
    const { sink, seen } = sinkOf()
    const ended = await send(pool, outbound(), sink).then(
      () => null,
      (error: unknown) => (error instanceof SendError ? error.failure : error),
    )
    expect(ended).toBe(failure)
    expect(seen.includes('head 200')).toBe(failure === null)
  })

  test('that is not answered in time is late', async () => {
    const pool = await poolTo(() => undefined)
    const { sink } = sinkOf()
    await expect(send(pool, outbound(), sink)).rejects.toMatchObject({ failure: 'timeout' })
  })

  test.each([
    ['channel_key_mismatch', 'key_mismatch'],
    ['channel_timeout', 'timeout'],
    ['channel_unreachable', 'unreachable'],
  ] as const)('on a connection that fails with %s: %s', async (code, failure) => {
    const pool = await poolTo(() => undefined, connectFailing(code))
    const { sink, seen } = sinkOf()
    await expect(send(pool, outbound(), sink)).rejects.toMatchObject({ failure })
    expect(seen).toEqual([])
  })

  test('whose answer stops halfway is broken, however it is waited for', async () => {
    const pool = await poolTo((_request, response) => {
      response.writeHead(200, { 'content-length': '9' }).write('one', () => response.destroy())
    })
    const { sink } = sinkOf()
    await expect(send(pool, outbound(), sink)).rejects.toMatchObject({ failure: 'broken' })
  })
})
