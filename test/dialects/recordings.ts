import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type {
  CanonicalEvent,
  CanonicalRequest,
  CanonicalUsage,
  Message,
} from '../../src/dialects/canonical.ts'
import type { StreamDecoder } from '../../src/dialects/dialect.ts'
import { hasVectors, vectorBytes, vectorPath, vectorText } from '../support/vectors.ts'
import { decodeIn, joined } from './decoding.ts'

/** A member of a recording's JSON, read without any of the product's own helpers. */
export function pick(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value
  for (const step of path)
    found = typeof found === 'object' && found !== null ? Reflect.get(found, step) : undefined
  return found
}

export function items(value: unknown, ...path: readonly (string | number)[]): unknown[] {
  const found = pick(value, ...path)
  return Array.isArray(found) ? found : []
}

export function text(value: unknown, ...path: readonly (string | number)[]): string {
  const found = pick(value, ...path)
  return typeof found === 'string' ? found : ''
}

export function number(value: unknown, ...path: readonly (string | number)[]): number {
  const found = pick(value, ...path)
  return typeof found === 'number' ? found : 0
}

export const has = (value: unknown, ...path: readonly (string | number)[]): boolean =>
  pick(value, ...path) !== undefined && pick(value, ...path) !== null

export const parse = (from: string | Buffer): unknown => JSON.parse(from.toString())

export interface Recording {
  readonly name: string
  readonly url: string
  readonly status: number
  readonly request: unknown
  readonly body: Buffer
  readonly kind: 'json' | 'sse' | 'eventstream'
}

const bytes = (...parts: string[]): Buffer => Buffer.from(vectorBytes('traffic', ...parts))

const list = (folder: string): string[] =>
  hasVectors ? readdirSync(join(vectorPath('traffic'), folder)) : []

const KINDS = { json: 'json', sse: 'sse', 'eventstream.bin': 'eventstream' } as const

/** Every recorded exchange of a provider whose address has `part` in it. */
export function recordings(provider: string, part: string): Recording[] {
  const files = list(provider)
  return files
    .filter((file) => file.endsWith('.meta.json'))
    .map((file) => file.slice(0, -'.meta.json'.length))
    .flatMap((name) => {
      const meta = parse(vectorText('traffic', provider, `${name}.meta.json`))
      const found = Object.entries(KINDS).find(([end]) => files.includes(`${name}.response.${end}`))
      const url = text(meta, 'url')
      if (found === undefined || !url.includes(part)) return []
      const [end, kind] = found
      const asked = `${name}.request.json`
      const request = files.includes(asked) ? parse(vectorText('traffic', provider, asked)) : null
      const body = bytes(provider, `${name}.response.${end}`)
      return [{ name, url, status: number(meta, 'status'), request, body, kind }]
    })
}

/** Whole bodies and payloads by line, as another project keeps them. */
export const bodies = (folder: string, end: string): { name: string; body: Buffer }[] =>
  list(folder)
    .filter((file) => file.endsWith(end))
    .map((file) => ({ name: file, body: bytes(folder, file) }))

export const lines = (body: Buffer): string[] =>
  body
    .toString('utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')

/** Cuts `body` at `first` and every `stride` bytes after it. */
function pieces(body: Buffer, first: number, stride: number): Buffer[] {
  const cut = [body.subarray(0, first)]
  for (let at = first; at < body.length; at += stride) cut.push(body.subarray(at, at + stride))
  return cut
}

const STRIDE = 127

/** What a body says, cut at every offset, many of them at once, and with each byte alone: one thing, if all is well. */
export function readings(decoder: () => StreamDecoder, body: Buffer): Set<string> {
  const ways = [[body], pieces(body, 1, 1)]
  for (let first = 1; first <= STRIDE; first++) ways.push(pieces(body, first, STRIDE))
  return new Set(ways.map((way) => JSON.stringify(joined(decodeIn(decoder(), way)))))
}

export const textOf = (events: readonly CanonicalEvent[], type: 'text' | 'reasoning'): string =>
  events.map((event) => (event.type === type ? event.text : '')).join('')

/** Tool calls with their arguments parsed, in the order of their numbers. */
export function callsOf(events: readonly CanonicalEvent[]): { name: string; input: unknown }[] {
  const calls: { name: string; text: string }[] = []
  for (const event of events) {
    if (event.type === 'tool_call') {
      expect(event.call).toBe(calls.length)
      calls.push({ name: event.name, text: '' })
    }
    const call = event.type === 'tool_arguments' ? calls[event.call] : undefined
    if (call !== undefined && event.type === 'tool_arguments') call.text += event.text
  }
  return calls.map((call) => ({ name: call.name, input: parse(call.text) }))
}

export const usageOf = (events: readonly CanonicalEvent[]): CanonicalUsage | null =>
  events.findLast((event) => event.type === 'usage')?.usage ?? null

const NOTHING: CanonicalRequest = {
  model: 'any',
  stream: false,
  messages: [],
  tools: [],
  toolChoice: null,
  parallelToolCalls: null,
  sampling: {
    maxTokens: null,
    temperature: null,
    topP: null,
    topK: null,
    seed: null,
    frequencyPenalty: null,
    presencePenalty: null,
    stop: [],
    n: null,
  },
  format: null,
  reasoning: null,
  logprobs: null,
  streamUsage: false,
  extra: {},
}

export const user = (said: string): Message => ({
  role: 'user',
  parts: [{ type: 'text', text: said }],
  name: null,
})

export const asking = (
  messages: readonly Message[],
  rest: Partial<CanonicalRequest> = {},
): CanonicalRequest => ({ ...NOTHING, messages, ...rest })
