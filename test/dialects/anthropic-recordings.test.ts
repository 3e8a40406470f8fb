import { describe, expect, test } from 'vitest'
import { anthropicMessages } from '../../src/dialects/anthropic/client.ts'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import type { CanonicalEvent } from '../../src/dialects/canonical.ts'
import { GatewayError } from '../../src/errors.ts'
import {
  exchanges,
  hasTraffic,
  messages,
  streams,
  target,
  textPayloads,
} from './anthropic-recordings.ts'
import { decodeIn, joined } from './decoding.ts'

interface Meaning {
  text: string
  thinking: string
  signatures: string[]
  redacted: string[]
  calls: { id: string; name: string; input: unknown }[]
  usage: Record<string, number>
}

interface RawBlock {
  type: string
  text: string
  thinking: string
  signature: string
  data: string
  id: string
  name: string
  input: unknown
}
interface RawUsage {
  input_tokens?: number
  cache_read_input_tokens?: number
  cache_creation_input_tokens?: number
  output_tokens?: number
}

const blocksMeaning = (content: readonly RawBlock[], usage: RawUsage): Meaning => {
  const of = (type: string) => content.filter((block) => block.type === type)
  return {
    text: of('text')
      .map((block) => block.text)
      .join(''),
    thinking: of('thinking')
      .map((block) => block.thinking)
      .join(''),
    signatures: of('thinking').map((block) => block.signature),
    redacted: of('redacted_thinking').map((block) => block.data),
    calls: of('tool_use').map(({ id, name, input }) => ({ id, name, input })),
    usage: {
      input: usage.input_tokens ?? 0,
      cacheRead: usage.cache_read_input_tokens ?? 0,
      cacheWrite: usage.cache_creation_input_tokens ?? 0,
      output: usage.output_tokens ?? 0,
    },
  }
}

const isCounted = (event: CanonicalEvent): event is Extract<CanonicalEvent, { type: 'usage' }> =>
  event.type === 'usage'

function eventsMeaning(events: readonly CanonicalEvent[]): Meaning {
  const all = <T extends CanonicalEvent['type']>(type: T) =>
    events.filter((event): event is Extract<CanonicalEvent, { type: T }> => event.type === type)
  const usage = events.findLast(isCounted)?.usage
  return {
    text: all('text')
      .map(({ text }) => text)
      .join(''),
    thinking: all('reasoning')
      .map(({ text }) => text)
      .join(''),
    signatures: all('reasoning_proof').flatMap(({ signature }) => signature ?? []),
    redacted: all('reasoning_proof').flatMap(({ encrypted }) => encrypted ?? []),
    calls: all('tool_call').map(({ id, name, call }) => ({
      id,
      name,
      input: JSON.parse(
        all('tool_arguments')
          .filter((each) => each.call === call)
          .map(({ text }) => text)
          .join(''),
      ),
    })),
    usage: {
      input: usage?.uncachedInput ?? -1,
      cacheRead: usage?.cacheRead ?? -1,
      cacheWrite: usage?.cacheWrite ?? -1,
      output: (usage?.output ?? -1) + (usage?.reasoning ?? 0),
    },
  }
}

/** Reads a raw stream by itself: blocks by index, inputs parsed from their fragments. */
function rawMeaning(body: Buffer): Meaning {
  const blocks = new Map<number, RawBlock & { json: string }>()
  const usage: RawUsage = {}
  for (const event of textPayloads(body)) {
    const raw: {
      type: string
      index: number
      content_block: RawBlock
      delta: Record<string, string>
      usage?: RawUsage
      message?: { usage: RawUsage }
    } = JSON.parse(JSON.stringify(event))
    Object.assign(usage, raw.message?.usage, raw.usage)
    if (raw.type === 'content_block_start') {
      blocks.set(raw.index, { ...raw.content_block, json: '' })
    }
    const block = blocks.get(raw.index)
    if (raw.type === 'content_block_delta' && block !== undefined) {
      block.text += raw.delta['text'] ?? ''
      block.thinking += raw.delta['thinking'] ?? ''
      block.signature = raw.delta['signature'] ?? block.signature
      block.json += raw.delta['partial_json'] ?? ''
    }
  }
  const content = Array.from(blocks.values(), ({ json, ...block }) => ({
    ...block,
    input: json === '' ? block.input : JSON.parse(json),
  }))
  return blocksMeaning(content, usage)
}

const SPLICED = /spliced-message-start/

