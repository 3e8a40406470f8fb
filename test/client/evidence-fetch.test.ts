import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  attestedFetch,
  configuredFetch,
  webFetch,
  type EvidenceFetch,
} from '../../client/evidence-fetch.ts'
import { fakeClock } from '../support/clock.ts'
import { newTlsIdentity } from '../support/pki.ts'
import { listen, portOf, stop } from '../support/ports.ts'

const clock = fakeClock()

const { key, cert, spkiSha256 } = newTlsIdentity()
let answer: (request: IncomingMessage, response: ServerResponse) => void
let origin: string
let close: () => Promise<void>
beforeEach(async () => {
  answer = (_, response) => response.end('{"a":1}')
  const server = createTlsServer({ key, cert }, (request, response) => answer(request, response))
  await listen(server)
  origin = `https://127.0.0.1:${portOf(server)}`
  close = () => {
    server.closeAllConnections()
    return stop(server)
  }
})
afterEach(() => close())

const unavailable = (code: string) => expect.objectContaining({ code, kind: 'unavailable' })
const ask = (fetch: EvidenceFetch, maxBytes = 100) => fetch({ origin, path: '/x?y=1', maxBytes })

describe('from an origin that attests its key', () => {
  test('the document comes with the key of its own connection', async () => {
    const { body, spkiSha256: seen } = await ask(attestedFetch(5000, clock))
    expect(new TextDecoder().decode(body)).toBe('{"a":1}')
    expect(Buffer.from(seen ?? []).toString('hex')).toBe(spkiSha256)
  })

  test('a request with a body is a POST with its headers', async () => {
    const seen: unknown[] = []
    answer = (request, response) => {
      seen.push(request.method, request.url, request.headers['content-type'])
      response.end('ok')
    }
    const body = new TextEncoder().encode('{}')
    const headers = { 'content-type': 'application/json' }
    await attestedFetch(5000, clock)({ origin, path: '/p', headers, body, maxBytes: 10 })
    expect(seen).toEqual(['POST', '/p', 'application/json'])
  })

  test.each([
    ['404', 404, 'report_unavailable'],
    ['a redirect', 302, 'report_unavailable'],
    ['204', 204, 'report_unavailable'],
    ['500', 500, 'report_unavailable'],
    ['429', 429, 'report_rate_limited'],
  ])('%s is no document', async (_, status, code) => {
    answer = (_request, response) =>
      response.writeHead(status, { location: '/elsewhere', 'retry-after': '7' }).end()
    await expect(ask(attestedFetch(5000, clock))).rejects.toMatchObject(unavailable(code))
    await expect(ask(attestedFetch(5000, clock))).rejects.toMatchObject({ retryAfterSeconds: 7 })
  })

  test('a document over the limit is not read', async () => {
    answer = (_, response) => response.end('x'.repeat(101))
    await expect(ask(attestedFetch(5000, clock))).rejects.toMatchObject({
      code: 'report_too_large',
      kind: 'malformed',
    })
  })

  test('silence ends', async () => {
    answer = () => undefined
    await expect(ask(attestedFetch(100, clock))).rejects.toMatchObject(
      unavailable('channel_timeout'),
    )
  })

  test('an answer that breaks off is none', async () => {
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('half')
      setTimeout(() => response.destroy(), 20)
    }
    await expect(ask(attestedFetch(5000, clock))).rejects.toMatchObject(
      unavailable('report_unavailable'),
    )
  })

  test.each(['http://a.example', 'https://a.example/', 'https://a.example/x', 'a'])(
    '%s is no origin',
    async (bad) => {
      const request = { origin: bad, path: '/', maxBytes: 1 }
      await expect(attestedFetch(5000, clock)(request)).rejects.toThrow(TypeError)
      await expect(webFetch(5000, clock)(request)).rejects.toThrow(TypeError)
    },
  )
})

describe('from everybody else', () => {
  test('a certificate that nobody vouches for is refused', async () => {
    await expect(ask(webFetch(5000, clock))).rejects.toMatchObject(
      unavailable('report_unavailable'),
    )
  })

  test('plain http is not spoken', async () => {
    const server = createServer((_, response) => response.end('x'))
    await listen(server)
    const plain = `http://127.0.0.1:${portOf(server)}`
    await expect(webFetch(5000, clock)({ origin: plain, path: '/', maxBytes: 9 })).rejects.toThrow(
      TypeError,
    )
    await stop(server)
  })
})

describe('from a service that the configuration names', () => {
  test('plain http is spoken where it does not leave the machine, and nowhere else', async () => {
    const server = createServer((_, response) => response.end('x'))
    await listen(server)
    const from = (host: string) =>
      configuredFetch(5000, clock)({ origin: `${host}:${portOf(server)}`, path: '/', maxBytes: 9 })
    expect(await from('http://127.0.0.1')).toMatchObject({ spkiSha256: null })
    await expect(from('http://127.0.0.2')).rejects.toThrow(TypeError)
    await expect(from('http://service.example')).rejects.toThrow(TypeError)
    await expect(from('http://user@127.0.0.1')).rejects.toThrow(TypeError)
    await stop(server)
  })

  test('a certificate that nobody vouches for is refused', async () => {
    await expect(ask(configuredFetch(5000, clock))).rejects.toMatchObject(
      unavailable('report_unavailable'),
    )
  })
})
