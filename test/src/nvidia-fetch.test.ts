import { createServer, type RequestListener, type Server } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import { TimedCache } from '../../src/nvidia/cache.ts'
import { fetchNvidia } from '../../src/nvidia/fetch.ts'
import { fakeClock, TEST_TIME } from '../support/clock.ts'
import { listen, portOf, stop } from '../support/ports.ts'

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await stop(server)
  }
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await listen(server)
  return `http://127.0.0.1:${portOf(server)}/secret-path`
}

const LIMITS = { timeoutMs: 5000, maxBytes: 8, clock: fakeClock() }
const code = (name: string) => expect.objectContaining({ code: name, kind: 'unavailable' })

describe('one request to a service', () => {
  test('gives the bytes of the answer', async () => {
    const url = await serve((_, response) => response.end(Uint8Array.of(0, 255, 13, 10)))
    expect(await fetchNvidia({ url, ...LIMITS })).toEqual(Uint8Array.of(0, 255, 13, 10))
  })

  test('posts a body as it is', async () => {
    const url = await serve((request, response) => {
      const { method, headers } = request
      expect([method, headers['content-type']]).toEqual(['POST', 'application/ocsp-request'])
      request.pipe(response)
    })
    const headers = { 'content-type': 'application/ocsp-request' }
    const body = Uint8Array.of(1, 2, 255)
    expect(await fetchNvidia({ url, headers, body, ...LIMITS })).toEqual(body)
  })

  test('follows no redirect', async () => {
    let asked = 0
    const url = await serve((_, response) => {
      asked++
      response.writeHead(302, { location: '/elsewhere' }).end('x')
    })
    await expect(fetchNvidia({ url, ...LIMITS })).rejects.toEqual(code('nvidia_status'))
    expect(asked).toBe(1)
  })

  test.each([204, 400, 403, 500])('refuses status %i', async (status) => {
    const url = await serve((_, response) => response.writeHead(status).end())
    await expect(fetchNvidia({ url, ...LIMITS })).rejects.toEqual(code('nvidia_status'))
  })

  test('a status can have a meaning of its own', async () => {
    const url = await serve((_, response) => response.writeHead(404).end('x'))
    const fetched = fetchNvidia({ url, ...LIMITS, statuses: { 404: 'rim_not_found' } })
    await expect(fetched).rejects.toEqual(code('rim_not_found'))
  })

  test('says how long it asks to be left alone', async () => {
    const url = await serve((_, response) =>
      response
        .writeHead(429, { 'retry-after': new Date((TEST_TIME + 7) * 1000).toUTCString() })
        .end('x'),
    )
    const error = { code: 'nvidia_rate_limited', retryAfterSeconds: 7 }
    await expect(fetchNvidia({ url, ...LIMITS })).rejects.toMatchObject(error)
  })

  test('reads no further than the limit', async () => {
    const url = await serve((_, response) => response.end('123456789'))
    await expect(fetchNvidia({ url, ...LIMITS })).rejects.toEqual(code('nvidia_too_large'))
    expect(await fetchNvidia({ url, ...LIMITS, maxBytes: 9 })).toHaveLength(9)
  })

  test('waits no longer than the limit, for the head or for the body', async () => {
    const mute = await serve(() => undefined)
    await expect(fetchNvidia({ url: mute, ...LIMITS, timeoutMs: 50 })).rejects.toEqual(
      code('nvidia_timeout'),
    )
    const slow = await serve((_, response) => response.writeHead(200).write('1'))
    await expect(fetchNvidia({ url: slow, ...LIMITS, timeoutMs: 50 })).rejects.toEqual(
      code('nvidia_timeout'),
    )
  })

  test('a service that is not there, and a broken answer', async () => {
    const url = await serve((_, response) => response.socket?.destroy())
    await expect(fetchNvidia({ url, ...LIMITS })).rejects.toEqual(code('nvidia_unreachable'))
    const [server] = servers.splice(0)
    if (server !== undefined) await stop(server)
    const error: unknown = await fetchNvidia({ url, ...LIMITS }).catch((thrown: unknown) => thrown)
    expect(error).toEqual(code('nvidia_unreachable'))
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('secret-path')
  })
})

describe('what is held', () => {
  const counted = () => {
    let loads = 0
    return {
      count: () => loads,
      load: (expiresAt: number) => async () => ({ value: ++loads, expiresAt }),
    }
  }

  test('is given out until it expires', async () => {
    const clock = fakeClock(1000)
    const cache = new TimedCache<number>(clock, 4)
    const { load } = counted()
    expect(await cache.get('a', load(1010))).toBe(1)
    clock.set(1009)
    expect(await cache.get('a', load(1020))).toBe(1)
    clock.set(1010)
    expect(await cache.get('a', load(1020))).toBe(2)
  })

  test('is fetched once for callers at the same time', async () => {
    const cache = new TimedCache<number>(fakeClock(1000), 4)
    const { load, count } = counted()
    const asked = ['a', 'a', 'b'].map((key) => cache.get(key, load(2000)))
    expect(await Promise.all(asked)).toEqual([1, 1, 2])
    expect(count()).toBe(2)
  })

  test('a failure is shared and not kept', async () => {
    const cache = new TimedCache<number>(fakeClock(1000), 4)
    let asked = 0
    const fail = async () => {
      asked++
      throw new TypeError('down')
    }
    const both = await Promise.allSettled([cache.get('a', fail), cache.get('a', fail)])
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(asked).toBe(1)
    expect(await cache.get('a', counted().load(2000))).toBe(1)
  })

  test('is bounded: the one used longest ago goes', async () => {
    const cache = new TimedCache<number>(fakeClock(1000), 2)
    const { load, count } = counted()
    await cache.get('a', load(2000))
    await cache.get('b', load(2000))
    await cache.get('a', load(2000))
    await cache.get('c', load(2000))
    expect(await cache.get('a', load(2000))).toBe(1)
    expect(await cache.get('b', load(2000))).toBe(4)
    expect(count()).toBe(4)
  })
})
