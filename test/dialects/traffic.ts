import { readdirSync } from 'node:fs'
import type { CanonicalEvent } from '../../src/dialects/canonical.ts'
import { hasVectors, vectorBytes, vectorJson, vectorPath, vectorText } from '../support/vectors.ts'

/** One recorded answer. */
export interface Recording {
  readonly name: string
  readonly status: number
  readonly url: string
  readonly isStream: boolean
  readonly body: Buffer
  readonly request: unknown
}

/** An exchange with its request, out of `<folder>/<name>.{meta,request,response}.*`. */
export function exchanges(folder: string): Recording[] {
  if (!hasVectors) return []
  const files = readdirSync(vectorPath('traffic', folder))
  return files
    .filter((file) => file.endsWith('.meta.json'))
    .map((file) => {
      const meta: { status: number; url: string; files: { request?: string; response: string } } =
        JSON.parse(vectorText('traffic', folder, file))
      const { request, response } = meta.files
      return {
        name: `${folder}/${response}`,
        status: meta.status,
        url: meta.url,
        isStream: response.endsWith('.sse'),
        body: Buffer.from(vectorBytes('traffic', folder, response)),
        request: request === undefined ? null : vectorJson('traffic', folder, request),
      }
    })
}

/** Bodies alone. Files of chunks hold one payload a line; `frame` gives them the form of the wire. */
export function bodies(folder: string, frame: (line: string) => string, tail: string): Recording[] {
  if (!hasVectors) return []
  return readdirSync(vectorPath('traffic', folder))
    .filter((file) => /\.(?:json|sse|txt)$/.test(file))
    .map((file) => {
      const text = vectorText('traffic', folder, file)
      const isChunks = file.endsWith('.chunks.txt')
      const lines = text.split('\n').filter((line) => line.trim() !== '')
      return {
        name: `${folder}/${file}`,
        status: 200,
        url: '',
        isStream: !file.endsWith('.json'),
        body: Buffer.from(isChunks ? lines.map(frame).join('') + tail : text),
        request: null,
      }
    })
}

/** All offsets of a short body, 200 spread ones of a long body, which is also given byte by byte. */
export function cuts(length: number): number[] {
  const count = length > 3000 ? 200 : length
  return Array.from({ length: count }, (_, at) => Math.floor((at * length) / count))
}

export const textOf = (events: readonly CanonicalEvent[]): string =>
  events.map((event) => (event.type === 'text' ? event.text : '')).join('')

/** Calls of the first choice, as name and parsed arguments. */
export function callsOf(events: readonly CanonicalEvent[]): [string, unknown][] {
  const calls = new Map<string, { name: string; text: string }>()
  for (const event of events) {
    if (event.type === 'tool_call') {
      calls.set(`${event.choice}.${event.call}`, { name: event.name, text: '' })
    }
    if (event.type === 'tool_arguments') {
      const call = calls.get(`${event.choice}.${event.call}`)
      if (call === undefined) throw new Error('arguments of no call')
      call.text += event.text
    }
  }
  return [...calls.values()].map(({ name, text }) => [name, JSON.parse(text)])
}
