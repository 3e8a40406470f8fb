import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createServer, type TLSSocket } from 'node:tls'
import { Pool } from 'undici'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { openTls, pinnedConnector, type PinOptions } from '../../client/pinned.ts'
import { startBalancer } from '../support/balancer.ts'
import { newTlsIdentity, type TlsIdentity } from '../support/pki.ts'
import { listen, portOf, stop } from '../support/ports.ts'

const CANARY = 'canary-prompt-77aa'
const cleanups: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function serve(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket.on('error', () => socket.destroy()))
  })
  await listen(server)
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    return stop(server)
  })
  return portOf(server)
}

interface Peer {
  readonly port: number
  readonly identity: TlsIdentity
  readonly received: () => string
  readonly sockets: TLSSocket[]
}

async function tlsPeer(maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3'): Promise<Peer> {
  const identity = newTlsIdentity()
  const { key, cert } = identity
  const sockets: TLSSocket[] = []
  let received = ''
  const server = createServer({ key, cert, maxVersion }, (socket) => {
    sockets.push(socket)
    socket.on('error', () => socket.destroy())
    socket.on('data', (data: Buffer) => {
      received += data.toString('latin1')
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
    })
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return { port: await serve(server), identity, received: () => received, sockets }
}

const digestOf = (identity: TlsIdentity): Buffer => Buffer.from(identity.spkiSha256, 'hex')

async function post(origin: string, spki: Uint8Array, timeoutMs = 5000): Promise<number> {
  const pool = new Pool(origin, { connect: pinnedConnector(spki, { timeoutMs }), allowH2: false })
  cleanups.push(() => pool.destroy())
  const { statusCode, body } = await pool.request({ method: 'POST', path: '/v1', body: CANARY })
  await body.dump()
  return statusCode
}

test('a request reaches the key that was pinned', async () => {
  const { port, identity, received } = await tlsPeer()
  expect(await post(`https://127.0.0.1:${port}`, digestOf(identity))).toBe(200)
  expect(received()).toContain(CANARY)
})

test('not one application byte reaches another key', async () => {
  const { port, received, sockets } = await tlsPeer()
  const other = digestOf(newTlsIdentity())
  await expect(post(`https://127.0.0.1:${port}`, other)).rejects.toMatchObject({
    name: 'ChannelError',
    code: 'channel_key_mismatch',
  })
  expect(received()).toBe('')
  expect(sockets.map(({ bytesRead }) => bytesRead)).toEqual(sockets.map(() => 0))
  // No connection is left open behind the refusal: one would stand by now.
  await delay(200)
  expect(sockets.filter(({ destroyed }) => !destroyed)).toHaveLength(0)
})

test('changing the digest after the connector was made changes nothing', async () => {
  const { port, identity } = await tlsPeer()
  const digest = digestOf(newTlsIdentity())
  const pool = new Pool(`https://127.0.0.1:${port}`, { connect: pinnedConnector(digest) })
  cleanups.push(() => pool.destroy())
  digest.set(digestOf(identity))
  const request = pool.request({ method: 'GET', path: '/' })
  await expect(request).rejects.toMatchObject({ code: 'channel_key_mismatch' })
})

test('a service without TLS 1.3 is refused', async () => {
  const { port, identity } = await tlsPeer('TLSv1.2')
  const request = post(`https://127.0.0.1:${port}`, digestOf(identity))
  await expect(request).rejects.toMatchObject({ code: 'tls_too_old' })
})

test('a service without TLS and a closed port are unreachable', async () => {
  const plain = await serve(createTcpServer((socket) => socket.end('HTTP/1.1 400 no\r\n\r\n')))
  const digest = Buffer.alloc(32)
  await expect(post(`https://127.0.0.1:${plain}`, digest)).rejects.toMatchObject({
    code: 'channel_unreachable',
  })
  const closed = createTcpServer()
  await listen(closed)
  const port = portOf(closed)
  await stop(closed)
  await expect(post(`https://127.0.0.1:${port}`, digest)).rejects.toMatchObject({
    code: 'channel_unreachable',
  })
})

test('a peer that never finishes the handshake times out', async () => {
  const port = await serve(createTcpServer(() => undefined))
  const request = post(`https://127.0.0.1:${port}`, Buffer.alloc(32), 50)
  await expect(request).rejects.toMatchObject({ code: 'channel_timeout' })
})

test('the hybrid key exchange is used, and no server name is sent for an address', async () => {
  const { port, sockets } = await tlsPeer()
  const byAddress = await openTls({ hostname: '127.0.0.1', port }, 5000)
  const byName = await openTls({ hostname: 'localhost', port }, 5000)
  expect(byAddress.socket.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519MLKEM768' })
  expect(byAddress.socket.getProtocol()).toBe('TLSv1.3')
  expect(byAddress.socket.alpnProtocol).toBe(false)
  await vi.waitFor(() => {
    expect(sockets.map(({ servername }) => servername)).toEqual([false, 'localhost'])
  })
  byAddress.socket.destroy()
  byName.socket.destroy()
})

test('a digest of the wrong size and a channel without TLS are mistakes of the caller', async () => {
  expect(() => pinnedConnector(Buffer.alloc(31))).toThrow(TypeError)
  await expect(post('http://127.0.0.1:1', Buffer.alloc(32))).rejects.toThrow(TypeError)
})

describe('where a balancer may lead to other keys', () => {
  /** Leads to each of `peers` in turn. */
  async function inTurn(peers: readonly Peer[]): Promise<{ origin: string; opened: () => number }> {
    const balancer = await startBalancer(peers.map(({ port }) => `https://127.0.0.1:${port}`))
    cleanups.push(() => balancer.close())
    return { origin: balancer.origin, opened: () => balancer.connections() }
  }
  const pinnedPost = async (origin: string, options: PinOptions, identity: TlsIdentity) => {
    const connect = pinnedConnector(digestOf(identity), { timeoutMs: 5000, ...options })
    const pool = new Pool(origin, { connect, allowH2: false })
    cleanups.push(() => pool.destroy())
    const { statusCode, body } = await pool.request({ method: 'POST', path: '/v1', body: CANARY })
    await body.dump()
    return statusCode
  }

  test('the pinned key is looked for, and the others see nothing', async () => {
    const [one, two, wanted] = [await tlsPeer(), await tlsPeer(), await tlsPeer()]
    const { origin, opened } = await inTurn([one, two, wanted])
    expect(await pinnedPost(origin, { attempts: 3 }, wanted.identity)).toBe(200)
    expect(opened()).toBe(3)
    expect([one.received(), two.received()]).toEqual(['', ''])
  })

  test.each([[1], [2]])('no more than %s time(s)', async (attempts) => {
    const [one, two, wanted] = [await tlsPeer(), await tlsPeer(), await tlsPeer()]
    const { origin, opened } = await inTurn([one, two, wanted])
    const sent = pinnedPost(origin, { attempts }, wanted.identity)
    await expect(sent).rejects.toMatchObject({ code: 'channel_key_mismatch' })
    expect(opened()).toBe(attempts)
  })

  test('within one time limit for all attempts together', async () => {
    const silent = await serve(createTcpServer())
    const [other, wanted] = [await tlsPeer(), await tlsPeer()]
    const { origin } = await inTurn([other, { ...other, port: silent }, wanted])
    const sent = pinnedPost(origin, { attempts: 3, timeoutMs: 300 }, wanted.identity)
    await expect(sent).rejects.toMatchObject({ code: 'channel_timeout' })
  })
})
