import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CanonicalRequest, Message } from '../../src/dialects/canonical.ts'
import { bedrock } from '../../src/dialects/bedrock/dialect.ts'
import { cohere } from '../../src/dialects/cohere/dialect.ts'
import { ProviderError, type ProviderDialect } from '../../src/dialects/dialect.ts'
import { gemini } from '../../src/dialects/gemini/dialect.ts'
import { GatewayError } from '../../src/errors.ts'
import { eventFrame, frame } from './eventstream-frames.ts'
import { asking, user } from './recordings.ts'
import { decodeIn, target } from './decoding.ts'

const dialects: readonly ProviderDialect[] = [gemini, bedrock, cohere]

/** What came out, or the coded error that did; anything else is thrown. */
function outcome(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    if (error instanceof GatewayError || error instanceof ProviderError) return error
    throw error
  }
}

/** Names that the dialects know, so that a hostile document comes past the first look. */
const NAMES = [
  'candidates',
  'content',
  'parts',
  'text',
  'thought',
  'functionCall',
  'name',
  'args',
  'partialArgs',
  'jsonPath',
  'stringValue',
  'willContinue',
  'finishReason',
  'index',
  'usageMetadata',
  'promptTokenCount',
  'promptFeedback',
  'blockReason',
  'error',
  'code',
  'message',
  'status',
  'details',
  'retryDelay',
  'thoughtSignature',
  'logprobsResult',
  'chosenCandidates',
  'output',
  'toolUse',
  'toolUseId',
  'input',
  'stopReason',
  'usage',
  'inputTokens',
  'contentBlockIndex',
  'delta',
  'start',
  'reasoningContent',
  'reasoningText',
  'redactedContent',
  'signature',
  'citationsContent',
  'type',
  'tool_plan',
  'tool_calls',
  'function',
  'arguments',
  'finish_reason',
  'tokens',
  'billed_units',
  'cached_tokens',
  'id',
  '__proto__',
  'constructor',
  'toString',
  'length',
] as const
const TEXTS = [
  'STOP',
  'end_turn',
  'tool_use',
  'COMPLETE',
  'message-start',
  'content-delta',
  'tool-call-start',
  'tool-call-delta',
  'tool-plan-delta',
  'tool-call-end',
  'message-end',
  '$.a[0]',
  '$',
  'x',
  '',
  '__proto__',
  'null',
  '1s',
] as const

const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.constantFrom<unknown>(...TEXTS, null, true, 0, 1, -1, 2 ** 53, 1e308, 0.5),
    fc.string(),
    fc.array(tie('tree'), { maxLength: 3 }),
    fc
      .array(fc.tuple(fc.constantFrom(...NAMES), tie('tree')), { maxLength: 6 })
      .map((entries) => Object.fromEntries(entries)),
  ),
}))

const EVENTS = [
  'messageStart',
  'contentBlockStart',
  'contentBlockDelta',
  'contentBlockStop',
  'messageStop',
  'metadata',
  'toString',
] as const

