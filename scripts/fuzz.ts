import { EvidenceError } from '@vouchgate/attestation'
import { Coverage, Reached } from './coverage.ts'
import { writeCounts } from './counts.ts'
import { mutate, mutations } from './fuzz-mutations.ts'
import type { Target } from './fuzz-target.ts'
import { fuzzTargets } from './fuzz-targets.ts'

/*
 * Coverage-guided fuzzing of every parser of untrusted input, for a bounded time. Inputs that reach a block
 * of attestation/ that none reached before are kept and mutated further. A parser may succeed or throw an
 * `EvidenceError`; anything else fails, and so does an input that takes seconds.
 *
 *   npm run test:fuzz [-- --seconds N] [--seed N] [--outputFile.json=FILE]
 */

const BATCH = 256
const MAX_INPUT_BYTES = 1 << 16
const MAX_INPUT_MS = 5000

interface Fuzzed extends Target {
  readonly corpus: Uint8Array[]
  readonly reached: Reached
  runs: number
  /** Milliseconds spent. */
  spent: number
  slowest: number
  finding: { readonly what: string; readonly input: Uint8Array } | null
}

const print = (line: string): boolean => process.stdout.write(`${line}\n`)

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  if (at < 0) return fallback
  const value = Number(process.argv[at + 1])
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`--${name} takes a number`)
  return value
}

/** Runs one input; the first finding of a target stays. */
async function execute(target: Fuzzed, input: Uint8Array): Promise<void> {
  const begun = performance.now()
  try {
    await target.run(input)
  } catch (error) {
    const what = error instanceof Error ? error.name : typeof error
    if (!(error instanceof EvidenceError)) target.finding ??= { what, input }
  }
  const took = performance.now() - begun
  if (took > MAX_INPUT_MS) target.finding ??= { what: 'too slow', input }
  target.slowest = Math.max(target.slowest, took)
  target.runs++
}

/** A seed that its own parser refuses would test nothing but the first check. */
async function plant(target: Fuzzed, coverage: Coverage): Promise<void> {
  await coverage.take()
  for (const seed of target.seeds) {
    try {
      await target.run(seed)
    } catch {
      target.finding ??= { what: 'a refused seed', input: seed }
    }
  }
  target.reached.grows(await coverage.take(), 'keep')
}

/**
 * Runs inputs and keeps those that reach something new. Asking for coverage costs more than running an input,
 * so it is asked for all of them together, and for each half only where the whole reached something new.
 */
async function explore(
  target: Fuzzed,
  coverage: Coverage,
  inputs: readonly Uint8Array[],
): Promise<void> {
  for (const input of inputs) await execute(target, input)
  const alone = inputs.length === 1
  if (!target.reached.grows(await coverage.take(), alone ? 'keep' : 'look')) return
  if (alone) {
    target.corpus.push(...inputs)
    return
  }
  const half = inputs.length >> 1
  await explore(target, coverage, inputs.slice(0, half))
  await explore(target, coverage, inputs.slice(half))
}

async function fuzzBatch(target: Fuzzed, coverage: Coverage, seed: number): Promise<void> {
  const begun = performance.now()
  const inputs = mutations(seed, BATCH).map((mutation) =>
    mutate(mutation, target.corpus).slice(0, MAX_INPUT_BYTES),
  )
  await explore(target, coverage, inputs)
  target.spent += performance.now() - begun
}

function printTarget({ name, runs, corpus, seeds, reached, slowest, finding }: Fuzzed): void {
  const facts = [
    `${runs} inputs`,
    `${corpus.length - seeds.length} kept`,
    `${reached.functions} functions reached`,
    `slowest ${slowest.toFixed(0)} ms`,
  ]
  const verdict = finding === null ? (runs === 0 ? 'SKIPPED ' : '') : 'FAILED '
  print(`${verdict}${name}: ${facts.join(', ')}`)
  // Made from synthetic seeds only, so that it may be shown.
  if (finding !== null) print(`  ${finding.what}: ${Buffer.from(finding.input).toString('base64')}`)
}

async function main(): Promise<number> {
  const seconds = option('seconds', 90)
  const seed = option('seed', Date.now() % 2 ** 31)
  print(`seed ${seed}, ${seconds} s`)
  const coverage = new Coverage('/attestation/')
  await coverage.start()
  const targets = (await fuzzTargets()).map((target): Fuzzed => ({
    ...target,
    corpus: [...target.seeds],
    reached: new Reached(),
    runs: 0,
    spent: 0,
    slowest: 0,
    finding: null,
  }))
  for (const target of targets) await plant(target, coverage)
  const ends = performance.now() + seconds * 1000
  // A slow machine takes longer than it was given, and leaves no target out.
  const isOver = (): boolean => performance.now() >= ends && targets.every(({ runs }) => runs > 0)
  for (let batch = 0; !isOver(); batch++) {
    const [next] = targets.toSorted((a, b) => a.spent - b.spent)
    if (next !== undefined) await fuzzBatch(next, coverage, seed + batch)
  }
  for (const target of targets) printTarget(target)
  coverage.stop()
  const failed = targets.filter(({ finding }) => finding !== null).length
  const skipped = targets.filter(({ finding, runs }) => finding === null && runs === 0).length
  writeCounts({ passed: targets.length - failed - skipped, failed, skipped })
  return failed === 0 ? 0 : 1
}

process.exitCode = await main()
