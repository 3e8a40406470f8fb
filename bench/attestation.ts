import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { styleText } from 'node:util'
import type { z } from 'zod'
import { realQuotes, syntheticQuotes, type QuoteCase } from '../test/support/quote-cases.ts'
import { VERIFIERS } from './verifiers.ts'
import { gpuRows, type GpuRow } from './gpu-rows.ts'
import { median } from './timing.ts'
import { answersSchema, timesSchema, type taskSchema } from './verify-worker.ts'

/*
 * Full offline verification of the same quotes with the same collateral, by this library and by the verifiers
 * of others, in one run on one machine, three times: the first in a fresh process; with compiled code and nothing
 * remembered of the evidence (cold), which is made sure of by verifying evidence of many other vendors in between,
 * since all that is remembered is bounded; and with everything remembered (warm). And the floor, bare P-256
 * signatures. Others remember nothing, so that their cold and warm are the same. Only ratios mean anything.
 * Beside it, whose answers are right.
 *
 *   npm run bench:attestation [-- --quick] [-- --json]
 *
 * Peers are installed into a folder of their own for the time of the run, and skipped where that fails. Quotes
 * come from VOUCHGATE_VECTORS; without it one simulated quote is measured and no answers are compared.
 */

type Task = z.input<typeof taskSchema>
type Times = z.output<typeof timesSchema>
type Answers = z.output<typeof answersSchema>

interface Row {
  readonly name: string
  readonly times: Times
  readonly answers: Answers
}

const OURS = '@vouchgate/attestation'
const WORKER = new URL('verify-worker.ts', import.meta.url).pathname
const note = (line: string): boolean => process.stderr.write(`${line}\n`)

function installPeers(folder: string): string[] {
  const packages = Object.values(VERIFIERS).flatMap(({ installed }) => installed ?? [])
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--silent']
  try {
    execFileSync('npm', ['install', '--prefix', folder, ...options, ...packages], {
      stdio: 'ignore',
      timeout: 180_000,
    })
    return Object.keys(VERIFIERS)
  } catch {
    note(`SKIPPED: ${packages.join(', ')} could not be installed`)
    return [OURS]
  }
}

/** Without real quotes a simulated one is all there is, and it ends in another root than Intel's. */
function ableToJudge(names: readonly string[]): string[] {
  if (realQuotes().length > 0) return [...names]
  note('SKIPPED: real quotes, VOUCHGATE_VECTORS is not set')
  const unable = names.filter((name) => VERIFIERS[name]?.anyRoot === false)
  for (const name of unable) note(`SKIPPED: ${name} knows no root but Intel's`)
  return names.filter((name) => !unable.includes(name))
}

