import { describe, expect, test } from 'vitest'
import type {
  AssistantPart,
  CanonicalRequest,
  JsonObject,
  Message,
  ToolResult,
  UserPart,
} from '../../src/dialects/canonical.ts'
import { gemini } from '../../src/dialects/gemini/dialect.ts'
import { geminiSchema } from '../../src/dialects/gemini/schema.ts'
import { hasVectors } from '../support/vectors.ts'
import { asking, has, items, parse, pick, recordings, text, user } from './recordings.ts'
import { target } from './decoding.ts'

const encode = (request: CanonicalRequest, model = 'gemini-2.5-flash'): unknown =>
  parse(gemini.encode(request, target(model)).body)

const refused = expect.objectContaining({ code: 'request_not_supported' })

/** Members in one spelling, of both that Google's own libraries send. */
function camel(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camel)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [
      name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      ['args', 'response', 'properties', 'responseJsonSchema'].includes(name) ? one : camel(one),
    ]),
  )
}

const numberOrNull = (value: unknown): number | null => (typeof value === 'number' ? value : null)
const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null)
const object = (value: unknown): JsonObject => JSON.parse(JSON.stringify(value ?? {}))

function userPart(part: unknown): UserPart {
  if (!has(part, 'fileData')) return { type: 'text', text: text(part, 'text') }
  const url = text(part, 'fileData', 'fileUri')
  return { type: 'image', source: { kind: 'url', url }, detail: null }
}

function assistantPart(part: unknown): AssistantPart {
  const call = pick(part, 'functionCall')
  if (call === undefined) return { type: 'text', text: text(part, 'text') }
  return {
    type: 'tool_call',
    id: text(call, 'id'),
    name: text(call, 'name'),
    arguments: JSON.stringify(pick(call, 'args')),
    signature: textOrNull(pick(part, 'thoughtSignature')),
  }
}

function toolResult(part: unknown): ToolResult {
  const response = pick(part, 'functionResponse', 'response')
  const error = textOrNull(pick(response, 'error'))
  return {
    callId: text(part, 'functionResponse', 'id'),
    parts: [{ type: 'text', text: error ?? JSON.stringify(response) }],
    isError: error !== null,
  }
}

function messagesOf(content: unknown): Message[] {
  const parts = items(content, 'parts')
  if (text(content, 'role') === 'model')
    return [{ role: 'assistant', parts: parts.map(assistantPart) }]
  const results = parts.filter((part) => has(part, 'functionResponse'))
  const rest = parts.filter((part) => !has(part, 'functionResponse'))
  return [
    ...(results.length === 0 ? [] : [{ role: 'tool' as const, results: results.map(toolResult) }]),
    ...(rest.length === 0
      ? []
      : [{ role: 'user' as const, parts: rest.map(userPart), name: null }]),
  ]
}

/** OpenAPI's subset as the JSON Schema that a client would have given. */
const jsonSchema = (schema: unknown): JsonObject =>
  JSON.parse(JSON.stringify(schema), (name, value: unknown) =>
    name === 'type' && typeof value === 'string' ? value.toLowerCase() : value,
  )

/** A recorded request as a client would have made it. */
function canonical(native: unknown): CanonicalRequest {
  const config = pick(native, 'generationConfig')
  const system = items(native, 'systemInstruction', 'parts')
  const mode = text(native, 'toolConfig', 'functionCallingConfig', 'mode')
  const schema = pick(config, 'responseJsonSchema')
  const budget = numberOrNull(pick(config, 'thinkingConfig', 'thinkingBudget'))
  return asking(
    [
      ...(system.length === 0
        ? []
        : [
            {
              role: 'system' as const,
              parts: system.map((part) => ({ type: 'text' as const, text: text(part, 'text') })),
            },
          ]),
      ...items(native, 'contents').flatMap(messagesOf),
    ],
    {
      tools: items(native, 'tools', 0, 'functionDeclarations').map((tool) => ({
        name: text(tool, 'name'),
        description: textOrNull(pick(tool, 'description')),
        parameters: jsonSchema(pick(tool, 'parameters') ?? pick(tool, 'parametersJsonSchema')),
        strict: null,
      })),
      toolChoice: mode === 'ANY' ? { type: 'required' } : null,
      sampling: {
        ...asking([]).sampling,
        temperature: numberOrNull(pick(config, 'temperature')),
        maxTokens: numberOrNull(pick(config, 'maxOutputTokens')),
      },
      reasoning: budget === null ? null : { effort: null, budgetTokens: budget },
      logprobs: numberOrNull(pick(config, 'logprobs')),
      format:
        schema === undefined
          ? null
          : {
              type: 'json_schema',
              name: 'answer',
              description: null,
              schema: object(schema),
              strict: null,
            },
    },
  )
}

