import { describe, expect, test } from 'vitest'
import type { CanonicalEvent, CanonicalUsage } from '../../src/dialects/canonical.ts'
import { bedrock } from '../../src/dialects/bedrock/dialect.ts'
import { EventStreamParser } from '../../src/dialects/bedrock/eventstream.ts'
import { hasVectors } from '../support/vectors.ts'
import { eventFrame, exceptionFrame } from './eventstream-frames.ts'
import {
  bodies,
  callsOf,
  has,
  items,
  lines,
  number,
  parse,
  pick,
  readings,
  recordings,
  text,
  textOf,
  usageOf,
} from './recordings.ts'
import { decodeIn, target } from './decoding.ts'

const MODEL = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'

const conversed = recordings('bedrock', '/converse')
const whole = [
  ...conversed.filter(({ status, kind }) => status === 200 && kind === 'json'),
  ...bodies('_vercel-ai/bedrock', '.json').filter(({ body }) => has(parse(body), 'output')),
]
const framed = bodies('_vercel-ai/bedrock', '.chunks.txt').map(({ name, body }) => ({
  name,
  body: Buffer.concat(
    lines(body).flatMap((line) => {
      const event = parse(line)
      const [type] = Object.keys(Object(event))
      return type === undefined ? [] : [eventFrame(type, pick(event, type))]
    }),
  ),
}))
const streams = [...conversed.filter(({ kind }) => kind === 'eventstream'), ...framed]
const failures = recordings('bedrock', 'bedrock-runtime').filter(({ status }) => status >= 400)

const FINISH: Record<string, string> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
}

const isServers = (toolUse: unknown): boolean => text(toolUse, 'type') === 'server_tool_use'

function expectUsage(usage: CanonicalUsage | null, said: unknown): void {
  expect(usage).toEqual(
    said === undefined
      ? null
      : {
          uncachedInput: number(said, 'inputTokens'),
          cacheRead: number(said, 'cacheReadInputTokens'),
          cacheWrite: number(said, 'cacheWriteInputTokens'),
          output: number(said, 'outputTokens'),
          reasoning: 0,
        },
  )
}

/** The payloads of a body with their event types; how frames are cut is tested elsewhere. */
const eventsOf = (body: Buffer): { type: string; payload: unknown }[] =>
  new EventStreamParser().push(body).map(({ headers, payload }) => ({
    type: headers.get(':event-type') ?? '',
    payload: parse(payload),
  }))

function expectedStream(body: Buffer) {
  const events = eventsOf(body)
  const deltas = events.filter(({ type }) => type === 'contentBlockDelta')
  const starts = events.filter(
    ({ type, payload }) => type === 'contentBlockStart' && has(payload, 'start', 'toolUse'),
  )
  const join = (...path: string[]) =>
    deltas.map(({ payload }) => text(payload, 'delta', ...path)).join('')
  const calls = starts
    .filter(({ payload }) => !isServers(pick(payload, 'start', 'toolUse')))
    .map(({ payload }) => {
      const block = pick(payload, 'contentBlockIndex')
      const input = deltas
        .filter((delta) => pick(delta.payload, 'contentBlockIndex') === block)
        .map((delta) => text(delta.payload, 'delta', 'toolUse', 'input'))
        .join('')
      return {
        name: text(payload, 'start', 'toolUse', 'name'),
        input: parse(input === '' ? '{}' : input),
      }
    })
  const stop = events.find(({ type }) => type === 'messageStop')
  const metadata = events.find(({ type }) => type === 'metadata')
  return {
    text: join('text'),
    thought: join('reasoningContent', 'text'),
    signatures: join('reasoningContent', 'signature'),
    redacted: join('reasoningContent', 'redactedContent'),
    calls,
    finish: FINISH[text(stop?.payload, 'stopReason')],
    usage: pick(metadata?.payload, 'usage'),
  }
}

const proof = (events: readonly CanonicalEvent[], name: 'signature' | 'encrypted'): string =>
  events.map((event) => (event.type === 'reasoning_proof' ? (event[name] ?? '') : '')).join('')

