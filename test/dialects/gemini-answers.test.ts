import { describe, expect, test } from 'vitest'
import type { CanonicalEvent } from '../../src/dialects/canonical.ts'
import { gemini } from '../../src/dialects/gemini/dialect.ts'
import { callsOf, textOf, usageOf } from './recordings.ts'
import { decodeIn, target } from './decoding.ts'

const MODEL = 'gemini-any'
const sse = (...chunks: readonly unknown[]): Buffer =>
  Buffer.from(chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join(''))
const chunk = (parts: readonly unknown[], finishReason?: string, index?: number) => ({
  candidates: [{ content: { parts }, finishReason, index }],
})
const read = (...chunks: readonly unknown[]): CanonicalEvent[] =>
  decodeIn(gemini.stream(target(MODEL)), [sse(...chunks)])
const whole = (value: unknown) => gemini.decode(Buffer.from(JSON.stringify(value)), target(MODEL))
const malformed = expect.objectContaining({ code: 'upstream_malformed' })

const piece = (jsonPath: string, value: object, willContinue = true) => ({
  functionCall: { partialArgs: [{ jsonPath, ...value }], willContinue },
})
const begin = { functionCall: { name: 'f', willContinue: true } }

describe('a stream of Gemini', () => {
  test('has a call that came before an empty last chunk', () => {
    const events = read(
      chunk([{ functionCall: { name: 'f', args: {} } }]),
      chunk([{ text: '' }], 'STOP'),
    )
    expect(events.map(({ type }) => type)).toEqual([
      'start',
      'tool_call',
      'tool_arguments',
      'finish',
    ])
    expect(events.at(-1)).toMatchObject({ reason: 'tool_calls' })
  })

  test('has calls numbered from 0, each with an id of its own', () => {
    const events = read(
      chunk([{ text: 'a' }, { functionCall: { name: 'f', args: { x: 1 } } }]),
      chunk([{ functionCall: { name: 'g', id: 'own' } }], 'STOP'),
    )
    expect(callsOf(events)).toEqual([
      { name: 'f', input: { x: 1 } },
      { name: 'g', input: {} },
    ])
    const ids = events.flatMap((event) => (event.type === 'tool_call' ? [event.id] : []))
    expect(ids).toEqual([expect.stringMatching(/^call_[0-9a-f]{24}$/), 'own'])
  })

  test.each([
    ['SAFETY', 'content_filter'],
    ['RECITATION', 'content_filter'],
    ['BLOCKLIST', 'content_filter'],
    ['PROHIBITED_CONTENT', 'content_filter'],
    ['SPII', 'content_filter'],
    ['IMAGE_SAFETY', 'content_filter'],
    ['MAX_TOKENS', 'length'],
    ['MALFORMED_FUNCTION_CALL', 'error'],
    ['OTHER', 'stop'],
    ['toString', 'stop'],
  ])('that ends with %s finishes with %s', (reason, wanted) => {
    expect(read(chunk([], reason)).at(-1)).toMatchObject({ type: 'finish', reason: wanted })
    expect(whole(chunk([], reason)).choices[0]?.finish).toBe(wanted)
  })

  test('of a prompt that was blocked is empty and filtered', () => {
    const blocked = {
      promptFeedback: { blockReason: 'SAFETY' },
      usageMetadata: { promptTokenCount: 3 },
    }
    expect(read(blocked).map(({ type }) => type)).toEqual(['start', 'usage', 'finish'])
    expect(read(blocked).at(-1)).toMatchObject({ choice: 0, reason: 'content_filter' })
    expect(whole(blocked)).toMatchObject({
      choices: [{ index: 0, parts: [], finish: 'content_filter' }],
      usage: { uncachedInput: 3 },
    })
  })

  test('has the last of its counts, each disjoint from the others', () => {
    const counts = (prompt: number) => ({
      ...chunk([{ text: 'a' }], 'STOP'),
      usageMetadata: {
        promptTokenCount: prompt,
        cachedContentTokenCount: 4,
        candidatesTokenCount: 2,
        thoughtsTokenCount: 7,
        toolUsePromptTokenCount: 5,
      },
    })
    expect(usageOf(read(counts(100), counts(10)))).toEqual({
      uncachedInput: 11,
      cacheRead: 4,
      cacheWrite: 0,
      output: 2,
      reasoning: 7,
    })
  })

  test('has thoughts in blocks', () => {
    const events = read(
      chunk([{ text: 'a', thought: true }]),
      chunk([{ text: 'b', thought: true, thoughtSignature: 'S' }]),
      chunk(
        [
          { text: 'c', thought: true },
          { text: 'd', thoughtSignature: 'T' },
        ],
        'STOP',
      ),
    )
    expect(events.slice(1, -1)).toEqual([
      { type: 'reasoning', choice: 0, block: 0, text: 'a' },
      { type: 'reasoning', choice: 0, block: 0, text: 'b' },
      {
        type: 'reasoning_proof',
        choice: 0,
        block: 0,
        signature: 'S',
        encrypted: null,
        id: 'gemini_thought',
      },
      { type: 'reasoning', choice: 0, block: 1, text: 'c' },
      { type: 'text', choice: 0, text: 'd', logprobs: null },
      {
        type: 'reasoning_proof',
        choice: 0,
        block: 2,
        signature: null,
        encrypted: 'T',
        id: 'gemini_text',
      },
    ])
  })

  test('may have several candidates, of which all must finish', () => {
    const one = { index: 1, content: { parts: [{ text: 'b' }] } }
    const zero = { index: 0, content: { parts: [{ text: 'a' }] }, finishReason: 'STOP' }
    const last = { candidates: [{ index: 1, finishReason: 'MAX_TOKENS' }] }
    const events = read({ candidates: [one, zero] }, last)
    expect(events.slice(-2)).toMatchObject([
      { choice: 0, reason: 'stop' },
      { choice: 1, reason: 'length' },
    ])
    expect(() => read({ candidates: [one, zero] })).toThrow(
      expect.objectContaining({ code: 'upstream_broken' }),
    )
  })

  test('has an error within it as a failure, and nothing after', () => {
    const error = { code: 503, message: 'busy', status: 'UNAVAILABLE' }
    expect(
      read(chunk([{ text: 'a' }]), { error }, chunk([{ text: 'b' }], 'STOP')).slice(2),
    ).toEqual([
      {
        type: 'failure',
        failure: { class: 'overloaded', status: 503, retryAfterSeconds: null, message: null },
      },
    ])
    expect(() => whole({ error })).toThrow(
      expect.objectContaining({
        name: 'ProviderError',
        failure: expect.objectContaining({ class: 'overloaded' }),
      }),
    )
  })

  test('has probabilities with the text', () => {
    const candidate = {
      content: { parts: [{ text: 'hi' }] },
      finishReason: 'STOP',
      logprobsResult: {
        chosenCandidates: [{ token: 'hi', logProbability: -1 }],
        topCandidates: [{ candidates: [{ token: 'ho', logProbability: -2 }] }],
      },
    }
    const logprobs = [
      { token: 'hi', logprob: -1, bytes: null, top: [{ token: 'ho', logprob: -2, bytes: null }] },
    ]
    expect(read({ candidates: [candidate] })[1]).toEqual({
      type: 'text',
      choice: 0,
      text: 'hi',
      logprobs,
    })
    expect(whole({ candidates: [candidate] }).choices[0]?.logprobs).toEqual(logprobs)
  })
})

