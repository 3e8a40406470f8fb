import { nginx, portkey } from './peers.ts'
import { startRole, type Started } from './processes.ts'
import { BENCH_KEY, BENCH_MODEL, type SuiteInput, type Upstream } from './servers.ts'

/** One of those that stand side by side. */
export interface Target {
  readonly name: string
  readonly origin: string
  readonly pid: number
  /** Milliseconds from the start of its process until it listened. */
  readonly readyMs: number
  readonly headers: Readonly<Record<string, string>>
  /** The models to ask: for whole answers, for streams, for slow streams. */
  readonly models: readonly [whole: string, stream: string, slow: string]
  /** What its streams come from, where that is not the first of all. */
  readonly streamsFrom: Target | null
}

type Origin = Started<{ origin: string }>

const MODELS = ['whole-model', 'stream-model', 'slow-model'] as const
const ATTESTED = ['tee-whole', 'tee-stream', 'tee-slow'] as const

const target = (
  name: string,
  { answer, pid, readyMs }: Origin,
  rest: Partial<Pick<Target, 'headers' | 'models' | 'streamsFrom'>> = {},
): Target => ({
  name,
  origin: answer.origin,
  pid,
  readyMs,
  headers: { authorization: `Bearer ${BENCH_KEY}` },
  models: MODELS,
  streamsFrom: null,
  ...rest,
})

/** All that can be had here; the first is the upstream itself. */
export async function startTargets(): Promise<Target[]> {
  const upstream = await startRole<{ origin: string }>('plainUpstream', {})
  const { origin } = upstream.answer
  const through = await nginx(origin)
  const bare = await startRole<{ origin: string }>('passThrough', { origin })
  const other = await portkey()
  const plain: SuiteInput = { attested: [], plain: MODELS.map((name) => ({ name, origin })) }
  const ordinary = await startRole<{ origin: string }>('suiteGateway', plain)
  const upstreams = await attestedUpstreams()
  const named = upstreams.map(({ answer }, at) => ({ ...answer, name: ATTESTED[at] ?? '' }))
  const proven = await startRole<{ origin: string }>('suiteGateway', { attested: named, plain: [] })
  const models = [BENCH_MODEL, BENCH_MODEL, BENCH_MODEL] as const
  const streamsFrom = target('attested upstream, directly', upstreams[1], { models })
  const forPortkey = {
    authorization: 'Bearer upstream',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${origin}/v1`,
  }
  return [
    target('upstream, directly', upstream),
    ...(through === null ? [] : [target('nginx', through)]),
    target('bare Fastify + undici, TLS', bare),
    ...(other === null ? [] : [target('Portkey 1.15.2', other, { headers: forPortkey })]),
    target('Vouchgate, plain, TLS', ordinary),
    target('Vouchgate, attested, receipts', proven, { models: ATTESTED, streamsFrom }),
  ]
}

/** Three attested servers, so that none of them has to look at what it is asked. */
async function attestedUpstreams() {
  const begin = async (input: object) => startRole<Upstream>('upstream', input)
  return Promise.all([
    begin({ fixed: true }),
    begin({ chunkDelayMs: 20 }),
    begin({ chunkDelayMs: 500 }),
  ])
}