describe.skipIf(!hasVectors)('recorded answers of Bedrock', () => {
  test('are there', () => {
    expect(whole.length).toBeGreaterThan(30)
    expect(streams.length).toBeGreaterThan(18)
    expect(failures.length).toBeGreaterThan(4)
  })

  test.each(whole)('$name: whole', ({ body }) => {
    const raw = parse(body)
    const answer = bedrock.decode(body, target(MODEL))
    const blocks = items(raw, 'output', 'message', 'content')
    const parts = answer.choices[0]?.parts ?? []
    const said = blocks.map(
      (block) =>
        text(block, 'text') +
        items(block, 'citationsContent', 'content')
          .map((one) => text(one, 'text'))
          .join(''),
    )
    expect(parts.map((part) => (part.type === 'text' ? part.text : '')).join('')).toBe(
      said.join(''),
    )
    const thoughts = blocks.filter((block) => has(block, 'reasoningContent'))
    expect(parts.filter((part) => part.type === 'reasoning')).toEqual(
      thoughts.map((block) => ({
        type: 'reasoning',
        text: text(block, 'reasoningContent', 'reasoningText', 'text'),
        signature: pick(block, 'reasoningContent', 'reasoningText', 'signature') ?? null,
        encrypted: pick(block, 'reasoningContent', 'redactedContent') ?? null,
        id: null,
      })),
    )
    expect(
      parts
        .filter((part) => part.type === 'tool_call')
        .map(({ id, name, arguments: input }) => ({ id, name, input: parse(input) })),
    ).toEqual(
      blocks
        .filter((block) => has(block, 'toolUse') && !isServers(pick(block, 'toolUse')))
        .map((block) => ({
          id: text(block, 'toolUse', 'toolUseId'),
          name: text(block, 'toolUse', 'name'),
          input: pick(block, 'toolUse', 'input'),
        })),
    )
    expect(answer.choices[0]?.finish).toBe(FINISH[text(raw, 'stopReason')])
    expectUsage(answer.usage, pick(raw, 'usage'))
  })

  test.each(streams)('$name: streamed', ({ body }) => {
    const events = decodeIn(bedrock.stream(target(MODEL)), [body])
    const wanted = expectedStream(body)
    expect(events[0]?.type).toBe('start')
    expect(events.filter(({ type }) => type === 'start')).toHaveLength(1)
    expect(textOf(events, 'text')).toBe(wanted.text)
    expect(textOf(events, 'reasoning')).toBe(wanted.thought)
    expect(proof(events, 'signature')).toBe(wanted.signatures)
    expect(proof(events, 'encrypted')).toBe(wanted.redacted)
    expect(callsOf(events)).toEqual(wanted.calls)
    expect(events.filter(({ type }) => type === 'finish')).toEqual([
      { type: 'finish', choice: 0, reason: wanted.finish, stopSequence: null },
    ])
    expectUsage(usageOf(events), wanted.usage)
  })

  test.each(streams)('$name: cut anywhere', ({ body }) => {
    expect(readings(() => bedrock.stream(target(MODEL)), body).size).toBe(1)
  })

  test.each(streams)('$name: broken off', ({ body }) => {
    const stop = body.lastIndexOf('messageStop')
    const end = body.indexOf('}', body.indexOf('stopReason', stop))
    for (let at = 0; at < end; at += Math.max(1, Math.floor(end / 300))) {
      const decoder = bedrock.stream(target(MODEL))
      decoder.push(body.subarray(0, at))
      expect(() => decoder.end(), `cut at ${at}`).toThrow(
        expect.objectContaining({ code: 'upstream_broken' }),
      )
    }
  })

  test.each(failures)('$name: $status', ({ status, body }) => {
    const failure = bedrock.classify(status, {}, body)
    const unknown = text(parse(body), 'message').includes('identifier')
    expect(failure).toEqual({
      class: unknown ? 'not_found' : 'bad_request',
      status,
      retryAfterSeconds: null,
      message: unknown ? null : text(parse(body), 'message'),
    })
  })
})

const EXCEPTIONS = [
  ['internalServerException', 500, 'server'],
  ['modelStreamErrorException', 424, 'server'],
  ['validationException', 400, 'bad_request'],
  ['throttlingException', 429, 'rate_limit'],
  ['serviceUnavailableException', 503, 'overloaded'],
  ['modelTimeoutException', 408, 'server'],
  ['somethingNewException', 500, 'server'],
] as const

describe('an exception within a stream of Bedrock', () => {
  test.each(EXCEPTIONS)('%s is a failure and the end', (name, status, kind) => {
    const said = kind === 'bad_request' ? 'words' : null
    const body = Buffer.concat([
      eventFrame('messageStart', { role: 'assistant' }),
      exceptionFrame(name, 'words'),
      eventFrame('messageStop', { stopReason: 'end_turn' }),
    ])
    const events = decodeIn(bedrock.stream(target(MODEL)), [body])
    const failure = { class: kind, status, retryAfterSeconds: null, message: said }
    expect(events.slice(1)).toEqual([{ type: 'failure', failure }])
  })
})

describe('a failure of Bedrock', () => {
  test.each([
    [
      400,
      'ValidationException:http://internal',
      'Input is too long for requested model.',
      'context_length',
    ],
    [400, 'ValidationException', 'prompt is too long: 200001 tokens', 'context_length'],
    [403, 'AccessDeniedException', 'no', 'auth'],
    [403, 'UnrecognizedClientException', 'no', 'auth'],
    [403, 'ExpiredTokenException', 'no', 'auth'],
    [404, 'ResourceNotFoundException', 'no', 'not_found'],
    [408, 'ModelTimeoutException', 'no', 'server'],
    [424, 'ModelErrorException', 'no', 'server'],
    [429, 'ThrottlingException', 'Too many requests', 'rate_limit'],
    [429, 'ThrottlingException', 'Too many tokens per day, please wait', 'quota'],
    [400, 'ServiceQuotaExceededException', 'no', 'quota'],
    [500, 'InternalServerException', 'no', 'server'],
    [503, 'ServiceUnavailableException', 'no', 'overloaded'],
    [502, '', 'no', 'server'],
  ] as const)('%i %s %s', (status, name, message, kind) => {
    const body = Buffer.from(JSON.stringify({ message }))
    const failure = bedrock.classify(status, { 'x-amzn-errortype': name }, body)
    expect(failure).toMatchObject({ class: kind, status })
    expect(failure.message).toBe(kind === 'context_length' ? message : null)
  })

  test('may be named in the body', () => {
    const body = Buffer.from('{"__type":"com.amazon#ThrottlingException","Message":"x"}')
    expect(bedrock.classify(400, { 'retry-after': '7' }, body)).toEqual({
      class: 'rate_limit',
      status: 400,
      retryAfterSeconds: 7,
      message: null,
    })
  })
})
