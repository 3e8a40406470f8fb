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
import { removals, suitesFor } from './removals.ts'
import type { Removal } from './steps.ts'

/*
 * Removes every refusal and every verification step, one at a time, in a copy of the sources, and demands
 * that a test goes red. A check that nobody would miss is a check that may one day be missing.
 *
 *   npm run test:steps [-- --only TEXT] [--sample N] [--outputFile.json=FILE]
 *
 * With --sample one of N shares is looked at, chosen by the commit: the whole takes an hour on two cores.
 */

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

/** Those that the command line asks for. */
function wanted(): Removal[] {
  const only = option('--only') ?? ''
  const named = removals().filter(({ file, name }) => `${file} ${name}`.includes(only))
  const of = Number(option('--sample') ?? 1)
  return named.filter((_, index) => (index + shareOf(of)) % of === 0)
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
  const all = wanted()
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
