import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { LAUNCH_FLAGS_PATH, parseLaunchFlags } from '../../enclave/launch-flags.ts'
import { CLEAN_PATH, copyContext, copyProductionPackages, ended, spawnIn } from './clean-folder.ts'

/** Stands where the command line stands and tells how it was started. */
const PROBE = `
import { createServer } from 'node:http'
import { readFileSync, writeFileSync } from 'node:fs'
import { dstackSource, selfCheck } from '../enclave/index.ts'
const attempt = (action) => { try { action(); return 'done' } catch (error) { return error.code } }
const { facts } = selfCheck()
const told = {
  facts, env: process.env, args: process.argv.slice(2), cwd: process.cwd(), execArgv: process.execArgv,
  write: attempt(() => writeFileSync('/tmp/vouchgate-launch-test', 'x')),
  readOutside: attempt(() => readFileSync('/etc/hostname')),
  readConfig: attempt(() => readFileSync(process.argv.at(-1))),
}
const server = createServer().listen(0, '127.0.0.1', async () => {
  const socketPath = process.argv[2] === 'ask' ? process.argv[3] : null
  if (socketPath !== null) {
    told.quote = await dstackSource({ socketPath }).quote(new Uint8Array(64)).catch(({ code }) => code)
  }
  process.stdout.write(JSON.stringify(told) + '\\n')
  if (process.argv[2] !== 'serve') server.close()
})
process.on('SIGTERM', () => server.close(() => process.exit(7)))
`

const told = z.object({
  facts: z.record(z.string(), z.string()),
  env: z.record(z.string(), z.string()),
  args: z.array(z.string()),
  cwd: z.string(),
  execArgv: z.array(z.string()),
  write: z.string(),
  readOutside: z.string(),
  readConfig: z.string(),
  quote: z.string().optional(),
})

/** Facts that the launcher itself brings about, wherever it runs. */
const LAUNCHER_FACTS = [
  'exec_argv',
  'environment_clean',
  'fs_write_denied',
  'core_limit_zero',
  'core_filter_zero',
  'no_diagnostics_subscribers',
  'no_tty',
  'inspector_inactive',
]

let folder = ''
let config = ''
beforeAll(() => {
  folder = copyContext()
  copyProductionPackages(folder)
  mkdirSync(join(folder, 'cli'), { recursive: true })
  writeFileSync(join(folder, 'cli/main.ts'), PROBE)
  mkdirSync(`${folder}-config`)
  config = join(`${folder}-config`, 'config.yaml')
  writeFileSync(config, 'listen: {}\n')
}, 60_000)
afterAll(() => {
  rmSync(folder, { recursive: true })
  rmSync(`${folder}-config`, { recursive: true })
})

const start = (args: readonly string[], env: Record<string, string> = {}) =>
  spawnIn('/', ['/bin/sh', join(folder, 'scripts/launch.sh'), ...args], {
    PATH: CLEAN_PATH,
    ...env,
  })

const launch = (args: readonly string[], env?: Record<string, string>) => ended(start(args, env))

async function probe(args: readonly string[], env?: Record<string, string>) {
  const { status, out, err } = await launch(args, env)
  expect([status, err]).toEqual([0, ''])
  return told.parse(JSON.parse(out))
}

