import { styleText } from 'node:util'
import { Pool, request } from 'undici'
import { start, stopAll } from './processes.ts'
import { BENCH_KEY, BENCH_MODEL, type Upstream } from './servers.ts'

/*
 * 200 streams at a time through the gateway, over attested channels, while every session is verified again at
 * least twice; and the same streams without. What counts is whether a request fails and whether the gaps between
 * the chunks of a stream grow. The two alternate in one run on one machine; only ratios mean anything.
 *
 *   npm run bench:reverify [-- --quick] [-- --json]
 */

const STREAMS = 200
const PROVIDERS = 4
const CHUNK_DELAY_MS = 100
/** 25 seconds: two refreshes of sessions that live for 10 fit in, wherever they are when it begins. */
const CHUNKS = 250
const REFRESH_SECONDS = 10
const NEVER_SECONDS = 3600
const STALL_MS = 50

interface Target {
  readonly name: string
  readonly pool: Pool
  /** Of the admin listener. */
  readonly admin: string
  readonly gaps: number[]
  failed: number
  verifications: number
}

const body = (number: number, chunks: number): string =>
  JSON.stringify({
    model: `${BENCH_MODEL}-${number}`,
    stream: true,
    messages: [{ role: 'user', content: 'word '.repeat(chunks - 2) }],
  })

/** Reads one stream to its end; the gaps between its chunks, in milliseconds. */
async function stream({ pool, gaps }: Target, number: number, chunks = CHUNKS): Promise<void> {
  const answer = await pool.request({
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${BENCH_KEY}` },
    body: body(number % PROVIDERS, chunks),
  })
  let last = 0
  let text = ''
  for await (const chunk of answer.body) {
    const now = performance.now()
    if (last > 0) gaps.push(now - last)
    last = now
    text = (text + String(chunk)).slice(-64)
  }
  if (answer.statusCode !== 200 || !text.endsWith('[DONE]\n\n')) throw new Error('a stream broke')
}

/** Verifications of the provider that has had the fewest. */
async function verifications({ admin }: Target): Promise<number> {
  const { body: metrics } = await request(`${admin}/metrics`)
  const text = await metrics.text()
  const counts = [...text.matchAll(/^vouchgate_verifications_total\{[^}]*"verified"\} (\d+)$/gm)]
  return counts.length < PROVIDERS ? 0 : Math.min(...counts.map(([, count]) => Number(count)))
}

async function round(target: Target): Promise<void> {
  const before = await verifications(target)
  const streams = Array.from({ length: STREAMS }, (_, number) => stream(target, number))
  const ended = await Promise.allSettled(streams)
  target.failed += ended.filter(({ status }) => status === 'rejected').length
  target.verifications += (await verifications(target)) - before
}

/** Connections and compiled code are there when it begins to count. */
async function warm(target: Target): Promise<void> {
  const streams = Array.from({ length: STREAMS }, (_, number) => stream(target, number, 20))
  await Promise.all(streams)
  target.gaps.length = 0
}

async function measure(rounds: number): Promise<readonly [Target, Target]> {
  const upstream = await start<Upstream>('upstream', { chunkDelayMs: CHUNK_DELAY_MS })
  const target = async (name: string, refreshSeconds: number): Promise<Target> => {
    const input = { ...upstream, providers: PROVIDERS, refreshSeconds }
    const { origin, admin } = await start<{ origin: string; admin: string }>('gateway', input)
    const pool = new Pool(origin, { connections: STREAMS, connect: { rejectUnauthorized: false } })
    return { name, pool, admin, gaps: [], failed: 0, verifications: 0 }
  }
  const still = await target('verified once', NEVER_SECONDS)
  const renewed = await target('verified again and again', REFRESH_SECONDS)
  for (const one of [still, renewed]) await warm(one)
  for (let each = 0; each < rounds; each++) for (const one of [still, renewed]) await round(one)
  await Promise.all([still.pool.destroy(), renewed.pool.destroy()])
  return [still, renewed]
}

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(share * (sorted.length - 1))] ?? 0

function summary({ name, gaps, failed, verifications: count }: Target, usual: number) {
  const sorted = gaps.toSorted((left, right) => left - right)
  const at = (share: number): number => Number(quantile(sorted, share).toFixed(1))
  return {
    name,
    failedRequests: failed,
    verificationsPerProvider: count,
    chunks: gaps.length,
    p50Ms: at(0.5),
    p95Ms: at(0.95),
    p99Ms: at(0.99),
    maxMs: at(1),
    stalls: gaps.filter((gap) => gap > usual + STALL_MS).length,
  }
}

type Row = ReturnType<typeof summary>

const ratio = (value: number, base: number): string =>
  base === 0 ? '-' : (value / base).toFixed(2)

function print(rounds: number, [still, renewed]: readonly [Row, Row]): void {
  const write = (text: string): void => void process.stdout.write(`${text}\n`)
  const title = `${STREAMS} streams, ${PROVIDERS} providers, ${rounds} round(s) each, one machine, one run`
  write(styleText('bold', `\n${title}\n`))
  const line = (cells: readonly (string | number)[]): void =>
    write(cells.map((cell, at) => String(cell)[at === 0 ? 'padEnd' : 'padStart'](26)).join(''))
  line(['', still.name, renewed.name, 'ratio'])
  line(['failed requests', still.failedRequests, renewed.failedRequests, ''])
  const { verificationsPerProvider: never } = still
  line(['verifications in the run', never, renewed.verificationsPerProvider, ''])
  for (const name of ['p50Ms', 'p95Ms', 'p99Ms', 'maxMs'] as const) {
    const label = `gap ${name.replace('Ms', '')}, ms`
    line([label, still[name], renewed[name], ratio(renewed[name], still[name])])
  }
  const stalls = [still.stalls, renewed.stalls, ratio(renewed.stalls, still.stalls)]
  line([`gaps ${STALL_MS} ms over usual`, ...stalls])
  line(['  of all chunks', still.chunks, renewed.chunks, ''])
}

try {
  const rounds = process.argv.includes('--quick') ? 1 : 3
  const [still, renewed] = await measure(rounds)
  const usual = quantile(
    still.gaps.toSorted((left, right) => left - right),
    0.5,
  )
  const rows = [summary(still, usual), summary(renewed, usual)] as const
  if (renewed.verifications < 2 * rounds) throw new Error('not every session was verified twice')
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else print(rounds, rows)
} finally {
  stopAll()
}