describe.skipIf(!hasTraffic)('recorded answers', () => {
  test('there are recordings', () => {
    expect(messages.length).toBeGreaterThanOrEqual(45)
    expect(streams.length).toBeGreaterThanOrEqual(50)
  })

  test.each(messages)('$name', ({ body }) => {
    const raw: { content: RawBlock[]; usage: RawUsage; stop_reason: string } = JSON.parse(
      body.toString('utf8'),
    )
    const answer = anthropic.decode(body, target)
    const [choice] = answer.choices
    const parts = choice?.parts ?? []
    const reasoning = parts.filter((part) => part.type === 'reasoning')
    const counted = answer.usage
    expect({
      text: parts.map((part) => (part.type === 'text' ? part.text : '')).join(''),
      thinking: reasoning.map((part) => part.text).join(''),
      signatures: reasoning.flatMap((part) => part.signature ?? []),
      redacted: reasoning.flatMap((part) => part.encrypted ?? []),
      calls: parts.flatMap((part) =>
        part.type === 'tool_call'
          ? [{ id: part.id, name: part.name, input: JSON.parse(part.arguments) }]
          : [],
      ),
      usage: {
        input: counted?.uncachedInput,
        cacheRead: counted?.cacheRead,
        cacheWrite: counted?.cacheWrite,
        output: (counted?.output ?? 0) + (counted?.reasoning ?? 0),
      },
    }).toEqual(blocksMeaning(raw.content, raw.usage))
    expect(choice?.finish === 'tool_calls').toBe(raw.stop_reason === 'tool_use')
  })

  test.each(messages)('$name comes out of the encoder as it went in', ({ body }) => {
    const raw: { content: RawBlock[]; stop_reason: string } = JSON.parse(body.toString('utf8'))
    const request = anthropicMessages.decode({ model: 'm', max_tokens: 1, messages: [] })
    const again: { content: RawBlock[]; stop_reason: string } = JSON.parse(
      anthropicMessages.encode(anthropic.decode(body, target), request).toString('utf8'),
    )
    const known = ['thinking', 'redacted_thinking', 'text', 'tool_use']
    const plain = (block: RawBlock) =>
      Object.fromEntries(
        Object.entries(block).filter(([name]) => name !== 'citations' && name !== 'caller'),
      )
    expect(again.stop_reason).toBe(raw.stop_reason)
    expect(again.content.slice(0, raw.content.length).map(plain)).toEqual(
      raw.content.filter(({ type }) => known.includes(type)).map(plain),
    )
  })
})

describe.skipIf(!hasTraffic)('recorded streams', () => {
  const whole = streams.filter(({ name }) => !SPLICED.test(name))

  test.each(whole)('$name', ({ body }) => {
    const events = decodeIn(anthropic.stream(target), [body])
    expect(eventsMeaning(events)).toEqual(rawMeaning(body))
    expect(events.filter(({ type }) => type === 'start')).toHaveLength(1)
    expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1)
  })

  test.each(streams)('$name cut anywhere', ({ body }) => {
    const expected = joined(decodeIn(anthropic.stream(target), [body]))
    const bytes = Array.from(body, (_byte, at) => body.subarray(at, at + 1))
    expect(joined(decodeIn(anthropic.stream(target), bytes)), 'byte by byte').toEqual(expected)
    const step = body.length > 3000 ? Math.floor(body.length / 200) : 1
    for (let at = 1; at < body.length; at += step) {
      const events = decodeIn(anthropic.stream(target), [body.subarray(0, at), body.subarray(at)])
      expect(joined(events), `cut at ${at}`).toEqual(expected)
    }
  })

  test.each(whole)('$name that ends before its end is broken', ({ body }) => {
    const stop = body.lastIndexOf('event: message_stop')
    for (const share of [0, 0.2, 0.5, 0.9, 1]) {
      const decoder = anthropic.stream(target)
      decoder.push(body.subarray(0, Math.floor(stop * share)))
      expect(() => decoder.end()).toThrow(new GatewayError('upstream_broken'))
    }
  })

  test('a message begun anew after content fails, and is never two answers', () => {
    for (const { body } of streams.filter(({ name }) => SPLICED.test(name))) {
      const events = decodeIn(anthropic.stream(target), [body])
      expect(events.at(-1)).toMatchObject({ type: 'failure', failure: { class: 'server' } })
      expect(events.filter(({ type }) => type === 'tool_call')).toHaveLength(1)
      expect(events.filter(({ type }) => type === 'finish')).toHaveLength(0)
    }
  })
})

describe.skipIf(!hasTraffic)('recorded errors', () => {
  const errors = exchanges.filter(({ status }) => status !== 200)
  test('there are some', () => {
    expect(errors.length).toBe(4)
  })

  test.each(errors)('$name', ({ status, headers, body }) => {
    const failure = anthropic.classify(status, headers, body)
    const raw: { message?: string; error?: { message: string } } = JSON.parse(body.toString('utf8'))
    expect(failure).toEqual({
      class: status === 404 ? 'not_found' : 'bad_request',
      status,
      retryAfterSeconds: null,
      message: status === 404 ? null : (raw.error?.message ?? raw.message),
    })
  })
})
