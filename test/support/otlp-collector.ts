import { createServer } from 'node:http'
import { listen, portOf, stop } from './ports.ts'

export interface OtlpCollector {
  readonly url: string
  /** Bodies as they came, by path. */
  readonly bodies: { readonly path: string; readonly text: string }[]
  /** What it answers with; null: nothing ever. */
  status: number | null
  close(): Promise<void>
}

export interface Span {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly failed: boolean
  readonly attributes: Readonly<Record<string, string | number>>
}

/** Takes OTLP over HTTP in JSON and keeps every byte. */
export async function startCollector(): Promise<OtlpCollector> {
  const bodies: OtlpCollector['bodies'] = []
  const state: { status: number | null } = { status: 200 }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const head = JSON.stringify(request.headers)
      bodies.push({ path: request.url ?? '', text: Buffer.concat(chunks).toString() })
      bodies.push({ path: 'headers', text: head })
      if (state.status === null) return
      response.writeHead(state.status, { 'content-type': 'application/json' })
      response.end('{}')
    })
  })
  await listen(server)
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    bodies,
    get status() {
      return state.status
    },
    set status(value) {
      state.status = value
    },
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}

type Json = Readonly<Record<string, unknown>>
const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Every object with such a member, wherever it is. */
function found(value: unknown, name: string): Json[] {
  if (Array.isArray(value)) return value.flatMap((each) => found(each, name))
  if (!isRecord(value)) return []
  const here = name in value ? [value] : []
  return [...here, ...Object.values(value).flatMap((each) => found(each, name))]
}

const parsed = ({ bodies }: OtlpCollector, path: string): unknown[] =>
  bodies.filter((body) => body.path === path).map(({ text }): unknown => JSON.parse(text))

const valueOf = (value: unknown): string | number => {
  if (!isRecord(value)) throw new Error('not an attribute')
  const { stringValue, intValue, doubleValue } = value
  if (typeof stringValue === 'string') return stringValue
  return Number(intValue ?? doubleValue)
}

const attributesOf = (list: unknown): Record<string, string | number> =>
  Object.fromEntries(
    (Array.isArray(list) ? list : []).map((each: unknown) => {
      if (!isRecord(each)) throw new Error('not an attribute')
      return [String(each['key']), valueOf(each['value'])]
    }),
  )

export const spansOf = (collector: OtlpCollector): Span[] =>
  parsed(collector, '/v1/traces').flatMap((body) =>
    found(body, 'spanId').map((span) => ({
      name: String(span['name']),
      kind: Number(span['kind']),
      traceId: String(span['traceId']),
      spanId: String(span['spanId']),
      parentSpanId: typeof span['parentSpanId'] === 'string' ? span['parentSpanId'] : undefined,
      failed: isRecord(span['status']) && span['status']['code'] === 2,
      attributes: attributesOf(span['attributes']),
    })),
  )

/** Data points of the last export of a metric. */
export function pointsOf(collector: OtlpCollector, name: string) {
  const bodies = parsed(collector, '/v1/metrics')
  const last = bodies.flatMap((body) => found(body, 'name').filter((each) => each['name'] === name))
  return found(last.at(-1), 'startTimeUnixNano').map((point) => ({
    attributes: attributesOf(point['attributes']),
    sum: Number(point['sum'] ?? point['asInt'] ?? point['asDouble']),
    count: Number(point['count'] ?? 1),
  }))
}

/** Names of all attributes, of whatever they are. */
export const attributeNames = (collector: OtlpCollector): Set<string> =>
  new Set(
    ['/v1/traces', '/v1/metrics']
      .flatMap((path) => parsed(collector, path))
      .flatMap((body) => found(body, 'key').map((each) => String(each['key']))),
  )
