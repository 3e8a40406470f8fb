import { nginx, portkey } from './peers.ts'
import { startRole, type Started } from './processes.ts'
import { BENCH_KEY, BENCH_MODEL, type SuiteInput, type Upstream } from './servers.ts'

/** What a target is asked for. */
export type Asked = 'whole' | 'stream' | 'slow'
export type PerAsked<T> = Readonly<Record<Asked, T>>

/** One of those that stand side by side. */
export interface Target {
  readonly name: string
  readonly origins: PerAsked<string>
  readonly models: PerAsked<string>
  /** Of the process. Of several upstreams, that of the whole answers. */
  readonly pid: number
  /** Milliseconds from the start of its process until it listened. */
  readonly readyMs: number
  readonly headers: Readonly<Record<string, string>>
  /** What it stands behind, by name, and the bare pass-through before the same. */
  readonly against: { readonly upstream: string; readonly bare: string }
}

const MODELS = { whole: 'whole-model', stream: 'stream-model', slow: 'slow-model' } as const
const ATTESTED = { whole: 'tee-whole', stream: 'tee-stream', slow: 'tee-slow' } as const
const ALIKE = { whole: BENCH_MODEL, stream: BENCH_MODEL, slow: BENCH_MODEL } as const

const PLAIN = { upstream: 'upstream', bare: 'bare Fastify + undici' }
const TLS = { upstream: 'TLS upstream', bare: 'bare Fastify + undici, TLS upstream' }

const everywhere = (origin: string): PerAsked<string> => ({
  whole: origin,
  stream: origin,
  slow: origin,
})

type Rest = Partial<Pick<Target, 'origins' | 'models' | 'headers' | 'against'>>

const target = (
  name: string,
  { answer, pid, readyMs }: Started<{ origin: string }>,
  rest: Rest = {},
): Target => ({
  name,
  origins: everywhere(answer.origin),
  models: MODELS,
  pid,
  readyMs,
  headers: { authorization: `Bearer ${BENCH_KEY}` },
  against: PLAIN,
  ...rest,
})

/** All that can be had here, the upstreams among them. */
export async function startTargets(): Promise<Target[]> {
  const upstream = await startRole<{ origin: string }>('plainUpstream', {})
  const { origin } = upstream.answer
  return [target(PLAIN.upstream, upstream), ...(await behindPlain(origin)), ...(await behindTls())]
}

async function behindPlain(origin: string): Promise<Target[]> {
  const through = await nginx(origin)
  const bare = await startRole<{ origin: string }>('passThrough', { origin })
  const other = await portkey()
  const plain = Object.values(MODELS).map((name) => ({ name, origin }))
  const input: SuiteInput = { attested: [], plain }
  const ordinary = await startRole<{ origin: string }>('suiteGateway', input)
  const headers = {
    authorization: 'Bearer upstream',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${origin}/v1`,
  }
  return [
    ...(through === null ? [] : [target('nginx', through)]),
    target(PLAIN.bare, bare),
    ...(other === null ? [] : [target('Portkey 1.15.2', other, { headers })]),
    target('Vouchgate, plain', ordinary),
  ]
}

/** Three attested servers, so that none of them has to look at what it is asked. */
async function behindTls(): Promise<Target[]> {
  const begin = async (input: object) => startRole<Upstream>('upstream', input)
  const [whole, stream, slow] = await Promise.all([
    begin({ fixed: true }),
    begin({ chunkDelayMs: 20 }),
    begin({ chunkDelayMs: 500 }),
  ])
  const origins = {
    whole: whole.answer.origin,
    stream: stream.answer.origin,
    slow: slow.answer.origin,
  }
  const bare = await startRole<PerAsked<string>>('passThroughs', origins)
  const attested = [
    { ...whole.answer, name: ATTESTED.whole },
    { ...stream.answer, name: ATTESTED.stream },
    { ...slow.answer, name: ATTESTED.slow },
  ]
  const proven = await startRole<{ origin: string }>('suiteGateway', { attested, plain: [] })
  const before = { against: TLS }
  return [
    target(TLS.upstream, whole, { origins, models: ALIKE, ...before }),
    target(
      TLS.bare,
      { ...bare, answer: { origin: bare.answer.whole } },
      {
        origins: bare.answer,
        models: ALIKE,
        ...before,
      },
    ),
    target('Vouchgate, attested', proven, { models: ATTESTED, ...before }),
  ]
}