describe('launcher', () => {
  test('brings about every fact that is in its hands', async () => {
    const { facts } = await probe(['--', 'config', 'check'])
    const held = LAUNCHER_FACTS.filter((fact) => facts[fact] === 'held')
    expect(held).toEqual(LAUNCHER_FACTS)
    expect(Object.values(facts)).not.toContain('unknown')
  })

  test('passes exactly the flags of the list, then paths to read', async () => {
    const { execArgv } = await probe(['--', 'config', 'check'])
    const flags = parseLaunchFlags(readFileSync(LAUNCH_FLAGS_PATH, 'utf8'))
    expect(execArgv.slice(0, flags.length)).toEqual(flags)
    expect(execArgv.slice(flags.length)).toEqual([
      `--allow-fs-read=${folder}`,
      '--allow-fs-read=/proc/self',
      '--allow-fs-read=/proc/swaps',
      '--allow-fs-read=/proc/sys/kernel/core_pattern',
      '--allow-fs-read=/etc/ssl/certs',
    ])
  })

  test('empties the environment', async () => {
    const { env } = await probe(['--', 'config', 'check'], {
      NODE_OPTIONS: '--inspect=0',
      SSLKEYLOGFILE: '/tmp/keys',
      HTTPS_PROXY: 'http://127.0.0.1:1',
      SECRET: 'x',
    })
    expect(env).toEqual({ PATH: '/usr/local/bin:/usr/bin:/bin', NODE_ENV: 'production' })
  })

  test('passes on the variables it is told to, whatever is in them', async () => {
    const value = 'a b\n$(id) "\' \\'
    const { env } = await probe(['--env', 'SECRET', '--', 'config', 'check'], { SECRET: value })
    expect(env['SECRET']).toBe(value)
  })

  test('lets the gateway read its configuration, and neither other files nor write any', async () => {
    const { args, readConfig, readOutside, write } = await probe(['--', 'x', '--config', config])
    expect(args).toEqual(['x', '--config', config])
    expect([readConfig, readOutside, write]).toEqual(Array(3).fill('ERR_ACCESS_DENIED'))
    const allowed = await probe(['--read', config, '--', 'x', config])
    expect([allowed.readConfig, allowed.readOutside]).toEqual(['done', 'ERR_ACCESS_DENIED'])
    expect(existsSync('/tmp/vouchgate-launch-test')).toBe(false)
  })

  test('lets the gateway write one file where it is told to, and the self-check says so', async () => {
    const { facts, execArgv, write } = await probe(['--write', '/data/sessions.db', '--', 'x'])
    expect(execArgv).toContain('--allow-fs-write=/data/sessions.db')
    expect(facts).toMatchObject({ exec_argv: 'not_held', fs_write_denied: 'not_held' })
    expect(write).toBe('ERR_ACCESS_DENIED')
  })

  test('lets a leader start processes where it is told to, and the self-check of one that serves says so', async () => {
    const { facts, execArgv } = await probe(['--workers', '--', 'x'])
    const flags = parseLaunchFlags(readFileSync(LAUNCH_FLAGS_PATH, 'utf8'))
    expect(execArgv.slice(0, flags.length)).toEqual(flags)
    expect(execArgv[flags.length]).toBe('--allow-child-process')
    expect(execArgv.filter((flag) => flag === '--allow-child-process').length).toBe(1)
    expect(facts['exec_argv']).toBe('not_held')
    const other = await probe(['--read', config, '--workers', '--', 'x', config])
    expect(other.readConfig).toBe('done')
  })

  test('serves with the configuration it is given and ends when the gateway has drained', async () => {
    const child = start(['--config', config])
    const end = ended(child)
    const [chunk] = await once(child.stdout ?? child, 'data')
    const { args, readConfig, cwd } = told.parse(JSON.parse(String(chunk)))
    expect([args, readConfig, cwd]).toEqual([['serve', '--config', config], 'done', folder])
    child.kill('SIGTERM')
    expect((await end).status).toBe(7)
  })

  test.each([
    [[]],
    [['--config']],
    [['--config', '/x', '--', 'serve']],
    [['--']],
    [['serve']],
    [['--workers']],
    [['--inspect', 'x', '--config', '/x']],
    [['--env', 'NODE_OPTIONS', '--config', '/x']],
    [['--env', 'LD_PRELOAD', '--config', '/x']],
    [['--env', 'HTTPS_PROXY', '--config', '/x']],
    [['--env', 'A=B', '--config', '/x']],
    [['--env', 'a', '--config', '/x']],
    [['--env', '', '--config', '/x']],
  ])('refuses %j as wrong usage', async (args) => {
    const { status, err } = await launch(args, {
      NODE_OPTIONS: 'x',
      LD_PRELOAD: '',
      HTTPS_PROXY: 'x',
    })
    expect(status).toBe(2)
    expect(err).toContain('usage: launch.sh')
  })

  test('does not start without a secret that it was told to pass on', async () => {
    const { status, err } = await launch(['--env', 'SECRET', '--config', config])
    expect([status, err]).toEqual([1, 'launch.sh: SECRET is not set\n'])
  })

  test('does not start without node', async () => {
    const { status, err } = await launch(['--config', config], { PATH: '/nonexistent' })
    expect(status).not.toBe(0)
    expect(err).not.toBe('')
  })
})

const agentArgs = () => [
  '--quote-agent',
  join(`${folder}-config`, 'quote.sock'),
  '--tsm-root',
  join(`${folder}-config`, 'tsm'),
]

describe('launcher with a quote agent', () => {
  test('starts it first, and the gateway reaches it without the right to write', async () => {
    const socket = join(`${folder}-config`, 'quote.sock')
    writeFileSync(socket, 'left over from before')
    const { quote, facts } = await probe([...agentArgs(), '--', 'ask', socket])
    expect(quote).toBe('quote_unavailable')
    expect(facts['fs_write_denied']).toBe('held')
    expect(existsSync(socket)).toBe(false)
  })

  test('forwards SIGTERM, waits for the gateway and ends the agent', async () => {
    const child = start([...agentArgs(), '--config', config])
    const end = ended(child)
    await once(child.stdout ?? child, 'data')
    child.kill('SIGTERM')
    expect((await end).status).toBe(7)
    expect(existsSync(join(`${folder}-config`, 'quote.sock'))).toBe(false)
  })

  test('does not start the gateway where the agent does not start', async () => {
    const { status, out, err } = await launch([
      '--quote-agent',
      join(folder, 'absent/quote.sock'),
      '--config',
      config,
    ])
    expect([status, out]).toEqual([1, ''])
    expect(err).toContain('launch.sh: the quote agent did not start')
  })
})
