import { describe, expect, test } from 'vitest'
import type { CanonicalAnswer, CanonicalEvent } from '../../src/dialects/canonical.ts'
import { gemini } from '../../src/dialects/gemini/dialect.ts'
import { hasVectors } from '../support/vectors.ts'
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

const MODEL = 'gemini-any'

const generated = recordings('gemini', 'enerateContent')
const other = bodies('_vercel-ai/gemini', '.json').filter(({ body }) =>
  has(parse(body), 'candidates'),
)
const whole = [
  ...generated.filter(({ status, kind }) => status === 200 && kind === 'json'),
  ...other,
]
const framed = bodies('_vercel-ai/gemini', '.chunks.txt').map(({ name, body }) => ({
  name,
  body: Buffer.from(
    lines(body)
      .map((line) => `data: ${line}\n\n`)
      .join(''),
  ),
}))
const streams = [
  ...generated.filter(({ status, kind }) => status === 200 && kind === 'sse'),
  ...framed,
]
const failures = recordings('gemini', '').filter(({ status }) => status >= 400)

const FINISH: Record<string, string> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  MODEL_ARMOR: 'content_filter',
  SAFETY: 'content_filter',
  MALFORMED_FUNCTION_CALL: 'error',
  UNEXPECTED_TOOL_CALL: 'error',
}

/** Sets what a path such as `$.a[0].b` names. */
function assign(root: object, path: string, value: unknown): void {
  const steps = [...path.matchAll(/[^$.[\]]+/g)].map(([step]) => step)
  let at = root
  for (const [index, step] of steps.slice(0, -1).entries()) {
    if (!Reflect.has(at, step)) Reflect.set(at, step, /^\d/.test(steps[index + 1] ?? '') ? [] : {})
    at = Reflect.get(at, step)
  }
  const last = steps.at(-1) ?? ''
  const before: unknown = Reflect.get(at, last)
  const joins = typeof before === 'string' && typeof value === 'string'
  Reflect.set(at, last, joins ? before + value : value)
}

function expectedCalls(parts: readonly unknown[]): { name: string; input: object }[] {
  const calls: { name: string; input: object }[] = []
  for (const part of parts) {
    const name = text(part, 'functionCall', 'name')
    const args = pick(part, 'functionCall', 'args')
    const input = typeof args === 'object' && args !== null ? structuredClone(args) : {}
    if (name !== '') calls.push({ name, input })
    for (const piece of items(part, 'functionCall', 'partialArgs')) {
      const value = pick(piece, 'stringValue') ?? pick(piece, 'numberValue')
      assign(calls.at(-1)?.input ?? {}, text(piece, 'jsonPath'), value)
    }
  }
  return calls
}

/** What the provider's own chunks say, read by other means. */
function expected(chunks: readonly unknown[]) {
  const parts = chunks.flatMap((chunk) => items(chunk, 'candidates', 0, 'content', 'parts'))
  const texts = parts.filter((part) => has(part, 'text'))
  const calls = expectedCalls(parts)
  const reasons = chunks.map((chunk) => text(chunk, 'candidates', 0, 'finishReason'))
  const reason = reasons.findLast((one) => one !== '') ?? ''
  const finish =
    reason === ''
      ? 'content_filter'
      : reason === 'STOP' && calls.length > 0
        ? 'tool_calls'
        : FINISH[reason]
  const usage = chunks.map((chunk) => pick(chunk, 'usageMetadata'))
  return {
    text: texts
      .filter((part) => !has(part, 'thought'))
      .map((part) => text(part, 'text'))
      .join(''),
    thought: texts
      .filter((part) => has(part, 'thought'))
      .map((part) => text(part, 'text'))
      .join(''),
    calls,
    finish,
    signatures: parts.map((part) => text(part, 'thoughtSignature')).filter((one) => one !== ''),
    total: usage.findLast((one) => has(one, 'promptTokenCount')),
  }
}

