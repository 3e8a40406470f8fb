import { styleText } from 'node:util'
import { Pool } from 'undici'
import { start, stopAll } from './processes.ts'
import { BENCH_KEY, BENCH_MODEL, type Upstream } from './servers.ts'

/*
 * Requests per second and latency at 32 connections of the upstream alone, of a bare pass-through and of the
 * gateway with its attested channel and receipts on, in one run on one machine. The rounds alternate between
 * the three, so that noise of the machine meets all of them; only ratios mean anything.
 *
 *   npm run bench [-- --quick] [-- --json]
 */

const CONCURRENCY = 32
const BODY = JSON.stringify({
  model: BENCH_MODEL,
  messages: [{ role: 'user', content: 'Say something short. '.repeat(50) }],
})

interface Round {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
}

interface Target {
  readonly name: string
  readonly pool: Pool
  readonly rounds: Round[]
}

async function request(pool: Pool): Promise<void> {
  const { statusCode, body } = await pool.request({
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${BENCH_KEY}` },
    body: BODY,
  })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`status ${statusCode}: ${text}`)
}

/** A closed loop: each connection sends its next request when the last was answered. */
async function load(pool: Pool, requests: number): Promise<Round> {
  const latencies: number[] = []
  let left = requests
  const started = performance.now()
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      while (left-- > 0) {
        const begun = performance.now()
        await request(pool)
        latencies.push(performance.now() - begun)
      }
    }),
  )
  const seconds = (performance.now() - started) / 1000
  const sorted = latencies.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0
  return { perSecond: requests / seconds, p50: at(0.5), p99: at(0.99) }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

function summary({ name, rounds }: Target, base: Target) {
  const of = (target: Target, pick: (round: Round) => number) => median(target.rounds.map(pick))
  const perSecond = of({ name, rounds, pool: base.pool }, (round) => round.perSecond)
  const p50 = median(rounds.map((round) => round.p50))
  const p99 = median(rounds.map((round) => round.p99))
  return {
    name,
    perSecond: Math.round(perSecond),
    throughputRatio: Number((perSecond / of(base, (round) => round.perSecond)).toFixed(3)),
    p50Ms: Number(p50.toFixed(2)),
    p99Ms: Number(p99.toFixed(2)),
    addedP50Ms: Number((p50 - of(base, (round) => round.p50)).toFixed(2)),
  }
}

async function measure(quick: boolean): Promise<Target[]> {
  const upstream = await start<Upstream>('upstream', {})
  const bare = await start<{ origin: string }>('passThrough', upstream)
  const gateway = await start<{ origin: string }>('gateway', upstream)
  const target = (name: string, { origin }: { origin: string }): Target => ({
    name,
    pool: new Pool(origin, { connections: CONCURRENCY, connect: { rejectUnauthorized: false } }),
    rounds: [],
  })
  const targets = [
    target('upstream, directly', upstream),
    target('bare Fastify + undici', bare),
    target('gateway, attested, receipts', gateway),
  ]
  const [rounds, requests] = quick ? [3, 500] : [7, 4000]
  for (const { pool } of targets) await load(pool, requests)
  for (let round = 0; round < rounds; round++) {
    for (const { pool, rounds: done } of targets) done.push(await load(pool, requests))
  }
  await Promise.all(targets.map(({ pool }) => pool.destroy()))
  return targets
}

function print(rows: readonly ReturnType<typeof summary>[]): void {
  const line = (cells: readonly string[]) =>
    process.stdout.write(
      `${cells.map((cell, at) => (at === 0 ? cell.padEnd(30) : cell.padStart(14))).join('')}\n`,
    )
  process.stdout.write(styleText('bold', `\n${CONCURRENCY} connections, one machine, one run\n\n`))
  line(['', 'requests/s', 'ratio', 'p50 ms', 'p99 ms', 'added p50 ms'])
  for (const row of rows) {
    const numbers = [row.perSecond, row.throughputRatio, row.p50Ms, row.p99Ms, row.addedP50Ms]
    line([row.name, ...numbers.map(String)])
  }
}

try {
  const targets = await measure(process.argv.includes('--quick'))
  const [base] = targets
  if (base === undefined) throw new TypeError('nothing was measured')
  const rows = targets.map((target) => summary(target, base))
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else print(rows)
} finally {
  stopAll()
}