/** Two contents of one role that follow each other are one. */
function joined(contents: readonly unknown[]): { role: string; parts: unknown[] }[] {
  const turns: { role: string; parts: unknown[] }[] = []
  for (const content of contents) {
    const role = text(content, 'role')
    const last = turns.at(-1)
    if (last?.role === role) last.parts.push(...items(content, 'parts'))
    else turns.push({ role, parts: items(content, 'parts') })
  }
  return turns
}

/** What of a recorded request the product says in its own way, or not at all. */
function comparable(native: unknown, openApi: boolean): unknown {
  const {
    modelArmorConfig: _armor,
    safetySettings: _safety,
    toolConfig,
    generationConfig,
    tools,
    systemInstruction,
    contents,
    ...rest
  } = object(native)
  const {
    responseModalities: _text,
    responseJsonSchema,
    responseSchema,
    thinkingConfig,
    ...config
  } = object(generationConfig)
  const declared = items(tools, 0, 'functionDeclarations')
  return {
    ...rest,
    contents: joined(items({ contents }, 'contents')),
    system: items(systemInstruction, 'parts'),
    config,
    budget: pick(thinkingConfig, 'thinkingBudget'),
    schema: (responseJsonSchema ?? responseSchema) !== undefined,
    mode: pick(toolConfig, 'functionCallingConfig', 'mode'),
    tools: declared.map((tool) => [
      pick(tool, 'name'),
      pick(tool, 'description'),
      // An empty object of parameters and none are the same tool; JSON Schema is tried elsewhere.
      openApi && Object.keys(object(pick(tool, 'parameters', 'properties'))).length > 0
        ? pick(tool, 'parameters')
        : null,
    ]),
  }
}

const asked = recordings('gemini', 'enerateContent')
  .filter(
    ({ status, name, request }) => request !== null && (status === 200 || /url.3$/.test(name)),
  )
  // A tool that Google runs itself is not asked for by any client dialect.
  .filter(({ request }) => !items(request, 'tools').some((tool) => has(tool, 'googleSearch')))
  .map(({ name, request, url }) => ({ name, native: camel(request), url }))

describe.skipIf(!hasVectors)('recorded requests to Gemini', () => {
  test('are there', () => {
    expect(asked.length).toBeGreaterThan(30)
  })

  test.each(asked)('$name comes out as it was sent', ({ native, url }) => {
    const request = { ...canonical(native), stream: url.includes('alt=sse') }
    const model = /models\/([^:]+):/.exec(url)?.[1] ?? ''
    const encoded = gemini.encode(request, target(model))
    expect(url.endsWith(encoded.path)).toBe(true)
    const openApi = !JSON.stringify(native).includes('parametersJsonSchema')
    expect(comparable(parse(encoded.body), openApi)).toEqual(comparable(native, openApi))
  })
})

const call = (
  id: string,
  name: string,
  signature: string | null,
  input = '{"a":1}',
): AssistantPart => ({
  type: 'tool_call',
  id,
  name,
  arguments: input,
  signature,
})
const result = (callId: string, said: string, isError = false): ToolResult => ({
  callId,
  parts: [{ type: 'text', text: said }],
  isError,
})