describe('arguments that come in pieces', () => {
  const argumentsOf = (...parts: readonly unknown[]): unknown =>
    callsOf(read(chunk([begin, ...parts, { functionCall: {} }], 'STOP')))[0]?.input

  test.each([
    ['nothing', [], {}],
    [
      'texts that go on',
      [piece('$.a', { stringValue: 'x', willContinue: true }), piece('$.a', { stringValue: 'y' })],
      { a: 'xy' },
    ],
    [
      'texts that do not',
      [piece('$.a', { stringValue: 'x' }), piece('$.a', { stringValue: 'y' })],
      { a: 'y' },
    ],
    [
      'numbers and truths',
      [
        piece('$.n', { numberValue: 1.5 }),
        piece('$.t', { boolValue: false }),
        piece('$.z', { nullValue: 'NULL_VALUE' }),
      ],
      { n: 1.5, t: false, z: null },
    ],
    [
      'lists',
      [piece('$.l[0]', { numberValue: 1 }), piece('$.l[1].a', { numberValue: 2 })],
      { l: [1, { a: 2 }] },
    ],
    [
      'quoted names',
      [piece("$['a b'].c", { numberValue: 1 }), piece('$["it\'s"]', { numberValue: 2 })],
      { 'a b': { c: 1 }, "it's": 2 },
    ],
  ])('are put together: %s', (_, parts, wanted) => {
    expect(argumentsOf(...parts)).toEqual(wanted)
  })

  test('may name a member __proto__', () => {
    const parts = [piece('$.__proto__.x', { numberValue: 1 }), { functionCall: {} }]
    const events = read(chunk([begin, ...parts], 'STOP'))
    const written = events.find((event) => event.type === 'tool_arguments')
    expect(written).toMatchObject({ text: '{"__proto__":{"x":1}}' })
  })

  test.each([
    ['a list with a gap', [piece('$.l[1]', { numberValue: 1 })]],
    [
      'a text that is a list',
      [piece('$.a', { stringValue: 'x' }), piece('$.a[0]', { stringValue: 'x' })],
    ],
    [
      'a list that is an object',
      [piece('$.a[0]', { stringValue: 'x' }), piece('$.a.b', { stringValue: 'x' })],
    ],
    [
      'an object that is a text',
      [piece('$.a.b', { stringValue: 'x' }), piece('$.a', { stringValue: 'x' })],
    ],
    ['no path', [piece('$', { stringValue: 'x' })]],
    ['a path that is none', [piece('$.a[x]', { stringValue: 'x' })]],
    ['a path that does not begin at the root', [piece('x.a', { stringValue: 'x' })]],
    ['a path that is deep', [piece(`$${'.a'.repeat(33)}`, { stringValue: 'x' })]],
  ])('are refused: %s', (_, parts) => {
    expect(() => argumentsOf(...parts)).toThrow(malformed)
  })

  test('are refused where no call began', () => {
    expect(() => read(chunk([piece('$.a', { stringValue: 'x' })], 'STOP'))).toThrow(malformed)
  })

  test('are refused where they are very long', () => {
    const long = { stringValue: 'x'.repeat(3 << 20), willContinue: true }
    const decoder = gemini.stream(target(MODEL))
    decoder.push(sse(chunk([begin])))
    decoder.push(sse(chunk([piece('$.a', long)])))
    decoder.push(sse(chunk([piece('$.a', long)])))
    expect(() => decoder.push(sse(chunk([piece('$.a', long)])))).toThrow(malformed)
  })
})

