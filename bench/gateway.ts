import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { LoadResult, LoadTask } from './load.ts'
import { removeFolders } from './peers.ts'
import { SLOW_TOKENS, TOKENS } from './plain-upstream.ts'
import { residentMiB, startLoad, stopAll } from './processes.ts'
import { markdown, type Report } from './report.ts'
import { startTargets, type Target } from './targets.ts'
import { median } from './timing.ts'

/*
 * The gateway beside the upstream alone, nginx, a bare pass-through and Portkey: requests per second and latency,
 * streams, memory, start. One run on one machine, each server in a process of its own; the rounds alternate between
 * all of them, so that noise of the machine meets each alike. Only ratios within a run mean anything.
 *
 *   npm run bench [-- --quick] [-- --json FILE] [-- --docs]
 *
 * `--docs` writes the tables into docs/performance.md.
 */

const QUICK = process.argv.includes('--quick')
const SIZE = QUICK
  ? { rounds: 1, ms: 300, streamRounds: 1, slow: 200, leak: 5000, leakMs: 10_000 }
  : { rounds: 3, ms: 700, streamRounds: 3, slow: 1000, leak: 100_000, leakMs: 80_000 }
const CONNECTIONS = [1, 32, 256] as const
const BODIES = [1000, 100_000] as const

const note = (line: string): boolean => process.stderr.write(`${line}\n`)
const loader = startLoad<LoadResult>()
const load = (task: LoadTask): Promise<LoadResult> => loader(task)

const bodyOf = (model: string, words: number, stream: boolean): string =>
  JSON.stringify({
    model,
    ...(stream ? { stream } : {}),
    messages: [{ role: 'user', content: 'word '.repeat(words) }],
  })

const question = ({ origin, headers }: Target, body: string) => ({ origin, headers, body })

/** Compiled code and verified sessions are there when it begins to count. */
async function warm(target: Target): Promise<void> {
  const body = bodyOf(target.models[0], 150, false)
  for (let tries = 0; tries < 20; tries++) {
    try {
      await load({ ...question(target, body), kind: 'requests', connections: 32, ms: 500 })
      return
    } catch {
      await delay(250)
    }
  }
  throw new Error(`${target.name} does not answer`)
}

async function cell(targets: readonly Target[], connections: number, bytes: number) {
  const rounds = new Map<Target, LoadResult[]>(targets.map((target) => [target, []]))
  for (let round = 0; round < SIZE.rounds; round++) {
    for (const target of targets) {
      const body = bodyOf(target.models[0], bytes / 5 - 14, false)
      const asked = { ...question(target, body), kind: 'requests' as const }
      rounds.get(target)?.push(await load({ ...asked, connections, ms: SIZE.ms }))
    }
  }
  const of = (target: Target, pick: (result: LoadResult) => number): number =>
    median((rounds.get(target) ?? []).map(pick))
  const [base] = targets
  if (base === undefined) throw new TypeError('nothing to measure')
  return targets.map((target) => ({
    name: target.name,
    connections,
    bytes,
    perSecond: of(target, ({ perSecond }) => perSecond),
    ratio: of(target, ({ perSecond }) => perSecond) / of(base, ({ perSecond }) => perSecond),
    p50: of(target, ({ p50 }) => p50),
    addedP50: of(target, ({ p50 }) => p50) - of(base, ({ p50 }) => p50),
    addedP99: of(target, ({ p99 }) => p99) - of(base, ({ p99 }) => p99),
    loadBusy: of(target, ({ busy }) => busy),
  }))
}

/** Eight streams at a time, an event each 20 ms. */
async function streamsOf(target: Target): Promise<LoadResult> {
  const body = bodyOf(target.models[1], TOKENS - 4, true)
  const asked = { ...question(target, body), kind: 'streams' as const, connections: 8 }
  await load({ ...asked, each: 1 })
  return load({ ...asked, each: SIZE.streamRounds })
}