describe.each(dialects)('$name', (dialect) => {
  test('reads any document as an answer or refuses it with a code', () => {
    fc.assert(
      fc.property(tree, (value) => {
        const body = Buffer.from(JSON.stringify(value))
        expect(outcome(() => dialect.decode(body, target('m')))).toBeDefined()
      }),
      { numRuns: 2000 },
    )
  })

  test('reads any bytes as an answer, an error or a stream, or refuses them with a code', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.integer({ min: 0, max: 999 }),
        (bytes, status) => {
          const body = Buffer.from(bytes)
          outcome(() => dialect.decode(body, target('m')))
          outcome(() => decodeIn(dialect.stream(target('m')), [body]))
          const failure = dialect.classify(status, { 'retry-after': body.toString('latin1') }, body)
          expect(failure.status).toBe(status === 200 ? failure.status : status)
        },
      ),
    )
  })

  test('finds a class for any error', () => {
    fc.assert(
      fc.property(tree, fc.integer({ min: 300, max: 599 }), (error, status) => {
        const body = Buffer.from(JSON.stringify({ error, message: error, detail: error }))
        expect(dialect.classify(status, {}, body).class).toMatch(/^[a-z_]+$/)
      }),
    )
  })

  test('reads any events as a stream or refuses it with a code', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...EVENTS), tree), { maxLength: 8 }),
        (events) => {
          const body = Buffer.concat(
            events.map(([type, value]) =>
              dialect === bedrock
                ? eventFrame(type, value)
                : Buffer.from(`data: ${JSON.stringify(value)}\n\n`),
            ),
          )
          expect(outcome(() => decodeIn(dialect.stream(target('m')), [body]))).toBeDefined()
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('reads or refuses what nests very deep', () => {
    const deep = `${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`
    const bodies = [
      `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":${deep}}}]},"finishReason":"STOP"}]}`,
      `{"output":{"message":{"content":[{"toolUse":{"name":"f","input":${deep}}}]}},"stopReason":"tool_use"}`,
      deep,
    ]
    for (const body of bodies) {
      const read = outcome(() => dialect.decode(Buffer.from(body), target('m')))
      expect(typeof read).toBe('object')
    }
  })

  const requests: readonly CanonicalRequest[] = [
    asking([user('a')], {
      tools: [{ name: 'f', description: null, parameters: deepObject(200_000), strict: null }],
    }),
    asking([user('a')], {
      format: {
        type: 'json_schema',
        name: 'n',
        description: null,
        schema: deepObject(200_000),
        strict: null,
      },
    }),
  ]
  test.each(requests)('writes or refuses what nests very deep', (request) => {
    const written = outcome(() => dialect.encode(request, target('m')))
    expect(typeof written).toBe('object')
  })

  test('writes any conversation or refuses it with a code, and quotes none of it', () => {
    const part = fc.record({
      type: fc.constant('tool_call' as const),
      id: fc.string(),
      name: fc.string(),
      arguments: fc.oneof(fc.json(), fc.string()),
      signature: fc.constant(null),
    })
    const said = fc.record({ type: fc.constant('text' as const), text: fc.string() })
    const message: fc.Arbitrary<Message> = fc.oneof(
      fc.record({
        role: fc.constant('user' as const),
        parts: fc.array(said),
        name: fc.constant(null),
      }),
      fc.record({ role: fc.constant('assistant' as const), parts: fc.array(fc.oneof(said, part)) }),
      fc.record({
        role: fc.constantFrom('system' as const, 'developer' as const),
        parts: fc.array(said),
      }),
      fc.record({
        role: fc.constant('tool' as const),
        results: fc.array(
          fc.record({ callId: fc.string(), parts: fc.array(said), isError: fc.boolean() }),
        ),
      }),
    )
    fc.assert(
      fc.property(fc.array(message, { maxLength: 6 }), (messages) => {
        const written = outcome(() => dialect.encode(asking(messages), target('m')))
        const code = written instanceof GatewayError ? written.code : 'written'
        expect(['written', 'request_not_supported', 'invalid_request']).toContain(code)
      }),
    )
  })
})

function deepObject(levels: number): { readonly [member: string]: never } {
  return JSON.parse(`${'{"a":'.repeat(levels)}{}${'}'.repeat(levels)}`)
}

describe('a whole answer', () => {
  const called = (tool: object) =>
    JSON.stringify({ output: { message: { content: [tool] } }, stopReason: 'x' })
  test.each([
    [bedrock, 'a call without a name', called({ toolUse: { input: {} } })],
    [bedrock, 'no reason to stop', '{"output":{"message":{"content":[]}}}'],
    [bedrock, 'no content', '{"stopReason":"end_turn"}'],
    [
      cohere,
      'a call without a name',
      '{"message":{"tool_calls":[{}]},"finish_reason":"TOOL_CALL"}',
    ],
    [cohere, 'no reason to stop', '{"message":{}}'],
    [cohere, 'no message', '{"finish_reason":"COMPLETE"}'],
  ])('of $name is refused with %s', (dialect, _, body) => {
    expect(() => dialect.decode(Buffer.from(body), target('m'))).toThrow(
      expect.objectContaining({ code: 'upstream_malformed' }),
    )
  })
})

