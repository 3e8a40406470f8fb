import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { failureStatus, hasAnthropicContent, hasOpenAiContent } from '../../src/first-content.ts'
import { KeepAlive } from '../../src/keep-alive.ts'
import { pad } from '../../src/operations.ts'
import { FramePadder } from '../../src/padding.ts'
import { isTeamName } from '../../src/ids.ts'
import { TenantNames } from '../../src/tenant.ts'

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const padder = () => new FramePadder({ pad, onApplied: () => undefined })

describe('what is no content yet', () => {
  test.each([
    [{ choices: [] }],
    [{ choices: [{ index: 0, delta: { role: 'assistant' }, finish_reason: null }] }],
    [{ choices: [{ index: 0, delta: { role: 'assistant', content: '', refusal: null } }] }],
    [{ choices: [{ index: 0, delta: null }] }],
    [{ choices: [{ index: 0, text: '' }] }],
  ])('in a chat: %j', (chunk) => {
    expect(hasOpenAiContent(json(chunk))).toBe(false)
  })

  test.each([
    [{ choices: [{ delta: {} }, { delta: { content: 'x' } }] }],
    [{ choices: [{ delta: { audio: {} } }] }],
    [{ choices: [{ delta: 'x' }] }],
    [{ choices: ['x'] }],
    [{ choices: {} }],
    ['text'],
  ])('as opposed to %j', (chunk) => {
    expect(hasOpenAiContent(json(chunk))).toBe(true)
  })

  test('what cannot be read may be content', () => {
    expect([hasOpenAiContent(Buffer.from('{')), hasAnthropicContent(Buffer.from('{'))]).toEqual([
      true,
      true,
    ])
  })

  test.each([
    [{ type: 'message_start', message: {} }, false],
    [{ type: 'ping' }, false],
    [{ type: 'content_block_start', content_block: { type: 'text', text: '' } }, false],
    [{ type: 'content_block_start', content_block: { type: 'thinking', thinking: '' } }, false],
    [{ type: 'content_block_start', content_block: { type: 'text', text: 'x' } }, true],
    [{ type: 'content_block_start', content_block: { type: 'tool_use', name: 'f' } }, true],
    [{ type: 'content_block_start' }, true],
    [{ type: 'content_block_delta' }, true],
    [{ type: 'message_delta' }, true],
  ])('in a message: %j, %s', (event, content) => {
    expect(hasAnthropicContent(json(event))).toBe(content)
  })

  test.each([
    [{ error: { code: 429 } }, 429],
    [{ error: { code: 400 } }, 400],
    [{ error: { code: 200 } }, 500],
    [{ error: { code: 'x', type: 'rate_limit_error' } }, 429],
    [{ type: 'error', error: { type: 'invalid_request_error' } }, 400],
    [{ error: { type: 'toString' } }, 500],
    [{ error: 'x' }, 500],
  ])('a failure %j had the status %s', (event, status) => {
    expect(failureStatus(json(event))).toBe(status)
  })
})

describe('the padding of frames', () => {
  const frame = fc.tuple(
    fc.string({ maxLength: 90 }),
    fc.constantFrom('\n\n', '\r\n\r\n', '\n\r\n'),
  )
  const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 6 })

  test('changes no byte of the stream but by comments, wherever it is cut', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 8 }), cuts, (given, at) => {
        const stream = Buffer.from(
          given.map(([text, end]) => `data: ${JSON.stringify({ text })}${end}`).join(''),
        )
        const marks = [0, ...at.map((cut) => cut % stream.length), stream.length].toSorted(
          (left, right) => left - right,
        )
        const padding = padder()
        const parts = marks.map((from, index) =>
          padding.push(stream.subarray(from, marks[index + 1] ?? stream.length)),
        )
        const out = Buffer.concat([...parts, padding.end()]).toString()
        expect(out.replaceAll(/^: [\w-]*\n/gm, '')).toBe(stream.toString())
      }),
    )
  })

  test('gives frames of common sizes the size of the largest so far, and never a smaller one', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 900 }), { minLength: 1 }), (lengths) => {
        const padding = padder()
        const sizes = lengths.map(
          (length) => padding.push(Buffer.from(`data: ${'x'.repeat(length)}\n\n`)).length,
        )
        expect(sizes.every((size) => size % 64 === 0)).toBe(true)
        expect(sizes).toEqual(sizes.toSorted((left, right) => left - right))
      }),
    )
  })

  test('gives a token of up to half a block the size of every other', () => {
    const padding = padder()
    const sizes = Array.from(
      { length: 32 },
      (_, length) => padding.push(Buffer.from(`data: {"t":"${'x'.repeat(length)}"}\n\n`)).length,
    )
    expect(new Set(sizes).size).toBe(1)
  })

  test('is of its own for a frame that is larger than common ones', () => {
    const padding = padder()
    const sizes = [10, 5000, 10].map(
      (length) => padding.push(Buffer.from(`data: ${'x'.repeat(length)}\n\n`)).length,
    )
    expect(sizes[0]).toBe(sizes[2])
    expect((sizes[1] ?? 0) % 64).toBe(0)
  })

  test('holds no more than a mebibyte of one frame', () => {
    const long = Buffer.from(`data: ${'x'.repeat(1 << 20)}`)
    expect(padder().push(long).length).toBe(long.length)
  })
})

describe('a comment that keeps a stream open', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  function watched() {
    let comments = 0
    const alive = new KeepAlive(1000, () => comments++)
    return {
      alive,
      after: (written: string) => {
        alive.written(Buffer.from(written))
        const before = comments
        vi.advanceTimersByTime(2500)
        return comments - before
      },
    }
  }

  test.each([
    [
      ['data: x', '\n', '\n'],
      [0, 0, 2],
    ],
    [['data: x\n\n'], [2]],
    [
      ['data: x\r\n', '\r\n'],
      [0, 2],
    ],
    [
      ['data: x\r\n\r', '\n'],
      [0, 2],
    ],
    [
      ['data: x\r', '\r'],
      [0, 2],
    ],
    [['\n\ndata: x\n'], [0]],
    [[': comment\n'], [0]],
  ])('never comes within a frame: %j', (parts, comments) => {
    const { after } = watched()
    expect(parts.map(after)).toEqual(comments)
  })

  test('comes after silence alone, and no more once the stream has ended', () => {
    const sent: string[] = []
    const alive = new KeepAlive(1000, (comment) => sent.push(comment.toString()))
    vi.advanceTimersByTime(999)
    alive.written(Buffer.from('data: x\n\n'))
    vi.advanceTimersByTime(999)
    expect(sent).toEqual([])
    vi.advanceTimersByTime(1)
    expect(sent).toEqual([': keep-alive\n\n'])
    alive.stop()
    vi.advanceTimersByTime(5000)
    expect(sent).toHaveLength(1)
  })
})

test('names of tenants need a secret of 32 bytes', () => {
  expect(() => new TenantNames(new Uint8Array(16))).toThrow(TypeError)
  const names = (fill: number) => new TenantNames(new Uint8Array(32).fill(fill))
  const team = 'team'
  if (!isTeamName(team)) throw new Error('no team')
  expect(names(1).of(team).salt).toBe(names(1).of(team).salt)
  expect(names(1).of(team).salt).not.toBe(names(2).of(team).salt)
})