describe('a request to Gemini', () => {
  test('goes to the model, as a stream where one is wanted', () => {
    const request = asking([user('hi')])
    expect(gemini.encode(request, target('a/b')).path).toBe('/models/a%2Fb:generateContent')
    expect(gemini.encode({ ...request, stream: true }, target('m')).path).toBe(
      '/models/m:streamGenerateContent?alt=sse',
    )
    expect(encode(request)).toEqual({ contents: [{ role: 'user', parts: [{ text: 'hi' }] }] })
  })

  test('has one content for what stands together', () => {
    const messages: Message[] = [
      { role: 'developer', parts: [{ type: 'text', text: 'be kind' }] },
      user('a'),
      user('b'),
      { role: 'assistant', parts: [call('1', 'f', 'S'), call('2', 'g', null)] },
      { role: 'tool', results: [result('2', '{"x":1}'), result('1', 'no', true)] },
      { role: 'tool', results: [] },
      user('c'),
    ]
    expect(encode(asking(messages))).toEqual({
      systemInstruction: { parts: [{ text: 'be kind' }] },
      contents: [
        { role: 'user', parts: [{ text: 'a' }, { text: 'b' }] },
        {
          role: 'model',
          parts: [
            { functionCall: { id: '1', name: 'f', args: { a: 1 } }, thoughtSignature: 'S' },
            { functionCall: { id: '2', name: 'g', args: { a: 1 } } },
          ],
        },
        {
          role: 'user',
          parts: [
            { functionResponse: { id: '2', name: 'g', response: { x: 1 } } },
            { functionResponse: { id: '1', name: 'f', response: { error: 'no' } } },
            { text: 'c' },
          ],
        },
      ],
    })
  })

  test.each([
    ['text', { result: 'text' }],
    ['[1]', { result: '[1]' }],
    ['', { result: '' }],
    ['{"a":{"b":null}}', { a: { b: null } }],
  ])('has the result %s as an object', (said, response) => {
    const messages: Message[] = [
      { role: 'assistant', parts: [call('1', 'f', null)] },
      { role: 'tool', results: [result('1', said)] },
    ]
    const sent = encode(asking(messages))
    expect(pick(sent, 'contents', 1, 'parts', 0, 'functionResponse', 'response')).toEqual(response)
  })

  test('says that another model made the first call, where Gemini 3 wants a signature', () => {
    const messages: Message[] = [
      { role: 'assistant', parts: [call('1', 'f', null), call('2', 'f', null)] },
    ]
    const signatures = (model: string) =>
      items(encode(asking(messages), model), 'contents', 0, 'parts').map((part) =>
        pick(part, 'thoughtSignature'),
      )
    expect(signatures('gemini-2.5-pro')).toEqual([undefined, undefined])
    const [first, second] = signatures('gemini-3-pro-preview')
    expect(Buffer.from(String(first), 'base64').toString()).toBe('skip_thought_signature_validator')
    expect(second).toBe(undefined)
  })

  test('gives back the proofs that were Gemini’s and no others', () => {
    const body = JSON.stringify({
      candidates: [
        {
          content: {
            parts: [
              { text: 'hm', thought: true, thoughtSignature: 'T' },
              { text: 'say', thoughtSignature: 'S' },
              { functionCall: { name: 'f', args: {} }, thoughtSignature: 'C' },
            ],
          },
          finishReason: 'STOP',
        },
      ],
    })
    const { choices } = gemini.decode(Buffer.from(body), target('gemini-3-pro'))
    const foreign = {
      type: 'reasoning' as const,
      text: 'x',
      signature: 'A',
      encrypted: 'E',
      id: null,
    }
    const parts = [foreign, ...(choices[0]?.parts ?? [])]
    const sent = encode(asking([user('a'), { role: 'assistant', parts }]), 'gemini-3-pro')
    expect(pick(sent, 'contents', 1, 'parts')).toEqual([
      { text: 'hm', thought: true, thoughtSignature: 'T' },
      { text: 'say', thoughtSignature: 'S' },
      {
        functionCall: { id: `call_${'02'.repeat(12)}`, name: 'f', args: {} },
        thoughtSignature: 'C',
      },
    ])
  })

  test('has every setting under its name', () => {
    const sampling = {
      maxTokens: 1,
      temperature: 0,
      topP: 0.5,
      topK: 2,
      seed: 3,
      frequencyPenalty: 0.25,
      presencePenalty: 0.75,
      stop: ['x'],
      n: 2,
    }
    const sent = encode(asking([user('a')], { sampling, logprobs: 4, format: { type: 'json' } }))
    expect(pick(sent, 'generationConfig')).toEqual({
      maxOutputTokens: 1,
      temperature: 0,
      topP: 0.5,
      topK: 2,
      seed: 3,
      frequencyPenalty: 0.25,
      presencePenalty: 0.75,
      stopSequences: ['x'],
      candidateCount: 2,
      responseLogprobs: true,
      logprobs: 4,
      responseMimeType: 'application/json',
    })
  })

  test.each([
    ['gemini-2.5-flash', 'none', { thinkingBudget: 0 }],
    ['gemini-2.5-flash', 'low', { thinkingBudget: 1024, includeThoughts: true }],
    ['gemini-2.5-flash', 'max', { thinkingBudget: 24_576, includeThoughts: true }],
    ['gemini-3-pro-preview', 'none', { thinkingLevel: 'minimal' }],
    ['gemini-3.1-pro', 'xhigh', { thinkingLevel: 'high', includeThoughts: true }],
  ] as const)('%s thinks with effort %s', (model, effort, wanted) => {
    const sent = encode(asking([user('a')], { reasoning: { effort, budgetTokens: null } }), model)
    expect(pick(sent, 'generationConfig', 'thinkingConfig')).toEqual(wanted)
  })

  test('has images, files and sound in its parts', () => {
    const parts: UserPart[] = [
      {
        type: 'image',
        source: { kind: 'base64', mediaType: 'image/png', data: 'AA' },
        detail: null,
      },
      { type: 'image', source: { kind: 'url', url: 'https://e.example/a.JPG?x=1' }, detail: null },
      { type: 'file', source: { kind: 'url', url: 'gs://b/c' }, name: null },
      { type: 'audio', format: 'wav', data: 'BB' },
    ]
    expect(
      pick(encode(asking([{ role: 'user', parts, name: null }])), 'contents', 0, 'parts'),
    ).toEqual([
      { inlineData: { mimeType: 'image/png', data: 'AA' } },
      { fileData: { mimeType: 'image/jpeg', fileUri: 'https://e.example/a.JPG?x=1' } },
      { fileData: { fileUri: 'gs://b/c' } },
      { inlineData: { mimeType: 'audio/wav', data: 'BB' } },
    ])
  })

  test.each([
    ['auto', { mode: 'AUTO' }],
    ['none', { mode: 'NONE' }],
    ['required', { mode: 'ANY' }],
  ] as const)('with tools and the choice %s', (type, functionCallingConfig) => {
    const tools = [{ name: 'f', description: null, parameters: null, strict: true }]
    const sent = encode(asking([user('a')], { tools, toolChoice: { type } }))
    expect(sent).toMatchObject({
      tools: [{ functionDeclarations: [{ name: 'f' }] }],
      toolConfig: { functionCallingConfig },
    })
  })

  const image = (url: string): Message => ({
    role: 'user',
    parts: [{ type: 'image', source: { kind: 'url', url }, detail: null }],
    name: null,
  })
  test.each<[string, CanonicalRequest]>([
    ['no turn', asking([{ role: 'system', parts: [{ type: 'text', text: 'x' }] }])],
    ['an address without TLS', asking([image('http://e.example/a.png')])],
    [
      'a file that only another provider has',
      asking([
        {
          role: 'user',
          parts: [{ type: 'file', source: { kind: 'id', id: 'file-1' }, name: null }],
          name: null,
        },
      ]),
    ],
    [
      'more than five stop sequences',
      asking([user('a')], {
        sampling: { ...asking([]).sampling, stop: ['1', '2', '3', '4', '5', '6'] },
      }),
    ],
    [
      'arguments that are no object',
      asking([
        {
          role: 'assistant',
          parts: [call('1', 'f', null, '[1]')],
        },
      ]),
    ],
  ])('is refused with %s', (_, request) => {
    expect(() => encode(request)).toThrow(refused)
  })

  test('is refused with the result of a call that was not made', () => {
    expect(() =>
      encode(asking([user('a'), { role: 'tool', results: [result('9', 'x')] }])),
    ).toThrow(expect.objectContaining({ code: 'invalid_request' }))
  })
})

