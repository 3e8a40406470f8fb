import type { JsonValue } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { anthropicMessages } from '../../src/dialects/anthropic/client.ts'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import { GatewayError } from '../../src/errors.ts'
import type { AssistantPart, CanonicalEvent } from '../../src/dialects/canonical.ts'
import { exchanges, hasTraffic, target } from './anthropic-recordings.ts'
import { decodeIn, joined } from './decoding.ts'

type Members = Record<string, JsonValue>

const isList = (value: unknown): value is JsonValue[] => Array.isArray(value)
const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !isList(value)

/**
 * The ways of saying one thing that a request may lose in being read and written: a string for one block of text,
 * a lifetime of 5 minutes, `false` where it is the default, two turns of one side for one.
 */
function normal(value: JsonValue): JsonValue {
  if (isList(value)) return value.map(normal)
  if (!isMembers(value)) return value
  const entries = Object.entries(value).map(([name, each]): [string, JsonValue] => {
    const isContent = name === 'content' || name === 'system'
    if (isContent && typeof each === 'string') return [name, [{ type: 'text', text: each }]]
    return [name, normal(each)]
  })
  const said = entries.filter(
    ([name, each]) =>
      !((name === 'is_error' || name === 'stream') && each === false) &&
      !(name === 'ttl' && each === '5m'),
  )
  return Object.fromEntries(said)
}

/** Turns of one side become one. */
function mergedTurns(messages: JsonValue | undefined): Members[] {
  const merged: Members[] = []
  for (const turn of isList(messages) ? messages.filter(isMembers) : []) {
    const last = merged.at(-1)
    const content = normal({ content: turn['content'] ?? null })
    const blocks = isMembers(content) && isList(content['content']) ? content['content'] : []
    if (last?.['role'] !== turn['role'])
      merged.push({ role: turn['role'] ?? null, content: blocks })
    else merged.splice(-1, 1, { ...last, content: [...listed(last?.['content']), ...blocks] })
  }
  return merged
}
const listed = (value: JsonValue | undefined): JsonValue[] => (isList(value) ? value : [])

const parsed = (body: Buffer): Members => JSON.parse(body.toString('utf8'))
const modelOf = (request: Members): string => String(request['model'])

const isServerTool = (request: Members): boolean => {
  const { tools } = request
  return isList(tools) && tools.some((tool) => isMembers(tool) && tool['type'] !== undefined)
}

const asked = exchanges.map(({ name, url, request }) => ({ name, url, request: parsed(request) }))
const whole = asked.filter(({ url }) => !/count.tokens/.test(url))
const readable = whole.filter(({ request }) => !isServerTool(request))

describe.skipIf(!hasTraffic)('recorded requests', () => {
  test('there are recordings', () => {
    expect(readable.length).toBeGreaterThanOrEqual(50)
  })

  test.each(readable)('$name is written as it was read', ({ request }) => {
    const canonical = anthropicMessages.decode(request)
    const encoded = anthropic.encode(canonical, { ...target, model: modelOf(request) })
    expect(encoded.path).toBe('/messages')
    expect(encoded.headers).toEqual({ 'anthropic-version': '2023-06-01' })
    const { messages, ...others } = request
    const { messages: written, ...othersWritten } = parsed(encoded.body)
    expect(normal(othersWritten)).toEqual(normal(others))
    expect(mergedTurns(written)).toEqual(mergedTurns(messages))
  })

  test.each(whole.filter(({ request }) => isServerTool(request)))(
    '$name asks for a tool that only Anthropic runs',
    ({ request }) => {
      expect(() => anthropicMessages.decode(request)).toThrow(
        new GatewayError('request_not_supported'),
      )
    },
  )
})

/** A proof belongs to the readable thought before it, or stands alone. */
function proven(
  parts: readonly AssistantPart[],
  event: Extract<CanonicalEvent, { type: 'reasoning_proof' }>,
): AssistantPart[] {
  const { signature, encrypted, id } = event
  const last = parts.at(-1)
  const joins = last?.type === 'reasoning' && encrypted === null
  const part = {
    type: 'reasoning',
    text: joins ? last.text : '',
    signature,
    encrypted,
    id,
  } as const
  return [...(joins ? parts.slice(0, -1) : parts), part]
}

const argued = (parts: readonly AssistantPart[], text: string): readonly AssistantPart[] => {
  const last = parts.at(-1)
  return last?.type === 'tool_call'
    ? [...parts.slice(0, -1), { ...last, arguments: last.arguments + text }]
    : parts
}

/** What comes of the parts so far with one event more. */
function grown(parts: readonly AssistantPart[], event: CanonicalEvent): readonly AssistantPart[] {
  switch (event.type) {
    case 'text':
      return [...parts, { type: 'text', text: event.text }]
    case 'reasoning': {
      const { text } = event
      return [...parts, { type: 'reasoning', text, signature: null, encrypted: null, id: null }]
    }
    case 'reasoning_proof':
      return proven(parts, event)
    case 'tool_call': {
      const { id, name, signature } = event
      return [...parts, { type: 'tool_call', id, name, arguments: '', signature }]
    }
    case 'tool_arguments':
      return argued(parts, event.text)
    case 'start':
    case 'refusal':
    case 'finish':
    case 'usage':
    case 'failure':
      return parts
  }
}

/** A streamed answer as the client keeps it for the next turn. */
function partsOf(events: readonly CanonicalEvent[]): readonly AssistantPart[] {
  let parts: readonly AssistantPart[] = []
  for (const event of joined(events)) parts = grown(parts, event)
  return parts
}

const pairs = exchanges.flatMap((first) => {
  const second = exchanges.find(
    (each) => each.name.split('.')[0] === first.name.split('.')[0] && each.name.includes('.1.'),
  )
  return second !== undefined && first.name.includes('.0.')
    ? [{ name: first.name, answer: first.body, next: parsed(second.request) }]
    : []
})

describe.skipIf(!hasTraffic)('an answer that goes back in the next turn', () => {
  test('there are recordings', () => {
    expect(pairs.length).toBeGreaterThanOrEqual(8)
  })

  // By way of the canonical parts alone, as through a client of another dialect.
  test.each(pairs)('$name', ({ name, answer, next }) => {
    const parts = name.endsWith('.sse')
      ? partsOf(decodeIn(anthropic.stream(target), [answer]))
      : (anthropic.decode(answer, target).choices[0]?.parts ?? [])
    const { dialect: _, ...request } = anthropicMessages.decode({ ...next, messages: [] })
    const { body } = anthropic.encode(
      { ...request, messages: [{ role: 'assistant', parts }] },
      target,
    )
    const [again] = mergedTurns(parsed(body)['messages'])
    const sent = mergedTurns(next['messages']).filter(({ role }) => role === 'assistant')
    // One client puts a blank text before calls without words.
    const said = sent.map((turn) => ({
      ...turn,
      content: listed(turn['content']).filter(
        (block) => !(isMembers(block) && block['text'] === ' '),
      ),
    }))
    expect(said.map(normal)).toContainEqual(again)
  })
})