describe('a stream that is none of Gemini’s', () => {
  test.each([
    ['a frame that is no object', [1]],
    ['a frame that is no JSON', undefined],
    ['a candidate of a high number', chunk([{ text: 'a' }], 'STOP', 64)],
  ])('is refused with %s', (_, value) => {
    const decoder = gemini.stream(target(MODEL))
    expect(() => decoder.push(sse(value))).toThrow(malformed)
  })
})

describe('a whole answer of Gemini', () => {
  test.each([
    ['nothing', '{}'],
    ['a candidate that did not finish', JSON.stringify(chunk([{ text: 'a' }]))],
    ['no object', '[]'],
    ['half of it', '{"candidates":['],
    ['bytes that are no text', '\u00ff'],
  ])('is refused with %s', (_, body) => {
    expect(() => gemini.decode(Buffer.from(body, 'latin1'), target(MODEL))).toThrow(malformed)
  })

  test('has a thought, its text and a call as parts', () => {
    const parts = [
      { text: 'a', thought: true },
      { text: 'b' },
      { text: 'c' },
      { functionCall: { name: 'f', args: { x: [1] } }, thoughtSignature: 'S' },
    ]
    expect(whole({ ...chunk(parts, 'STOP'), responseId: 'r', modelVersion: 'v' })).toEqual({
      id: 'r',
      model: 'v',
      created: 1_700_000_000,
      choices: [
        {
          index: 0,
          parts: [
            { type: 'reasoning', text: 'a', signature: null, encrypted: null, id: null },
            { type: 'text', text: 'bc' },
            {
              type: 'tool_call',
              id: `call_${'01'.repeat(12)}`,
              name: 'f',
              arguments: '{"x":[1]}',
              signature: 'S',
            },
          ],
          finish: 'tool_calls',
          stopSequence: null,
          logprobs: null,
        },
      ],
      usage: null,
    })
  })

  test('has text of a stream and of a whole answer alike', () => {
    const value = chunk([{ text: 'a' }, { text: 'b' }], 'STOP')
    expect(textOf(read(value), 'text')).toBe('ab')
    expect(whole(value).choices[0]?.parts).toEqual([{ type: 'text', text: 'ab' }])
  })
})

