import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeCounts } from './counts.ts'
import { EQUIVALENT } from './steps-equivalent.ts'
import { STEPS, SUITES, type Removal } from './steps.ts'

/*
 * Removes every refusal and every verification step, one at a time, in a copy of the sources, and demands
 * that a test goes red. A check that nobody would miss is a check that may one day be missing.
 *
 *   npm run test:steps [-- --only TEXT] [--sample N] [--outputFile.json=FILE]
 *
 * With --sample one of N shares is looked at, chosen by the commit: the whole takes an hour on two cores.
 */

const THROW =
  /throw new (?:EvidenceError|NrasFailure|PolicyError|ChannelError|ClientError|GatewayError|EnclaveError|VerificationRefused|SessionFileError|SendError|TypeError)\(/g
const WORKERS = 2
const COPIED = [
  'attestation',
  'enclave',
  'client',
  'src',
  'cli',
  'test',
  'scripts',
  'vitest.config.ts',
  'package.json',
  'tsconfig.base.json',
  '.oxlintrc.json',
  'config.example.yaml',
]

/** `throw new X(…)` statements as removals: the condition is still computed, and nothing follows from it. */
function refusals(file: string): Removal[] {
  const text = readFileSync(file, 'utf8')
  return [...text.matchAll(THROW)].map(({ index }, nth) => ({
    file,
    name: `refusal ${nth + 1}: ${text.slice(index + 'throw new '.length, text.indexOf('\n', index))}`,
    start: index,
    end: closingParenthesis(text, index),
    replacement: 'void 0',
  }))
}

function closingParenthesis(text: string, from: number): number {
  let depth = 0
  for (let at = text.indexOf('(', from); at < text.length; at++) {
    if (text[at] === '(') depth++
    if (text[at] === ')' && --depth === 0) return at + 1
  }
  throw new TypeError(`unbalanced statement at ${from}`)
}

/** A step named by its text, which must stand exactly once in its file. */
function named([file, step, replacement]: readonly [string, string, string]): Removal {
  const text = readFileSync(file, 'utf8')
  const start = text.indexOf(step)
  if (start < 0 || text.includes(step, start + 1)) {
    throw new TypeError(`${file} does not hold exactly once: ${step}`)
  }
  return {
    file,
    name: step.trim().split('\n')[0] ?? '',
    start,
    end: start + step.length,
    replacement,
  }
}

/** The sources again, with this project's dependencies but with its own copy of the attestation package. */
function copySources(): string {
  const copy = mkdtempSync(join(tmpdir(), 'vouchgate-steps-'))
  for (const name of COPIED.filter((entry) => existsSync(entry)))
    cpSync(name, join(copy, name), { recursive: true })
  mkdirSync(join(copy, 'node_modules', '@vouchgate'), { recursive: true })
  for (const name of readdirSync('node_modules')) {
    if (name === '@vouchgate' || name === '.vite') continue
    symlinkSync(join(process.cwd(), 'node_modules', name), join(copy, 'node_modules', name))
  }
  symlinkSync(join(copy, 'attestation'), join(copy, 'node_modules', '@vouchgate', 'attestation'))
  return copy
}

async function testsFail(
  copy: string,
  suites: readonly string[],
  timeout = 120_000,
): Promise<boolean> {
  const child = spawn(
    process.execPath,
    [join('node_modules', 'vitest', 'vitest.mjs'), 'run', '--bail=1', '--reporter=dot', ...suites],
    {
      cwd: copy,
      stdio: 'ignore',
      env: { PATH: process.env['PATH'], NODE_ENV: 'test' },
      timeout,
    },
  )
  const [status] = await once(child, 'exit')
  return status !== 0
}

function suitesFor(file: string): readonly string[] {
  const found = SUITES.find(([prefix]) => file.startsWith(prefix))
  if (found === undefined) throw new TypeError(`no suite for ${file}`)
  return found[1]
}

const print = (line: string): boolean => process.stdout.write(`${line}\n`)

/** Whether a test noticed the removal. */
async function noticed(copy: string, removal: Removal): Promise<boolean> {
  const path = join(copy, removal.file)
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.slice(0, removal.start) + removal.replacement + text.slice(removal.end))
  const red = await testsFail(copy, suitesFor(removal.file))
  writeFileSync(path, text)
  return red
}

function sourceFiles(prefix: string): string[] {
  if (prefix.endsWith('.ts')) return [prefix]
  return readdirSync(prefix, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('dist/'))
    .map((name) => join(prefix, name))
    .toSorted()
}

function removals(): Removal[] {
  const files = [...new Set(SUITES.flatMap(([prefix]) => sourceFiles(prefix)))]
  const all = [...STEPS.map(named), ...files.flatMap(refusals)]
  const wanted = option('--only') ?? ''
  const judged = all
    .filter(({ file, name }) => `${file} ${name}`.includes(wanted))
    .filter(({ file, name }) => !EQUIVALENT.some(([f, n]) => f === file && name.includes(n)))
  const of = Number(option('--sample') ?? 1)
  return judged.filter((_, index) => (index + shareOf(of)) % of === 0)
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at === -1 ? undefined : process.argv[at + 1]
}

/** Which of `of` shares this commit looks at: another one than the commit before, most of the time. */
function shareOf(of: number): number {
  const head = spawnSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).stdout ?? ''
  const number = Number.parseInt(head.slice(0, 8), 16)
  return Number.isNaN(number) ? 0 : number % of
}

/** Takes removals off the queue until it is empty; gives those that no test noticed. */
async function work(queue: Removal[]): Promise<Removal[]> {
  const copy = copySources()
  const survivors: Removal[] = []
  try {
    for (let removal = queue.shift(); removal !== undefined; removal = queue.shift()) {
      const red = await noticed(copy, removal)
      print(`${red ? 'red ' : 'STILL GREEN'} ${removal.file} — ${removal.name}`)
      if (!red) survivors.push(removal)
    }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  return survivors
}

/** A test that is red anyway would make every removal look noticed. */
async function allGreen(all: readonly Removal[]): Promise<boolean> {
  const copy = copySources()
  try {
    const suites = [...new Set(all.flatMap(({ file }) => suitesFor(file)))]
    return !(await testsFail(copy, suites, 600_000))
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

async function main(): Promise<number> {
  const all = removals()
  if (!(await allGreen(all))) {
    print('the tests fail with every step in place')
    return 1
  }
  const queue = [...all]
  const survivors = (await Promise.all(Array.from({ length: WORKERS }, () => work(queue)))).flat()
  const passed = all.length - survivors.length
  writeCounts({ passed, failed: survivors.length, skipped: 0 })
  print(`${passed} of ${all.length} removals turn a test red`)
  return survivors.length === 0 ? 0 : 1
}

process.exitCode = await main()
