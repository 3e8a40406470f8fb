import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** What is asked, again and again. */
export interface Question {
  readonly origin: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const HEADERS_END = Buffer.from('\r\n\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** The bytes of a request; made once. */
export function requestBytes({ headers, body }: Question): Buffer {
  const lines = Object.entries({
    host: '127.0.0.1',
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
}

export async function openConnection(origin: string): Promise<Socket> {
  const { protocol, port } = new URL(origin)
  const at = { host: '127.0.0.1', port: Number(port) }
  const tls = protocol === 'https:'
  const socket = tls ? connectTls({ ...at, rejectUnauthorized: false }) : connectTcp(at)
  socket.setNoDelay(true)
  await once(socket, tls ? 'secureConnect' : 'connect')
  return socket
}

/** Reads just enough of HTTP to know where a response ends: less work than any client that is one. */
class ResponseEnd {
  #bytes: Buffer = Buffer.alloc(0)

  /** The whole response once it is there, else null. */
  push(chunk: Buffer): Buffer | null {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    const bytes = this.#bytes
    const end = bytes.indexOf(HEADERS_END)
    if (end === -1) return null
    const [, length] = /content-length: *(\d+)/i.exec(bytes.toString('latin1', 0, end)) ?? []
    const whole =
      length === undefined
        ? bytes.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)
        : bytes.length >= end + HEADERS_END.length + Number(length)
    if (!whole) return null
    this.#bytes = Buffer.alloc(0)
    return bytes
  }
}

const OK = Buffer.from('HTTP/1.1 200')

/** Sends `request` and calls `answered` with the milliseconds it took, until that says no. Resolves then. */
export function closedLoop(
  socket: Socket,
  request: Buffer,
  answered: (ms: number) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const reader = new ResponseEnd()
    let begun = performance.now()
    socket.on('data', (chunk: Buffer) => {
      const response = reader.push(chunk)
      if (response === null) return
      if (!response.subarray(0, OK.length).equals(OK)) {
        reject(new Error(response.toString('latin1', 0, 500)))
        return
      }
      const now = performance.now()
      if (!answered(now - begun)) {
        resolve()
        return
      }
      begun = now
      socket.write(request)
    })
    socket.once('close', () => reject(new Error('the connection was closed')))
    socket.once('error', reject)
    socket.write(request)
  })
}

/** Milliseconds from the request to the first event with content, and how many events came. */
export interface StreamTimes {
  readonly first: number
  readonly events: number
}

const DATA = Buffer.from('data: ')
/** A role alone is no content: gateways that can fall back hold it until there is some. */
const CONTENT = /"content":"[^"]/
const DONE = Buffer.from('[DONE]')

/** Null where it was refused, cut or took more than a minute. */
export function readStream(socket: Socket, request: Buffer): Promise<StreamTimes | null> {
  return new Promise((resolve) => {
    const end = (times: StreamTimes | null): void => {
      clearTimeout(timer)
      socket.off('data', take).off('close', fail).off('error', fail)
      resolve(times)
    }
    const fail = (): void => end(null)
    const timer = setTimeout(fail, 60_000)
    let begins = true
    const begun = performance.now()
    let first = 0
    let events = 0
    const take = (chunk: Buffer): void => {
      if (begins && !chunk.subarray(0, OK.length).equals(OK)) fail()
      begins = false
      for (let at = chunk.indexOf(DATA); at !== -1; at = chunk.indexOf(DATA, at + 1)) events++
      if (first === 0 && CONTENT.test(chunk.toString('latin1'))) first = performance.now() - begun
      if (chunk.includes(DONE)) end({ first, events })
    }
    socket.on('data', take).once('close', fail).once('error', fail)
    socket.write(request)
  })
}