async function ask(task: Task): Promise<unknown> {
  const child = spawn(process.execPath, ['--conditions=vouchgate-source', WORKER], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.end(JSON.stringify(task))
  const line = await text(child.stdout)
  if (line === '') throw new Error(`${task.verifier} could not be run`)
  return JSON.parse(line)
}

/** Intel's library calls a platform that meets no level an error; refusing it is the same answer. */
const agrees = (want: string, seen: string | undefined): boolean =>
  seen === want || (want === 'TcbNotSupported' && (seen === 'REJECT' || seen === 'Unknown'))

const isRight =
  (answers: Answers) =>
  ({ name, want }: QuoteCase): boolean =>
    agrees(want, answers[name])

/** The rounds alternate between the verifiers, so that noise of the machine meets all of them. */
async function measure(names: readonly string[], peers: string, quick: boolean): Promise<Row[]> {
  const askOf = async (verifier: string, timed: string[] | null): Promise<unknown> =>
    ask({ verifier, peers, timed, passes: quick ? 1 : 3 })
  const judged = new Map<string, Answers>()
  for (const name of names) judged.set(name, answersSchema.parse(await askOf(name, null)))
  // A verifier that refuses early is not fast: only quotes that all of them judge alike are timed.
  const timed = realQuotes().filter((quote) =>
    [...judged.values()].every((answers) => answers[quote.name] === quote.want),
  )
  const chosen = timed.filter((_, at) => !quick || at % 8 === 0).map(({ name }) => name)
  note(`timed: ${chosen.length === 0 ? 'one simulated quote' : `${chosen.length} quotes`}`)
  const rounds = new Map<string, Times[]>(names.map((name) => [name, []]))
  for (let round = 0; round < (quick ? 3 : 7); round++) {
    for (const name of names) {
      rounds.get(name)?.push(timesSchema.parse(await askOf(name, chosen)))
    }
  }
  return names.map((name) => ({
    name,
    times: medians(rounds.get(name) ?? []),
    answers: judged.get(name) ?? {},
  }))
}

function medians(rounds: readonly Times[]): Times {
  const of = (pick: (times: Times) => number): number => median(rounds.map(pick))
  return {
    first: of(({ first }) => first),
    cold: of(({ cold }) => cold),
    warm: of(({ warm }) => warm),
    floor: of(({ floor }) => floor),
    signatureShare: of(({ signatureShare }) => signatureShare),
    coldSignatures: of(({ coldSignatures }) => coldSignatures),
    signatures: of(({ signatures }) => signatures),
  }
}

/** How long the fastest peer takes, which may be another one each time. */
type Fastest = Readonly<Record<'first' | 'cold' | 'warm', number>> | null

function fastestPeer(peers: readonly Times[]): Fastest {
  if (peers.length === 0) return null
  const least = (pick: (times: Times) => number): number => Math.min(...peers.map(pick))
  return {
    first: least(({ first }) => first),
    cold: least(({ cold }) => cold),
    warm: least(({ warm }) => warm),
  }
}

function summary({ name, times, answers }: Row, fastest: Fastest, floor: number) {
  const real = realQuotes()
  const bad = syntheticQuotes().filter((quote) => quote.want === 'REJECT' && quote.name in answers)
  const round = (value: number): number => Number(value.toFixed(2))
  return {
    name,
    firstMs: round(times.first),
    firstOfPeer: fastest === null ? null : round(times.first / fastest.first),
    coldMs: round(times.cold),
    coldOfPeer: fastest === null ? null : round(times.cold / fastest.cold),
    warmMs: round(times.warm),
    warmOfPeer: fastest === null ? null : round(times.warm / fastest.warm),
    warmOfFloor: round(times.warm / floor),
    coldSignatures: times.coldSignatures === 0 ? null : times.coldSignatures,
    warmSignatures: times.signatures === 0 ? null : times.signatures,
    signatureShare: times.signatures === 0 ? null : round(times.signatureShare),
    realRight: `${real.filter(isRight(answers)).length}/${real.length}`,
    badAccepted:
      bad.length === 0 ? null : `${bad.length - bad.filter(isRight(answers)).length}/${bad.length}`,
  }
}

function print(rows: readonly ReturnType<typeof summary>[], floor: number): void {
  const line = (cells: readonly string[]) =>
    process.stdout.write(
      `${cells.map((cell, at) => (at === 0 ? cell.padEnd(24) : cell.padStart(13))).join('')}\n`,
    )
  process.stdout.write(
    styleText('bold', '\noffline verification of one quote, one machine, one run\n\n'),
  )
  line([
    '',
    'first ms',
    '× best peer',
    'cold ms',
    '× best peer',
    'warm ms',
    '× best peer',
    '× floor',
    'signed: cold',
    'warm',
    'their share',
    'real right',
    'bad accepted',
  ])
  for (const { name, ...row } of rows) {
    line([name, ...Object.values(row).map((value) => (value === null ? '–' : String(value)))])
  }
  line(['floor: 12 × P-256', '', '', '', '', floor.toFixed(2)])
}

function printGpus(rows: readonly GpuRow[]): void {
  process.stdout.write(styleText('bold', '\nNVIDIA evidence, simulated, compiled code\n\n'))
  for (const { name, ms, signatures, signatureShare } of rows) {
    const cells = [`${ms} ms`, `${signatures} signatures`, `their share ${signatureShare}`]
    process.stdout.write(`${name.padEnd(24)}${cells.map((cell) => cell.padStart(20)).join('')}\n`)
  }
}

const peers = mkdtempSync(join(tmpdir(), 'vouchgate-peers-'))
try {
  const names = ableToJudge(installPeers(peers))
  const rows = await measure(names, peers, process.argv.includes('--quick'))
  const others = rows.filter(({ name }) => name !== OURS).map(({ times }) => times)
  const fastest = fastestPeer(others)
  const floor = median(rows.map(({ times }) => times.floor))
  const summaries = rows.map((row) => summary(row, fastest, floor))
  const gpus = await gpuRows(process.argv.includes('--quick') ? 9 : 41)
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ quotes: summaries, gpus })}\n`)
  } else {
    print(summaries, floor)
    printGpus(gpus)
  }
} finally {
  rmSync(peers, { recursive: true, force: true })
}