describe('a failure of Gemini', () => {
  const details = (...list: readonly object[]) => ({ details: list })
  test.each<[number, string, string, object, string]>([
    [400, 'INVALID_ARGUMENT', 'bad field', {}, 'bad_request'],
    [400, 'INVALID_ARGUMENT', 'API key not valid. Please pass a valid API key.', {}, 'auth'],
    [400, 'INVALID_ARGUMENT', 'x', details({ reason: 'API_KEY_INVALID' }), 'auth'],
    [
      400,
      'INVALID_ARGUMENT',
      'The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).',
      {},
      'context_length',
    ],
    [400, 'FAILED_PRECONDITION', 'enable billing', {}, 'quota'],
    [400, 'FAILED_PRECONDITION', 'User location is not supported', {}, 'bad_request'],
    [401, 'UNAUTHENTICATED', 'x', {}, 'auth'],
    [403, 'PERMISSION_DENIED', 'x', {}, 'auth'],
    [404, 'NOT_FOUND', 'x', {}, 'not_found'],
    [429, 'RESOURCE_EXHAUSTED', 'x', {}, 'rate_limit'],
    [
      429,
      'RESOURCE_EXHAUSTED',
      'x',
      details({ violations: [{ quotaId: 'GenerateRequestsPerDay' }] }),
      'quota',
    ],
    [500, 'INTERNAL', 'x', {}, 'server'],
    [503, 'UNAVAILABLE', 'x', {}, 'overloaded'],
    [504, 'DEADLINE_EXCEEDED', 'x', {}, 'server'],
    [418, '__proto__', 'x', {}, 'bad_request'],
  ])('%i %s %s', (...row) => {
    const [status, name, message, more, kind] = row
    const error = { code: status, message, status: name, ...more }
    const told = ['bad_request', 'context_length'].includes(kind) ? message : null
    const wanted = { class: kind, status, retryAfterSeconds: null, message: told }
    expect(gemini.classify(status, {}, Buffer.from(JSON.stringify({ error })))).toEqual(wanted)
    // The OpenAI-compatible surface.
    expect(gemini.classify(status, {}, Buffer.from(JSON.stringify([{ error }])))).toEqual(wanted)
  })

  test.each([
    ['34.4s', 35],
    ['0s', 0],
    ['-1s', 9],
    ['1e9s', 9],
    ['999999s', 9],
    [5, 9],
  ])('that says %s, or a header of 9', (retryDelay, wanted) => {
    const body = Buffer.from(JSON.stringify({ error: { details: [{ retryDelay }] } }))
    expect(gemini.classify(429, { 'retry-after': '9' }, body).retryAfterSeconds).toBe(wanted)
  })

  test('tells at most 1000 characters', () => {
    const body = Buffer.from(JSON.stringify({ error: { message: 'x'.repeat(5000) } }))
    expect(gemini.classify(400, {}, body).message).toHaveLength(1000)
  })
})
