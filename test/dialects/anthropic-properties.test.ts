import * as fc from 'fast-check'
import type { JsonValue } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { anthropicMessages } from '../../src/dialects/anthropic/client.ts'
import { escapeName, unescapeName } from '../../src/dialects/anthropic/names.ts'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import type { CanonicalEvent } from '../../src/dialects/canonical.ts'
import { ProviderError } from '../../src/dialects/dialect.ts'
import { GatewayError } from '../../src/errors.ts'
import { target } from './anthropic-recordings.ts'

/** Runs it; anything but a coded error is a crash. */
function coded<T>(run: () => T): T | null {
  try {
    return run()
  } catch (error) {
    if (error instanceof GatewayError || error instanceof ProviderError) return null
    throw error
  }
}

const words = fc.constantFrom(
  'type',
  'text',
  'content',
  'index',
  'delta',
  'usage',
  'message',
  'input',
  '__proto__',
  'message_start',
  'content_block_start',
  'content_block_delta',
  'content_block_stop',
  'message_delta',
  'message_stop',
  'error',
  'tool_use',
  'thinking',
  'redacted_thinking',
  'text_delta',
  'input_json_delta',
  'signature_delta',
  'thinking_delta',
  'partial_json',
  'user',
  'assistant',
  'system',
  'tool_result',
  'image',
  'document',
  'source',
  'base64',
)
const leaf = fc.oneof(
  words,
  fc.integer({ min: -2, max: 3 }),
  fc.double(),
  fc.constant(null),
  fc.boolean(),
)
const { value: hostile } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(words, tie('value'), { maxKeys: 5 }),
  ),
}))

const memberOf = (name: string) =>
  fc.dictionary(words, hostile, { maxKeys: 5 }).map((members) => ({ ...members, type: name }))
const payload = fc
  .constantFrom('content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta')
  .chain((type) =>
    fc.record({
      type: fc.constant(type),
      index: fc.integer({ min: 0, max: 3 }),
      content_block: fc
        .constantFrom('text', 'thinking', 'tool_use', 'redacted_thinking', 'other')
        .chain(memberOf),
      delta: fc
        .constantFrom('text_delta', 'thinking_delta', 'signature_delta', 'input_json_delta')
        .chain(memberOf),
    }),
  )
const frames = (payloads: readonly unknown[]): Buffer =>
  Buffer.from(payloads.map((each) => `data: ${JSON.stringify(each)}\n\n`).join(''))

/** Every event of a block that is not between that block's start and its stop, as `type index`. */
function blockRuns(written: Buffer): string[] {
  const wrong: string[] = []
  let open = -1
  let next = 0
  for (const line of written.toString('utf8').split('\n')) {
    if (!line.startsWith('data: ')) continue
    const { type, index }: { type: string; index?: number } = JSON.parse(line.slice(6))
    if (index === undefined) {
      if (open !== -1) wrong.push(type)
    } else if (type === 'content_block_start') {
      if (open !== -1 || index !== next) wrong.push(`${type} ${index}`)
      open = index
      next = index + 1
    } else {
      if (index !== open) wrong.push(`${type} ${index}`)
      if (type === 'content_block_stop') open = -1
    }
  }
  return wrong
}

