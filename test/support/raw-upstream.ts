import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** What a connection does once it has read a request's head. */
export type Behaviour = (socket: Socket) => void | Promise<void>

/** A TCP server that writes whatever it likes in answer to a request. */
export interface RawUpstream {
  readonly url: string
  readonly requests: string[]
  behave: Behaviour
  /** Connections that are open. */
  open(): number
  close(): Promise<void>
}

export async function startRawUpstream(): Promise<RawUpstream> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    let seen = ''
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.toString('latin1')
      if (!seen.includes('\r\n\r\n')) return
      const [, length = '0'] = /content-length: (\d+)/i.exec(seen) ?? []
      const [head = ''] = seen.split('\r\n\r\n')
      if (seen.length < head.length + 4 + Number(length)) return
      upstream.requests.push(seen)
      seen = ''
      void upstream.behave(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('not listening')
  const upstream: RawUpstream = {
    url: `http://127.0.0.1:${address.port}`,
    requests: [],
    behave: (socket) => void socket.destroy(),
    open: () => sockets.size,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return upstream
}

/** Writes and waits until there is room; false once the peer has gone away. */
export async function written(socket: Socket, bytes: string | Buffer): Promise<boolean> {
  if (socket.destroyed) return false
  if (socket.write(bytes)) return true
  await new Promise<void>((resolve) => {
    // Each leaves with the other: a flood waits often, and what stays behind of each wait piles up.
    const done = (): void => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.on('drain', done)
    socket.on('close', done)
  })
  return !socket.destroyed
}

/** The same bytes again and again, until the peer goes away or so many were written. */
export async function flood(
  socket: Socket,
  bytes: string | Buffer,
  times: number,
): Promise<number> {
  let sent = 0
  while (sent < times && (await written(socket, bytes))) {
    sent++
    if (sent % 64 === 0) await delay(0)
  }
  return sent
}

export const head = (status: number, headers: Readonly<Record<string, string>>): string =>
  `HTTP/1.1 ${status} X\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`

/** A whole response with a length. */
export const whole = (
  status: number,
  type: string,
  body: string | Buffer,
  more: Readonly<Record<string, string>> = {},
): Buffer => {
  const length = String(Buffer.byteLength(body))
  return Buffer.concat([
    Buffer.from(head(status, { 'content-type': type, 'content-length': length, ...more })),
    Buffer.from(body),
  ])
}

/** One chunk of chunked encoding. */
export const chunked = (data: string | Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`${Buffer.byteLength(data).toString(16)}\r\n`),
    Buffer.from(data),
    Buffer.from('\r\n'),
  ])
