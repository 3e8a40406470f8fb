import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { LoadResult, LoadTask } from './load.ts'
import { removeFolders } from './peers.ts'
import { SLOW_TOKENS, TOKENS } from './plain-upstream.ts'
import { PINNED, residentMiB, startLoad, stopAll } from './processes.ts'
import { markdown, type Report, type RequestRow, type StreamRow } from './report.ts'
import { startTargets, type Asked, type Target } from './targets.ts'
import { median } from './timing.ts'

/*
 * The gateway beside its upstream, nginx, a bare pass-through and Portkey: requests per second, latency, computing time,
 * streams, memory, start. One run on one machine, each server in a process of its own on one core, which only the one that is
 * asked uses; the rounds alternate between all of them, so that noise of the machine meets each alike. Only ratios within a
 * run mean anything.
 *
 *   npm run bench [-- --quick] [-- --json FILE] [-- --docs]
 *
 * `--docs` writes the tables into docs/performance.md.
 */

const QUICK = process.argv.includes('--quick')
const SIZE = QUICK
  ? {
      warmMs: 3000,
      rounds: 1,
      leadMs: 300,
      ms: 500,
      streamMs: 2000,
      slow: 200,
      leak: 5000,
      leakMs: 10_000,
    }
  : {
      warmMs: 15_000,
      rounds: 3,
      leadMs: 500,
      ms: 1000,
      streamMs: 5000,
      slow: 1000,
      leak: 100_000,
      leakMs: 60_000,
    }
const CONNECTIONS = [1, 32, 256] as const
const BODIES = [1000, 100_000] as const
/** New streams per second. */
const ARRIVALS = 100

const note = (line: string): boolean => process.stderr.write(`${line}\n`)
const loader = startLoad<LoadResult>()
const load = (task: LoadTask): Promise<LoadResult> => loader(task)

const bodyOf = (model: string, words: number, stream: boolean): string =>
  JSON.stringify({
    model,
    ...(stream ? { stream } : {}),
    messages: [{ role: 'user', content: 'word '.repeat(words) }],
  })

/** Attested servers of the tests answer with as many words as they are asked. */
const WORDS = { whole: 150, stream: TOKENS - 4, slow: SLOW_TOKENS - 4 } as const

function question({ origins, models, headers, pid }: Target, asked: Asked, words = WORDS[asked]) {
  const body = bodyOf(models[asked], words, asked !== 'whole')
  return { origin: origins[asked], headers, body, pid }
}

/** Compiled code and verified sessions are there when it begins to count: V8 is done after some ten thousand requests. */
async function warm(target: Target): Promise<void> {
  note(target.name)
  const asked = { ...question(target, 'whole'), kind: 'requests' as const, connections: 32 }
  for (let tries = 0; tries < 20; tries++) {
    try {
      await load({ ...asked, leadMs: 0, ms: SIZE.warmMs })
      return
    } catch {
      await delay(250)
    }
  }
  throw new Error(`${target.name} does not answer`)
}

const named = <Row extends { readonly name: string }>(rows: readonly Row[], name: string): Row => {
  const row = rows.find((each) => each.name === name)
  if (row === undefined) throw new TypeError(`${name} was not measured`)
  return row
}

async function cell(targets: readonly Target[], connections: number, bytes: number) {
  const { leadMs, ms } = SIZE
  const rounds = targets.map((): LoadResult[] => [])
  for (let round = 0; round < SIZE.rounds; round++) {
    for (const [at, target] of targets.entries()) {
      const asked = question(target, 'whole', bytes / 5 - 14)
      rounds[at]?.push(await load({ ...asked, kind: 'requests', connections, leadMs, ms }))
    }
  }
  const rows = targets.map(({ name, against }, at) => {
    const of = (pick: (result: LoadResult) => number): number =>
      median((rounds[at] ?? []).map(pick))
    const perSecond = of((result) => result.perSecond)
    const [p50, p99] = [of((result) => result.p50), of((result) => result.p99)]
    return {
      name,
      against,
      perSecond,
      p50,
      p99,
      cpuUs: of((r) => r.cpuUs),
      busy: of((r) => r.busy),
    }
  })
  return rows.map(({ name, against, perSecond, p50, p99, cpuUs, busy }): RequestRow => {
    const [upstream, bare] = [named(rows, against.upstream), named(rows, against.bare)]
    const isUpstream = name === against.upstream
    return {
      name,
      connections,
      bytes,
      perSecond,
      ofBare: isUpstream ? null : perSecond / bare.perSecond,
      p50,
      addedP50: isUpstream ? null : p50 - upstream.p50,
      addedP99: isUpstream ? null : p99 - upstream.p99,
      cpuUs,
      generatorBusy: busy,
    }
  })
}

/** New streams at fixed times, an event each 20 ms. */
async function streaming(targets: readonly Target[]): Promise<StreamRow[]> {
  const rows: (LoadResult & { readonly target: Target; readonly name: string })[] = []
  for (const target of targets) {
    const asked = { ...question(target, 'stream'), kind: 'arrivals' as const, perSecond: ARRIVALS }
    // More than are open at a time, where a stream lasts a second.
    const all = { ...asked, connections: 4 * ARRIVALS }
    await load({ ...all, ms: SIZE.streamMs })
    const measured = await load({ ...all, ms: SIZE.streamMs })
    rows.push({ ...measured, target, name: target.name })
  }
  return rows.map(({ target: { name, against }, p50, p99, cpuUs, failed }) => {
    const upstream = named(rows, against.upstream)
    const isUpstream = name === against.upstream
    return {
      name,
      firstP50: p50,
      firstP99: p99,
      addedP50: isUpstream ? null : p50 - upstream.p50,
      addedP99: isUpstream ? null : p99 - upstream.p99,
      cpuUs: isUpstream ? null : cpuUs,
      failed,
    }
  })
}

/** Memory while many slow streams are open, over what it was before. */
async function slowStreams(target: Target) {
  const before = residentMiB(target.pid)
  let most = before
  const watch = setInterval(() => {
    most = Math.max(most, residentMiB(target.pid))
  }, 100)
  const asked = { ...question(target, 'slow'), kind: 'streams' as const }
  try {
    const { p99, failed } = await load({ ...asked, connections: SIZE.slow })
    const perStreamKiB = ((most - before) * 1024) / SIZE.slow
    return { name: target.name, streams: SIZE.slow, perStreamKiB, firstP99: p99, failed }
  } finally {
    clearInterval(watch)
  }
}

/** Resident memory after each tenth of the requests; what leaks keeps growing. Ends early on a slow machine. */
async function leak(target: Target) {
  const steps: number[] = []
  const ends = performance.now() + SIZE.leakMs
  while (steps.length < 10 && performance.now() < ends) {
    const asked = { ...question(target, 'whole'), kind: 'count' as const }
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
  const proxies = targets.filter(({ name, against }) => name !== against.upstream)
  const ours = proxies.filter(({ name }) => name.startsWith('Vouchgate'))
  note('streams')
  // First, while no memory is left over from anything else.
  const slow: Report['slow'] = []
  for (const target of QUICK ? ours : proxies) slow.push(await slowStreams(target))
  const streams = await streaming(targets)
  const requests: RequestRow[] = []
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
    pinned: PINNED,
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