async function streaming(targets: readonly Target[]) {
  const [upstream] = targets
  if (upstream === undefined) throw new TypeError('nothing to measure')
  const ordinary = await streamsOf(upstream)
  const rows: Report['streams'] = []
  for (const target of targets.slice(1)) {
    const { name, streamsFrom } = target
    const base = streamsFrom === null ? ordinary : await streamsOf(streamsFrom)
    const { p50, p99, perEvent } = await streamsOf(target)
    rows.push({
      name,
      addedFirstP50: p50 - base.p50,
      addedFirstP99: p99 - base.p99,
      addedPerEvent: perEvent - base.perEvent,
    })
  }
  return rows
}

/** Memory while many slow streams are open, over what it was before. */
async function slowStreams(target: Target) {
  const before = residentMiB(target.pid)
  let most = before
  const watch = setInterval(() => {
    most = Math.max(most, residentMiB(target.pid))
  }, 100)
  const body = bodyOf(target.models[2], SLOW_TOKENS - 4, true)
  const asked = { ...question(target, body), kind: 'streams' as const }
  try {
    const { p99, failed } = await load({ ...asked, connections: SIZE.slow, each: 1 })
    const perStreamKiB = ((most - before) * 1024) / SIZE.slow
    return { name: target.name, streams: SIZE.slow, perStreamKiB, firstP99: p99, failed }
  } finally {
    clearInterval(watch)
  }
}

/** Resident memory after each tenth of the requests; what leaks keeps growing. Ends early on a slow machine. */
async function leak(target: Target) {
  const body = bodyOf(target.models[0], 150, false)
  const steps: number[] = []
  const ends = performance.now() + SIZE.leakMs
  while (steps.length < 10 && performance.now() < ends) {
    const asked = { ...question(target, body), kind: 'count' as const }
    await load({ ...asked, connections: 32, requests: SIZE.leak / 10 })
    steps.push(Math.round(residentMiB(target.pid)))
  }
  return { name: target.name, requests: (steps.length * SIZE.leak) / 10, residentMiB: steps }
}

const git = (...given: readonly string[]): string =>
  execFileSync('git', given, { encoding: 'utf8' }).trim()

async function measure(): Promise<Report> {
  const before = loadavg()[0] ?? 0
  const targets = await startTargets()
  for (const target of targets) await warm(target)
  const proxies = targets.slice(1)
  const ours = proxies.filter(({ name }) => name.startsWith('Vouchgate'))
  note('streams')
  // First, while no memory is left over from anything else.
  const slow: Report['slow'] = []
  for (const target of QUICK ? ours : proxies) slow.push(await slowStreams(target))
  const streams = await streaming(targets)
  const requests: Report['requests'] = []
  for (const bytes of BODIES) {
    for (const connections of bytes === 1000 || !QUICK ? CONNECTIONS : [32]) {
      note(`${bytes} bytes, ${connections} connections`)
      requests.push(...(await cell(targets, connections, bytes)))
    }
  }
  note('memory')
  const memory: Report['memory'] = []
  for (const target of ours.slice(-1)) memory.push(await leak(target))
  const [cpu] = cpus()
  return {
    commit: git('rev-parse', '--short', 'HEAD'),
    machine: `${cpus().length} × ${cpu?.model ?? 'unknown'}, Node ${process.versions.node}`,
    loadBefore: before,
    quick: QUICK,
    requests,
    streams,
    slow,
    memory,
    start: proxies.map(({ name, readyMs }) => ({ name, readyMs })),
  }
}

const DOCS = new URL('../docs/performance.md', import.meta.url)
const BEGIN = '<!-- measured -->\n'
const END = '<!-- /measured -->'

function writeDocs(tables: string): void {
  const text = readFileSync(DOCS, 'utf8')
  const [head = ''] = text.split(BEGIN)
  const [, tail = ''] = text.split(END)
  writeFileSync(DOCS, `${head}${BEGIN}\n${tables}\n${END}${tail}`)
}

function stopped(): void {
  stopAll()
  removeFolders()
  process.exit(1)
}
process.once('SIGINT', stopped)
process.once('SIGTERM', stopped)

try {
  const report = await measure()
  const tables = markdown(report)
  process.stdout.write(`${tables}\n`)
  const at = process.argv.indexOf('--json')
  const file = process.argv[at + 1]
  if (at !== -1 && file !== undefined) writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  if (process.argv.includes('--docs')) writeDocs(tables)
} finally {
  stopAll()
  removeFolders()
}