describe('a stream of Bedrock', () => {
  test.each([
    [
      'arguments without a call',
      [
        eventFrame('contentBlockDelta', {
          contentBlockIndex: 1,
          delta: { toolUse: { input: '{}' } },
        }),
      ],
    ],
    [
      'a call without a name',
      [eventFrame('contentBlockStart', { contentBlockIndex: 0, start: { toolUse: {} } })],
    ],
    ['an event that is no object', [eventFrame('messageStart', [1])]],
    [
      'an event that is no JSON',
      [frame({ ':message-type': 'event', ':event-type': 'messageStart' }, '{')],
    ],
  ])('is refused with %s', (_, frames) => {
    const decoder = bedrock.stream(target('m'))
    expect(() => decoder.push(Buffer.concat(frames))).toThrow(
      expect.objectContaining({ code: 'upstream_malformed' }),
    )
  })

  test('is refused with more open blocks than anyone has', () => {
    const decoder = bedrock.stream(target('m'))
    const open = (contentBlockIndex: number) =>
      eventFrame('contentBlockStart', { contentBlockIndex, start: { toolUse: { name: 'f' } } })
    expect(() => {
      for (let index = 0; index < 2000; index++) decoder.push(open(index))
    }).toThrow(expect.objectContaining({ code: 'upstream_malformed' }))
  })

  test('is refused with a proof that is very long', () => {
    const decoder = bedrock.stream(target('m'))
    const piece = eventFrame('contentBlockDelta', {
      contentBlockIndex: 0,
      delta: { reasoningContent: { signature: 'x'.repeat(3 << 20) } },
    })
    decoder.push(piece)
    decoder.push(piece)
    expect(() => decoder.push(piece)).toThrow(
      expect.objectContaining({ code: 'upstream_malformed' }),
    )
  })

  test('is broken with half a message after its stop', () => {
    const decoder = bedrock.stream(target('m'))
    const more = eventFrame('metadata', { usage: { inputTokens: 1 } })
    decoder.push(
      Buffer.concat([eventFrame('messageStop', { stopReason: 'end_turn' }), more.subarray(0, 20)]),
    )
    expect(() => decoder.end()).toThrow(expect.objectContaining({ code: 'upstream_broken' }))
  })
})

describe('a number with more digits than a double has', () => {
  const digits = '{"id":12345678901234567890,"x":[0.1234567890123456789,1234567890123456]}'
  const messages: Message[] = [
    user('a'),
    {
      role: 'assistant',
      parts: [{ type: 'tool_call', id: '1', name: 'f', arguments: digits, signature: null }],
    },
  ]

  test.each(dialects)('keeps them in a request to $name', (dialect) => {
    const sent = dialect.encode(asking(messages), target('m')).body.toString()
    expect(sent.replaceAll('\\"', '"')).toContain(digits)
  })

  test.each([
    [
      gemini,
      `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":${digits}}}]},"finishReason":"STOP"}]}`,
    ],
    [
      bedrock,
      `{"output":{"message":{"content":[{"toolUse":{"name":"f","input":${digits}}}]}},"stopReason":"tool_use"}`,
    ],
  ])('keeps them in an answer of $name', (dialect, body) => {
    const [part] = dialect.decode(Buffer.from(body), target('m')).choices[0]?.parts ?? []
    expect(part).toMatchObject({ type: 'tool_call', arguments: digits })
  })

  test.each([gemini, bedrock])('is not an object: $name', (dialect) => {
    const call = {
      type: 'tool_call',
      id: '1',
      name: 'f',
      arguments: '12345678901234567890',
      signature: null,
    } as const
    const request = asking([user('a'), { role: 'assistant', parts: [call] }])
    expect(() => dialect.encode(request, target('m'))).toThrow(
      expect.objectContaining({ code: 'request_not_supported' }),
    )
  })
})

describe('a stream of Cohere', () => {
  const line = (value: unknown) => Buffer.from(`data: ${JSON.stringify(value)}\n\n`)
  test.each([
    ['nothing', ''],
    ['its end left out', 'data: {"type":"content-end"}\n\n'],
    ['half of its last frame', 'data: {"type":"message-end","delta":{'],
  ])('is broken with %s', (_, body) => {
    const decoder = cohere.stream(target('m'))
    decoder.push(Buffer.from(body))
    expect(() => decoder.end()).toThrow(expect.objectContaining({ code: 'upstream_broken' }))
  })

  test.each([
    ['arguments without a call', { type: 'tool-call-delta', index: 0 }],
    ['a call without a name', { type: 'tool-call-start', index: 0, delta: {} }],
    ['a frame that is no object', [1]],
  ])('is refused with %s', (_, value) => {
    const decoder = cohere.stream(target('m'))
    expect(() => decoder.push(line(value))).toThrow(
      expect.objectContaining({ code: 'upstream_malformed' }),
    )
  })
})
