import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EventStreamParser } from '../../src/dialects/bedrock/eventstream.ts'
import { eventFrame, frame, rawFrame } from './eventstream-frames.ts'

const malformed = expect.objectContaining({ code: 'upstream_malformed' })
const sample = eventFrame('messageStart', { role: 'assistant' })

const flipped = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at)
  return copy
}

/** A prelude with these lengths and the right checksum of its own. */
const prelude = (total: number, headers: number): Buffer => {
  const whole = rawFrame(Buffer.alloc(0), Buffer.alloc(0))
  whole.writeUInt32BE(total, 0)
  whole.writeUInt32BE(headers, 4)
  const right = rawFrame(Buffer.alloc(headers % 1000), Buffer.alloc(0))
  return total === right.readUInt32BE(0) ? right : withChecksum(whole)
}

function withChecksum(bytes: Buffer): Buffer {
  const table = (value: number): number => {
    let crc = value
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xed_b8_83_20 : crc >>> 1
    return crc >>> 0
  }
  let crc = 0xff_ff_ff_ff
  for (const byte of bytes.subarray(0, 8)) crc = table((crc ^ byte) & 0xff) ^ (crc >>> 8)
  bytes.writeUInt32BE((crc ^ 0xff_ff_ff_ff) >>> 0, 8)
  return bytes
}

describe('the frames of an AWS event stream', () => {
  test('are read with their headers and payload', () => {
    const parser = new EventStreamParser()
    const [one, two, ...rest] = parser.push(Buffer.concat([sample, frame({ a: 'b' }, 'x')]))
    expect(one?.headers.get(':event-type')).toBe('messageStart')
    expect(one?.payload.toString()).toBe('{"role":"assistant"}')
    expect(two?.headers).toEqual(new Map([['a', 'b']]))
    expect(rest).toEqual([])
    expect(parser.whole).toBe(true)
  })

  test('come whole however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 40 }), { maxLength: 6 }),
        fc.array(fc.nat(400), { maxLength: 8 }),
        (payloads, cuts) => {
          const bytes = Buffer.concat(payloads.map((payload) => frame({ n: 'v' }, payload)))
          const parser = new EventStreamParser()
          const read = [0, ...cuts.toSorted((a, b) => a - b), bytes.length].flatMap(
            (from, index, all) => parser.push(bytes.subarray(from, all[index + 1] ?? bytes.length)),
          )
          expect(read.map(({ payload }) => payload.toString())).toEqual(payloads)
        },
      ),
    )
  })

  test('are refused with any bit of them changed', () => {
    for (let at = 0; at < sample.length; at++) {
      const parser = new EventStreamParser()
      expect(() => parser.push(flipped(sample, at)), `byte ${at}`).toThrow(malformed)
    }
  })

  test('are refused by their prelude alone, before anything is held for them', () => {
    for (const [total, headers] of [
      [(16 << 20) + 1, 0],
      [0xff_ff_ff_ff, 0],
      [15, 0],
      [100, 85],
      [1 << 20, (128 << 10) + 1],
    ] as const) {
      const parser = new EventStreamParser()
      expect(() => parser.push(prelude(total, headers).subarray(0, 12)), `${total}`).toThrow(
        malformed,
      )
    }
  })

  test('may have headers of every type, of which strings are kept', () => {
    const text = Buffer.from([1, 0x73, 7, 0, 2, 0x68, 0x69])
    const sizes = [0, 0, 1, 2, 4, 8]
    const fixed = sizes.map((size, type) => Buffer.from([1, 0x78, type, ...Array(size).fill(9)]))
    const bytes = Buffer.from([1, 0x78, 6, 0, 3, 1, 2, 3])
    const long = [8, 16].map((size, type) =>
      Buffer.from([1, 0x78, 8 + type, ...Array(size).fill(9)]),
    )
    const headers = Buffer.concat([...fixed, bytes, ...long, text])
    const [message] = new EventStreamParser().push(rawFrame(headers, Buffer.from('p')))
    expect(message?.headers).toEqual(new Map([['s', 'hi']]))
  })

  test.each([
    ['a type that does not exist', [1, 0x78, 10, 0, 0]],
    ['a name that is cut off', [9, 0x78]],
    ['a value that is cut off', [1, 0x78, 7, 0, 9, 1]],
    ['no type', [1, 0x78]],
  ])('are refused with a header of %s', (_, bytes) => {
    const parser = new EventStreamParser()
    expect(() => parser.push(rawFrame(Buffer.from(bytes), Buffer.alloc(0)))).toThrow(malformed)
  })

  test('never throw anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, framed) => {
        const raw = Buffer.from(bytes)
        const parser = new EventStreamParser()
        let code = 'none'
        try {
          parser.push(framed ? rawFrame(raw, raw) : raw)
        } catch (error) {
          code = error instanceof Error && 'code' in error ? String(error.code) : 'other'
        }
        expect(['none', 'upstream_malformed']).toContain(code)
      }),
    )
  })
})
