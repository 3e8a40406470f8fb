import { describe, expect, test } from 'vitest'
import { hasVectors } from '../support/vectors.ts'
import { violations } from './openapi.ts'
import { exchanges, type Recording } from './traffic.ts'

/**
 * What OpenAI's own recorded answers violate of OpenAI's own description. Nothing that this gateway writes may: the tests of
 * the dialects hold it to the description without exception. A new departure here means that the judge has changed.
 */
const TOLERATED: Record<string, readonly string[]> = {
  CreateChatCompletionResponse: [
    // Newer models leave it out where none were asked for.
    '/choices/* required logprobs',
    '/system_fingerprint type string',
  ],
  CreateChatCompletionStreamResponse: ['/system_fingerprint type string'],
  Response: [
    // Old recordings, and some that were shortened by hand.
    '/ required temperature',
    '/ required tool_choice',
    '/ required tools',
    '/ required top_p',
    '/status enum',
    // `action` of web searches, and texts without `logprobs`.
    '/output/* oneOf',
    '/output/*/content/* oneOf',
    '/text/format oneOf',
    '/usage type object',
    '/usage/input_tokens_details required cache_write_tokens',
    '/user type string',
  ],
  ErrorResponse: [],
}

const isOpenAi = ({ url }: Recording): boolean => url.startsWith('https://api.openai.com/')
const recorded = [...exchanges('openai-chat'), ...exchanges('openai-responses')].filter(isOpenAi)
const good = recorded.filter(({ status, isStream }) => status === 200 && !isStream)

const found = (schema: string, values: readonly unknown[]): string[] =>
  [...new Set(values.flatMap((value) => violations(schema, value)))].toSorted()
const parsed = ({ body }: Recording): unknown => JSON.parse(body.toString())
const frames = ({ body }: Recording): unknown[] =>
  body
    .toString()
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line): unknown => JSON.parse(line.slice(6)))

describe.skipIf(!hasVectors)('departures of OpenAI from its own description', () => {
  test.each([
    [
      'CreateChatCompletionResponse',
      good.filter(({ url }) => url.endsWith('/chat/completions')).map(parsed),
    ],
    [
      'CreateChatCompletionStreamResponse',
      recorded
        .filter((one) => one.isStream && one.url.endsWith('/chat/completions'))
        .flatMap(frames),
    ],
    ['Response', good.filter(({ url }) => url.endsWith('/responses')).map(parsed)],
    ['ErrorResponse', recorded.filter(({ status }) => status >= 400).map(parsed)],
  ])('%s', (schema, values) => {
    expect(values.length).toBeGreaterThan(5)
    expect(found(schema, values)).toEqual(TOLERATED[schema]?.toSorted())
  })
})