describe('a schema for Gemini', () => {
  test.each<[string, JsonObject, JsonObject]>([
    [
      'types',
      {
        type: 'object',
        properties: { a: { type: 'string' } },
        required: ['a'],
        additionalProperties: false,
        $schema: 'x',
      },
      { type: 'OBJECT', properties: { a: { type: 'STRING' } }, required: ['a'] },
    ],
    ['null', { type: ['string', 'null'], default: 'x' }, { type: 'STRING', nullable: true }],
    [
      'two types',
      { type: ['string', 'integer'], description: 'd' },
      { anyOf: [{ type: 'STRING' }, { type: 'INTEGER' }], description: 'd' },
    ],
    ['a constant', { const: 'x' }, { type: 'STRING', enum: ['x'] }],
    [
      'an enumeration with null',
      { enum: ['a', null], type: ['string', 'null'] },
      { type: 'STRING', enum: ['a'], nullable: true },
    ],
    [
      'numbers to choose from',
      { type: 'integer', enum: [1, 2] },
      { type: 'INTEGER', description: 'One of: 1, 2.' },
    ],
    [
      'a format that it knows',
      { type: 'string', format: 'date-time' },
      { type: 'STRING', format: 'date-time' },
    ],
    [
      'a format that it does not',
      { type: 'string', format: 'uri', description: 'Where' },
      { type: 'STRING', description: 'Where Format: uri.' },
    ],
    [
      'a choice with null',
      { anyOf: [{ type: 'string' }, { type: 'null' }], description: 'd' },
      { type: 'STRING', description: 'd', nullable: true },
    ],
    [
      'one of several',
      { oneOf: [{ type: 'string' }, { type: 'number' }] },
      { anyOf: [{ type: 'STRING' }, { type: 'NUMBER' }] },
    ],
    [
      'a reference',
      { $ref: '#/$defs/a~1b', description: 'd', $defs: { 'a/b': { type: 'string' } } },
      { type: 'STRING', description: 'd' },
    ],
    [
      'all of',
      {
        allOf: [
          { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] },
          { properties: { b: {} } },
        ],
      },
      { type: 'OBJECT', properties: { a: { type: 'STRING' }, b: {} }, required: ['a'] },
    ],
    [
      'a tuple',
      { type: 'array', prefixItems: [{ type: 'string' }, { type: 'number' }] },
      { type: 'ARRAY', items: { anyOf: [{ type: 'STRING' }, { type: 'NUMBER' }] } },
    ],
    ['no type', { properties: { a: true } }, { type: 'OBJECT', properties: { a: {} } }],
    ['limits', { type: 'number', minimum: 0, exclusiveMaximum: 9 }, { type: 'NUMBER', minimum: 0 }],
  ])('has %s', (_, schema, wanted) => {
    expect(geminiSchema(schema)).toEqual(wanted)
  })

  const wide = Object.fromEntries(
    Array.from({ length: 20 }, (_, at) => [
      `d${at}`,
      { properties: { a: { $ref: `#/$defs/d${at + 1}` }, b: { $ref: `#/$defs/d${at + 1}` } } },
    ]),
  )
  const deep = (levels: number): JsonObject =>
    levels === 0 ? { type: 'string' } : { type: 'array', items: deep(levels - 1) }
  test.each<[string, JsonObject]>([
    [
      'names itself',
      { $ref: '#/$defs/a', $defs: { a: { properties: { a: { $ref: '#/$defs/a' } } } } },
    ],
    ['is its own root', { properties: { a: { $ref: '#' } }, type: 'object' }],
    ['refers outside', { $ref: 'https://e.example/schema' }],
    ['refers to nothing', { $ref: '#/$defs/a' }],
    ['doubles at every level', { $ref: '#/$defs/d0', $defs: { ...wide, d20: {} } }],
    ['is deep', deep(40)],
  ])('that %s goes as JSON Schema', (_, schema) => {
    expect(geminiSchema(schema)).toBe(null)
    const parameters = { type: 'object', properties: { x: schema } }
    const tools = [{ name: 'f', description: null, parameters: schema, strict: null }]
    const format = {
      type: 'json_schema',
      name: 'n',
      description: null,
      schema: parameters,
      strict: null,
    } as const
    const sent = encode(
      asking([user('a')], { tools, format: schema['$ref'] === undefined ? null : format }),
    )
    expect(pick(sent, 'tools', 0, 'functionDeclarations', 0)).toEqual({
      name: 'f',
      parametersJsonSchema: schema,
    })
  })

  test('has a property called __proto__ as a property', () => {
    const schema = JSON.parse('{"type":"object","properties":{"__proto__":{"type":"string"}}}')
    expect(JSON.stringify(geminiSchema(schema))).toBe(
      '{"type":"OBJECT","properties":{"__proto__":{"type":"STRING"}}}',
    )
  })
})
