import type { JsonValue } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { anthropicMessages } from '../../src/dialects/anthropic/client.ts'
import { decodeCountTokens } from '../../src/dialects/anthropic/client-request.ts'
import { anthropic } from '../../src/dialects/anthropic/provider.ts'
import { encodeCountTokens } from '../../src/dialects/anthropic/request.ts'
import { GatewayError } from '../../src/errors.ts'
import { exchanges, hasTraffic, target } from './anthropic-recordings.ts'

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
function mergedTurns(messages: JsonValue | undefined): JsonValue[] {
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

  test.each(asked.filter(({ url }) => /count_tokens/.test(url)))(
    '$name counts as it was asked to',
    ({ request }) => {
      const canonical = decodeCountTokens(request)
      const encoded = encodeCountTokens(canonical, { ...target, model: modelOf(request) })
      expect(encoded.path).toBe('/messages/count_tokens')
      expect(normal(parsed(encoded.body))).toEqual(normal(request))
    },
  )

  test.each(readable)('$name counts without what concerns the answer', ({ request }) => {
    const canonical = anthropicMessages.decode(request)
    const { body } = encodeCountTokens(canonical, { ...target, model: modelOf(request) })
    const counted = Object.keys(parsed(body))
    expect(counted).not.toContain('max_tokens')
    expect(counted).not.toContain('stream')
    expect(counted).not.toContain('metadata')
    expect(mergedTurns(parsed(body)['messages'])).toEqual(mergedTurns(request['messages']))
  })
})
