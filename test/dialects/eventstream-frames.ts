import { crc32 } from 'node:zlib'

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

const header = (name: string, value: string): Buffer => {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(Buffer.byteLength(value))
  return Buffer.concat([
    Buffer.from([Buffer.byteLength(name)]),
    Buffer.from(name),
    Buffer.from([7]),
    length,
    Buffer.from(value),
  ])
}

/** One message of AWS event stream encoding, from headers that are there already. */
export function rawFrame(headers: Buffer, payload: Buffer): Buffer {
  const sizes = Buffer.concat([u32(16 + headers.length + payload.length), u32(headers.length)])
  const start = Buffer.concat([sizes, u32(crc32(sizes)), headers, payload])
  return Buffer.concat([start, u32(crc32(start))])
}

export const frame = (headers: Readonly<Record<string, string>>, payload: string): Buffer =>
  rawFrame(
    Buffer.concat(Object.entries(headers).map(([name, value]) => header(name, value))),
    Buffer.from(payload),
  )

export const eventFrame = (type: string, payload: unknown): Buffer =>
  frame(
    { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' },
    JSON.stringify(payload),
  )

export const exceptionFrame = (type: string, message: string): Buffer =>
  frame(
    { ':exception-type': type, ':content-type': 'application/json', ':message-type': 'exception' },
    JSON.stringify({ message }),
  )
