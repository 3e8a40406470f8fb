import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { LoadResult } from './load.ts'
import { startLoad, startRole, stopAll, stopped } from './processes.ts'
import { BENCH_KEY, type SuiteInput, type Upstream } from './servers.ts'

/*
 * Where the time of a request goes: the gateway under V8's profiler (`--cpu-prof`) at 32 connections, 1 KB each. What is
 * counted is computing of the main thread after it is warm, by what ran.
 *
 *   npm run bench:profile
 */

const WARM_MS = 8000
const MEASURED_MS = 8000

interface Node {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string }
  readonly children?: readonly number[]
}

interface Profile {
  readonly nodes: readonly Node[]
  readonly samples: readonly number[]
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[]
}

/** The first that fits the function that ran, or one that it was called from. */
const AREAS: readonly (readonly [name: string, fits: (node: Node) => boolean])[] = [
  ['waiting', ({ callFrame }) => callFrame.functionName === '(idle)'],
  ['garbage collection', ({ callFrame }) => callFrame.functionName === '(garbage collector)'],
  ['runtime, unattributed', ({ callFrame }) => callFrame.functionName === '(program)'],
  ['hashes', ({ callFrame }) => callFrame.url.startsWith('node:internal/crypto/')],
  [
    'TLS and sockets',
    ({ callFrame: { functionName, url } }) =>
      functionName === 'writev' || /^node:(?:net|_?tls|internal\/stream_base)/.test(url),
  ],
  ['HTTP to the provider (undici)', ({ callFrame }) => callFrame.url.includes('/undici/')],
  [
    'HTTP from the client (Node, Fastify)',
    ({ callFrame }) => /^node:_http|\/fastify\/|\/find-my-way\//.test(callFrame.url),
  ],
  [
    'the gateway',
    ({ callFrame }) => /\/(?:src|enclave|attestation)\/[^/]/.test(ours(callFrame.url)),
  ],
  ['events, timers, promises', () => true],
]

/** Of our own files, the path within the project. */
const ours = (url: string): string =>
  url.includes('/node_modules/') ? '' : url.replace(new URL('..', import.meta.url).href, '/')

function shares(profile: Profile, since: number): Map<string, number> {
  const byId = new Map(profile.nodes.map((node) => [node.id, node]))
  const parents = new Map(
    profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  )
  const areaOf = (id: number): string => {
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const node = byId.get(at)
      const area = node && AREAS.slice(0, -1).find(([, fits]) => fits(node))
      if (area !== undefined) return area[0]
    }
    return AREAS.at(-1)?.[0] ?? ''
  }
  const known = new Map<number, string>()
  const spent = new Map<string, number>()
  let at = 0
  for (const [index, id] of profile.samples.entries()) {
    const delta = profile.timeDeltas[index] ?? 0
    at += delta
    if (at < since) continue
    const area = known.get(id) ?? areaOf(id)
    known.set(id, area)
    spent.set(area, (spent.get(area) ?? 0) + delta)
  }
  return spent
}

function print(title: string, spent: ReadonlyMap<string, number>): void {
  const busy = [...spent].filter(([area]) => area !== 'waiting')
  const total = busy.reduce((sum, [, each]) => sum + each, 0)
  const rows = busy
    .toSorted(([, left], [, right]) => right - left)
    .map(([area, each]) => `| ${area} | ${((100 * each) / total).toFixed(1)} % |`)
  process.stdout.write(`| ${title} | share |\n| --- | ---: |\n${rows.join('\n')}\n\n`)
}

async function profiled(title: string, model: string, input: SuiteInput): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vouchgate-profile-'))
  try {
    const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`]
    const gateway = await startRole<{ origin: string }>('suiteGateway', input, flags)
    const body = JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'word '.repeat(186) }],
    })
    const headers = { authorization: `Bearer ${BENCH_KEY}` }
    const { origin } = gateway.answer
    const asked = { origin, headers, body, pid: gateway.pid, kind: 'requests', connections: 32 }
    const load = startLoad<LoadResult>()
    // The first verification.
    await delay(2000)
    await load({ ...asked, leadMs: WARM_MS, ms: MEASURED_MS })
    await stopped(gateway.pid)
    const [file] = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'))
    const profile: Profile = JSON.parse(readFileSync(join(folder, file ?? ''), 'utf8'))
    const whole = profile.timeDeltas.reduce((sum, each) => sum + each, 0)
    print(title, shares(profile, whole - 1000 * MEASURED_MS))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

try {
  const plain = await startRole<{ origin: string }>('plainUpstream', {})
  const whole = { name: 'whole-model', origin: plain.answer.origin }
  await profiled('Vouchgate, plain', whole.name, { attested: [], plain: [whole] })
  const tee = await startRole<Upstream>('upstream', { fixed: true })
  const attested = [{ ...tee.answer, name: 'tee-whole' }]
  await profiled('Vouchgate, attested', 'tee-whole', { attested, plain: [] })
} finally {
  stopAll()
}