function expectUsage(usage: CanonicalAnswer['usage'], total: unknown): void {
  const { uncachedInput = 0, cacheRead = 0, output = 0, reasoning = 0 } = usage ?? {}
  expect(uncachedInput + cacheRead + output + reasoning).toBe(number(total, 'totalTokenCount'))
  expect(cacheRead).toBe(number(total, 'cachedContentTokenCount'))
  expect(output).toBe(number(total, 'candidatesTokenCount'))
  expect(reasoning).toBe(number(total, 'thoughtsTokenCount'))
}

const proofs = (events: readonly CanonicalEvent[]): string[] =>
  events.flatMap((event) => {
    if (event.type === 'tool_call' && event.signature !== null) return [event.signature]
    if (event.type !== 'reasoning_proof') return []
    return [event.signature ?? event.encrypted ?? '']
  })

describe.skipIf(!hasVectors)('recorded answers of Gemini', () => {
  test('are there', () => {
    expect(whole.length).toBeGreaterThan(30)
    expect(streams.length).toBeGreaterThan(15)
    expect(failures.length).toBeGreaterThan(2)
  })

  test.each(whole)('$name: whole', ({ body }) => {
    const answer = gemini.decode(body, target(MODEL))
    const wanted = expected([parse(body)])
    const parts = answer.choices[0]?.parts ?? []
    const calls = parts.filter((part) => part.type === 'tool_call')
    expect(answer.choices).toHaveLength(1)
    expect(parts.map((part) => (part.type === 'text' ? part.text : '')).join('')).toBe(wanted.text)
    expect(parts.map((part) => (part.type === 'reasoning' ? part.text : '')).join('')).toBe(
      wanted.thought,
    )
    expect(calls.map(({ name, arguments: input }) => ({ name, input: parse(input) }))).toEqual(
      wanted.calls,
    )
    expect(answer.choices[0]?.finish).toBe(wanted.finish)
    expectUsage(answer.usage, wanted.total)
    expect(answer.model).toBe(text(parse(body), 'modelVersion'))
  })

  test.each(streams)('$name: streamed', ({ body }) => {
    const events = decodeIn(gemini.stream(target(MODEL)), [body])
    const frames = lines(body).map((line) => line.trim().replace(/^data: /, ''))
    const wanted = expected(frames.map(parse))
    expect(events[0]?.type).toBe('start')
    expect(textOf(events, 'text')).toBe(wanted.text)
    expect(textOf(events, 'reasoning')).toBe(wanted.thought)
    expect(callsOf(events)).toEqual(wanted.calls)
    expect(events.at(-1)).toMatchObject({ type: 'finish', reason: wanted.finish })
    expect(proofs(events)).toEqual(wanted.signatures)
    expectUsage(usageOf(events), wanted.total)
  })

  test.each(streams)('$name: cut anywhere', ({ body }) => {
    expect(readings(() => gemini.stream(target(MODEL)), body).size).toBe(1)
  })

  test.each(streams)('$name: broken off', ({ body }) => {
    const reason = body.lastIndexOf('"finishReason"')
    const end = body.indexOf('\n', reason)
    for (let at = 0; at < end - 1; at += Math.max(1, Math.floor(end / 300))) {
      const decoder = gemini.stream(target(MODEL))
      decoder.push(body.subarray(0, at))
      expect(() => decoder.end(), `cut at ${at}`).toThrow(
        expect.objectContaining({ code: 'upstream_broken' }),
      )
    }
  })

  test.each(failures)('$name: $status', ({ status, body }) => {
    const failure = gemini.classify(status, {}, body)
    expect(failure.status).toBe(status)
    expect(failure.class).toBe(status === 404 ? 'not_found' : 'bad_request')
    expect(failure.message).toBe(status === 404 ? null : text(parse(body), 'error', 'message'))
  })

  test('a quota that says when to come back', () => {
    const [limited] = bodies('_vercel-ai/gemini', '429-retry-info.json')
    expect(gemini.classify(429, {}, limited?.body ?? Buffer.alloc(0))).toEqual({
      class: 'rate_limit',
      status: 429,
      retryAfterSeconds: 35,
      message: null,
    })
  })
})
