import { nginx, portkey } from './peers.ts'
import { startRole, type Started } from './processes.ts'
import { BENCH_KEY, type SuiteInput, type Upstream } from './servers.ts'

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
}

type Origin = Started<{ origin: string }>

const MODELS = ['whole-model', 'stream-model', 'slow-model'] as const
const ATTESTED = ['tee-whole', 'tee-stream', 'tee-slow'] as const

const target = (
  name: string,
  { answer, pid, readyMs }: Origin,
  rest: Partial<Pick<Target, 'headers' | 'models'>> = {},
): Target => ({
  name,
  origin: answer.origin,
  pid,
  readyMs,
  headers: { authorization: `Bearer ${BENCH_KEY}` },
  models: MODELS,
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
  const proven = await startRole<{ origin: string }>('suiteGateway', await attested())
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
    target('Vouchgate, attested, receipts', proven, { models: ATTESTED }),
  ]
}

/** Three attested servers, so that none of them has to look at what it is asked. */
async function attested(): Promise<SuiteInput> {
  const inputs = [{ fixed: true }, { chunkDelayMs: 20 }, { chunkDelayMs: 500 }]
  const upstreams = await Promise.all(
    inputs.map(async (input) => startRole<Upstream>('upstream', input)),
  )
  const named = upstreams.map(({ answer }, at) => ({ ...answer, name: ATTESTED[at] ?? '' }))
  return { attested: named, plain: [] }
}
