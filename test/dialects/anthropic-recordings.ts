import { existsSync, readdirSync, readFileSync } from 'node:fs'
import type { JsonValue } from '@vouchgate/attestation'
import type { Target } from '../../src/dialects/dialect.ts'
import { hasVectors, vectorPath } from '../support/vectors.ts'

export const hasTraffic = hasVectors && existsSync(vectorPath('traffic'))

export interface Recording {
  readonly name: string
  readonly body: Buffer
}

/** A recorded exchange of the provider itself. */
export interface Exchange extends Recording {
  readonly url: string
  readonly status: number
  readonly headers: Record<string, string>
  readonly request: Buffer
}

export const target: Target = {
  model: 'claude-sonnet-4-5',
  random: (length) => new Uint8Array(length).fill(7),
  now: () => 1_700_000_000,
}

const folder = (...parts: string[]): string => vectorPath('traffic', ...parts)
const filesOf = (home: string, ...ends: string[]): string[] =>
  hasTraffic
    ? readdirSync(folder(home)).filter((name) => ends.some((end) => name.endsWith(end)))
    : []
const recording = (home: string, name: string): Recording => ({
  name: `${home}/${name}`,
  body: readFileSync(folder(home, name)),
})

export const exchanges: readonly Exchange[] = filesOf('anthropic', '.meta.json').map((file) => {
  const name = file.replace(/\.meta\.json$/, '')
  const meta: { url: string; status: number; responseHeaders?: Record<string, string> } =
    JSON.parse(readFileSync(folder('anthropic', file), 'utf8'))
  const end = ['json', 'sse', 'txt'].find((each) =>
    existsSync(folder('anthropic', `${name}.response.${each}`)),
  )
  return {
    ...recording('anthropic', `${name}.response.${end}`),
    url: meta.url,
    status: meta.status,
    headers: meta.responseHeaders ?? {},
    request: readFileSync(folder('anthropic', `${name}.request.json`)),
  }
})

const isMessages = ({ url, status }: Exchange): boolean =>
  status === 200 && !url.includes('count_tokens')

/** Whole answers. */
export const messages: readonly Recording[] = [
  ...exchanges.filter((each) => isMessages(each) && each.name.endsWith('.json')),
  ...filesOf('_vercel-ai/anthropic', '.json').map((name) =>
    recording('_vercel-ai/anthropic', name),
  ),
  ...filesOf('_gomodel/anthropic', '.json').map((name) => recording('_gomodel/anthropic', name)),
]

/** Payloads without frames, some of several responses one after the other. */
function framed(each: Recording): Recording[] {
  const parts: string[][] = [[]]
  for (const line of each.body.toString('utf8').split('\n').filter(Boolean)) {
    const { type }: { type: string } = JSON.parse(line)
    const part = parts.at(-1) ?? []
    if (part.at(-1)?.startsWith('event: message_stop')) parts.push([])
    parts.at(-1)?.push(`event: ${type}\ndata: ${line}\n\n`)
  }
  return parts.map((part, at) => ({
    name: `${each.name}#${at}`,
    body: Buffer.from(part.join('')),
  }))
}

/** Streams of status 200. */
export const streams: readonly Recording[] = [
  ...exchanges.filter((each) => isMessages(each) && each.name.endsWith('.sse')),
  ...filesOf('_gomodel/anthropic', '_stream.txt').map((name) =>
    recording('_gomodel/anthropic', name),
  ),
  ...filesOf('_vercel-ai/anthropic', '.chunks.txt')
    .map((name) => recording('_vercel-ai/anthropic', name))
    .flatMap(framed),
]

export const textPayloads = (body: Buffer): Record<string, JsonValue>[] =>
  body
    .toString('utf8')
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => JSON.parse(line.slice(5)))