describe('whatever comes', () => {
  test('reading a stream gives events or a coded error', () => {
    const start = { type: 'message_start', message: {} }
    fc.assert(
      fc.property(fc.array(fc.oneof(payload, hostile), { maxLength: 12 }), (payloads) => {
        const decoder = anthropic.stream(target)
        coded(() => decoder.push(frames([start, ...payloads])))
        coded(() => decoder.end())
      }),
      { numRuns: 500 },
    )
  })

  test('reading bytes gives events or a coded error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const decoder = anthropic.stream(target)
        coded(() => decoder.push(Buffer.from(bytes)))
        coded(() => decoder.end())
        coded(() => anthropic.decode(Buffer.from(bytes), target))
        anthropic.classify(400, {}, Buffer.from(bytes))
      }),
    )
  })

  test('reading an answer or an error gives one or a coded error', () => {
    fc.assert(
      fc.property(hostile, fc.array(memberOf('tool_use')), (value, blocks) => {
        coded(() => anthropic.decode(Buffer.from(JSON.stringify(value)), target))
        const message = { type: 'message', content: blocks, usage: value, stop_reason: value }
        coded(() => anthropic.decode(Buffer.from(JSON.stringify(message)), target))
        anthropic.classify(500, {}, Buffer.from(JSON.stringify({ error: value })))
      }),
      { numRuns: 500 },
    )
  })

  test('a request is read and written, or refused with a code', () => {
    const block = fc
      .constantFrom('text', 'image', 'document', 'tool_use', 'tool_result', 'thinking')
      .chain(memberOf)
    const turn = fc.record({
      role: fc.constantFrom('user', 'assistant', 'system'),
      content: fc.oneof(fc.string(), fc.array(block, { maxLength: 3 })),
    })
    fc.assert(
      fc.property(fc.array(turn, { maxLength: 4 }), hostile, words, (messages, value, name) => {
        coded(() => anthropicMessages.decode(value))
        const body = { model: 'm', max_tokens: 1, messages, [name]: value }
        const request = coded(() => anthropicMessages.decode(JSON.parse(JSON.stringify(body))))
        if (request !== null) coded(() => anthropic.encode(request, target))
        expect(Object.prototype).not.toHaveProperty('text')
      }),
      { numRuns: 500 },
    )
  })

  test('nesting without end is a coded error', () => {
    const deep: JsonValue = JSON.parse('['.repeat(50_000) + ']'.repeat(50_000))
    const body = { model: 'm', max_tokens: 1, messages: [], metadata: deep }
    expect(() => anthropicMessages.decode(body)).toThrow(new GatewayError('invalid_request'))
  })

  test('a name of a tool comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 12 }), (name) => {
        const escaped = coded(() => escapeName(name))
        if (escaped === null) return
        expect(escaped).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
        expect(unescapeName(escaped)).toBe(name)
      }),
    )
    expect(unescapeName(escapeName('x-vg-mine'))).toBe('x-vg-mine')
    expect(unescapeName('x-vg-_zz')).toBe('x-vg-_zz')
  })

  test('a stream is written in whole blocks, one after the other', () => {
    const event = fc.oneof(
      fc.record({
        type: fc.constant('text' as const),
        choice: fc.constant(0),
        text: fc.string(),
        logprobs: fc.constant(null),
      }),
      fc.record({
        type: fc.constant('reasoning' as const),
        choice: fc.constant(0),
        block: fc.integer({ min: 0, max: 2 }),
        text: fc.string(),
      }),
      fc.record({
        type: fc.constant('tool_arguments' as const),
        choice: fc.constant(0),
        call: fc.integer({ min: 0, max: 2 }),
        text: fc.constantFrom('{', '}', '{}', '"', '\\', '', '{"a":'),
      }),
      fc.record({
        type: fc.constant('tool_call' as const),
        choice: fc.constant(0),
        call: fc.integer({ min: 0, max: 2 }),
        id: fc.string(),
        name: fc.string(),
        signature: fc.constant(null),
      }),
    )
    const request = anthropicMessages.decode({ model: 'm', max_tokens: 1, messages: [] })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), (events: CanonicalEvent[]) => {
        const encoder = anthropicMessages.stream(request)
        const written = Buffer.concat([...events.map((each) => encoder.push(each)), encoder.end()])
        expect(blockRuns(written)).toEqual([])
        const texts = events.map((each) => (each.type === 'text' ? each.text : '')).join('')
        const deltas = written
          .toString('utf8')
          .split('\n')
          .filter((line) => line.includes('"text_delta"'))
          .map((line) => JSON.parse(line.slice(6)).delta.text)
        expect(deltas.join('')).toBe(texts)
      }),
      { numRuns: 500 },
    )
  })
})
