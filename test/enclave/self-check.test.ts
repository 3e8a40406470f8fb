import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  isLaunchContract,
  LAUNCH_FLAGS_PATH,
  LEADER_FLAG,
  parseLaunchFlags,
  workerFlags,
} from '../../enclave/launch-flags.ts'
import { processProbe, type Probe } from '../../enclave/probe.ts'
import { selfCheck, selfCheckOfLeader, worstFacts } from '../../enclave/self-check.ts'

const flagsText = readFileSync(LAUNCH_FLAGS_PATH, 'utf8')
const flags = parseLaunchFlags(flagsText)

const STATUS = [
  'Name:\tnode',
  'VmSwap:\t       0 kB',
  'NoNewPrivs:\t1',
  'Seccomp:\t2',
  'Seccomp_filters:\t1',
  '',
]
const MOUNTS = [
  'overlay / overlay ro,relatime,lowerdir=/l,upperdir=/u,workdir=/w 0 0',
  'proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0',
  'tmpfs /tmp tmpfs rw,nosuid,nodev,noexec,size=16384k 0 0',
  'tmpfs /run/dstack.sock tmpfs rw,nosuid,nodev 0 0',
  '/dev/vda1 /etc/vouchgate/config.yaml ext4 ro,relatime 0 0',
  '',
]
const LIMITS = [
  'Limit                     Soft Limit           Hard Limit           Units     ',
  'Max core file size        0                    0                    bytes     ',
  '',
]

const FILES: Readonly<Record<string, string>> = {
  [LAUNCH_FLAGS_PATH]: flagsText,
  '/proc/self/limits': LIMITS.join('\n'),
  '/proc/self/coredump_filter': '00000000\n',
  '/proc/sys/kernel/core_pattern': '|/bin/false\n',
  '/proc/swaps': 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n',
  '/proc/self/status': STATUS.join('\n'),
  '/proc/self/mounts': MOUNTS.join('\n'),
}

interface ProbeChanges extends Partial<Probe> {
  readonly files?: Record<string, string>
}

/** A process and guest of which every fact holds, but for these changes. */
function probe({ files = {}, ...changes }: ProbeChanges = {}): Probe {
  const texts: Record<string, string> = { ...FILES, ...files }
  return {
    execArgv: [...flags, '--allow-fs-read=/app', '--allow-fs-read=/proc/self'],
    environmentNames: ['PATH', 'NODE_ENV', 'UPSTREAM_KEY'],
    cwd: '/app',
    readFile: (path) => {
      const text = texts[path]
      if (text === undefined) throw new Error('ENOENT')
      return text
    },
    mayWriteFiles: () => false,
    hasSubscribers: () => false,
    isTerminal: () => false,
    isInspectorActive: () => false,
    ...changes,
  }
}

const replaced = (path: string, from: string, to: string): ProbeChanges => {
  const text = FILES[path] ?? ''
  if (!text.includes(from)) throw new TypeError('nothing to replace')
  return { files: { [path]: text.replace(from, to) } }
}

const execArgv = (...argv: string[]): ProbeChanges => ({ execArgv: argv })
const withVariable = (name: string): ProbeChanges => ({ environmentNames: ['PATH', name] })
const mounts = (line: string): ProbeChanges => ({
  files: { '/proc/self/mounts': [...MOUNTS, line, ''].join('\n') },
})

const unreadable = (): never => {
  throw new Error('CANARY')
}

const BREACHES: readonly (readonly [fact: string, how: string, changes: ProbeChanges])[] = [
  ['exec_argv', 'no flags', execArgv()],
  ['exec_argv', 'flags without a path', execArgv(...flags)],
  ['exec_argv', 'a flag missing', execArgv(...flags.slice(1), '--allow-fs-read=/app')],
  ['exec_argv', 'an inspector', execArgv(...flags, '--inspect', '--allow-fs-read=/app')],
  [
    'exec_argv',
    'a heap snapshot',
    execArgv(...flags, '--allow-fs-read=/app', '--heapsnapshot-near-heap-limit=1'),
  ],
  ['exec_argv', 'reading everything', execArgv(...flags, '--allow-fs-read=*')],
  ['environment_clean', 'NODE_OPTIONS', withVariable('NODE_OPTIONS')],
  ['environment_clean', 'NODE_DEBUG', withVariable('NODE_DEBUG')],
  ['environment_clean', 'NODE_V8_COVERAGE', withVariable('NODE_V8_COVERAGE')],
  ['environment_clean', 'NODE_EXTRA_CA_CERTS', withVariable('NODE_EXTRA_CA_CERTS')],
  ['environment_clean', 'SSLKEYLOGFILE', withVariable('SSLKEYLOGFILE')],
  ['environment_clean', 'SSL_CERT_FILE', withVariable('SSL_CERT_FILE')],
  ['environment_clean', 'LD_PRELOAD', withVariable('LD_PRELOAD')],
  ['environment_clean', 'an OpenTelemetry capture', withVariable('OTEL_CAPTURE_CONTENT')],
  ['environment_clean', 'SENTRY_DSN', withVariable('SENTRY_DSN')],
  ['environment_clean', 'a proxy', withVariable('https_proxy')],
  ['fs_write_denied', 'the right to write', { mayWriteFiles: () => true }],
  [
    'core_limit_zero',
    'a soft limit',
    replaced('/proc/self/limits', 'size        0         ', 'size        unlimited '),
  ],
  [
    'core_limit_zero',
    'a hard limit',
    replaced('/proc/self/limits', '0                    bytes', 'unlimited            bytes'),
  ],
  [
    'core_filter_zero',
    'memory in cores',
    { files: { '/proc/self/coredump_filter': '00000033\n' } },
  ],
  [
    'core_pattern',
    'a handler',
    { files: { '/proc/sys/kernel/core_pattern': '|/lib/systemd/systemd-coredump %P\n' } },
  ],
  [
    'core_pattern',
    'a socket',
    { files: { '/proc/sys/kernel/core_pattern': '@/run/coredump.sock\n' } },
  ],
  [
    'no_swap',
    'a swap file',
    { files: { '/proc/swaps': `${FILES['/proc/swaps']}/swap file 1024 0 -2\n` } },
  ],
  ['no_new_privs', 'privileges to gain', replaced('/proc/self/status', 'Privs:\t1', 'Privs:\t0')],
  ['seccomp', 'no filter', replaced('/proc/self/status', 'Seccomp:\t2', 'Seccomp:\t0')],
  ['vm_swap_zero', 'swapped pages', replaced('/proc/self/status', '0 kB', '4 kB')],
  ['no_rw_block_device_mount', 'a disk', mounts('/dev/vdb /data ext4 rw,relatime 0 0')],
  ['no_rw_block_device_mount', 'a host share', mounts('host /mnt 9p rw,trans=virtio 0 0')],
  ['no_rw_block_device_mount', 'an overlay', mounts('overlay /x overlay rw,upperdir=/u 0 0')],
  ['cwd_read_only', 'a writable folder', { cwd: '/tmp' }],
  ['cwd_read_only', 'a folder below a writable one', { cwd: '/tmp/deep/er' }],
  ['cwd_read_only', 'a writable mount over it', mounts('tmpfs /app tmpfs rw 0 0')],
  [
    'cwd_read_only',
    'a writable mount over a read-only one',
    mounts('tmpfs /app tmpfs ro 0 0\ntmpfs /app tmpfs rw 0 0'),
  ],
  [
    'no_diagnostics_subscribers',
    'one of undici',
    { hasSubscribers: (name) => name === 'undici:request:bodyChunkSent' },
  ],
  [
    'no_diagnostics_subscribers',
    'one of http',
    { hasSubscribers: (name) => name === 'http.server.request.start' },
  ],
  ['no_tty', 'a terminal', { isTerminal: (descriptor) => descriptor === 2 }],
  ['inspector_inactive', 'an inspector', { isInspectorActive: () => true }],
]

describe('self-check', () => {
  test('holds every fact of a process started by the contract', () => {
    const { facts } = selfCheck(probe())
    expect(Object.keys(facts).length).toBe(15)
    expect(new Set(Object.values(facts))).toEqual(new Set(['held']))
  })

  test.each(BREACHES)('%s: %s is not held, and every other fact is', (fact, _how, changes) => {
    const { facts } = selfCheck(probe(changes))
    const broken = Object.entries(facts).filter(([, verdict]) => verdict !== 'held')
    expect(broken).toEqual([[fact, 'not_held']])
  })

  test('every fact has a breach that is seen', () => {
    const seen = new Set(BREACHES.map(([fact]) => fact))
    expect(seen).toEqual(new Set(Object.keys(selfCheck(probe()).facts)))
  })

  test.each([['/data/sessions.db'], ['/tmp'], ['*']])(
    'the right to write %s breaks two facts, though node denies it when it is asked for no path',
    (path) => {
      const argv = execArgv(...flags, '--allow-fs-read=/app', `--allow-fs-write=${path}`)
      const { facts } = selfCheck(probe({ ...argv, mayWriteFiles: () => false }))
      const broken = Object.keys(facts).filter((fact) => facts[fact] !== 'held')
      expect(broken).toEqual(['exec_argv', 'fs_write_denied'])
    },
  )

  test('what cannot be read is unknown and does not throw', () => {
    const { facts } = selfCheck(
      probe({
        readFile: unreadable,
        mayWriteFiles: unreadable,
        hasSubscribers: unreadable,
        isTerminal: unreadable,
        isInspectorActive: unreadable,
      }),
    )
    const known = Object.entries(facts).filter(([, verdict]) => verdict !== 'unknown')
    expect(known).toEqual([['environment_clean', 'held']])
  })

  test('a status file without the line is unknown', () => {
    const { facts } = selfCheck(probe(replaced('/proc/self/status', 'NoNewPrivs', 'Other')))
    expect(facts['no_new_privs']).toBe('unknown')
  })

  test('a path that merely begins like a mount is not below it', () => {
    const { facts } = selfCheck(probe({ cwd: '/tmpfoo' }))
    expect(facts['cwd_read_only']).toBe('held')
  })

  test('a mount table without the path does not hold', () => {
    const { facts } = selfCheck(probe({ files: { '/proc/self/mounts': '' } }))
    expect(facts['cwd_read_only']).toBe('not_held')
  })

  test('looks at this very process without throwing', () => {
    const { facts } = selfCheck()
    expect(facts).toMatchObject({ exec_argv: 'not_held', fs_write_denied: 'not_held' })
    expect(processProbe().execArgv).toBe(process.execArgv)
  })
})

describe('self-check of a leader', () => {
  const leading = [...flags, LEADER_FLAG, '--allow-fs-read=/app']

  test('allows it to start processes, and nothing else beside the contract', () => {
    const { facts } = selfCheckOfLeader(probe({ execArgv: leading }))
    expect(new Set(Object.values(facts))).toEqual(new Set(['held']))
    for (const more of [LEADER_FLAG, '--inspect', '--allow-worker']) {
      const argv = [...flags, LEADER_FLAG, more, '--allow-fs-read=/app']
      expect(selfCheckOfLeader(probe({ execArgv: argv })).facts['exec_argv'], more).toBe('not_held')
    }
  })

  test('is no check of a process that sees prompts', () => {
    expect(selfCheck(probe({ execArgv: leading })).facts['exec_argv']).toBe('not_held')
  })

  test('sees everything else', () => {
    const { facts } = selfCheckOfLeader(probe({ execArgv: leading, mayWriteFiles: () => true }))
    expect(facts['fs_write_denied']).toBe('not_held')
  })

  test('what it starts has the contract', () => {
    expect(selfCheck(probe({ execArgv: workerFlags(leading) })).facts['exec_argv']).toBe('held')
  })
})

test('of several processes the worst of each fact holds', () => {
  const all = [
    { a: 'held', b: 'held', c: 'unknown', d: 'held' },
    { a: 'held', b: 'unknown', c: 'not_held' },
  ] as const
  expect(worstFacts(all)).toEqual({ a: 'held', b: 'unknown', c: 'not_held', d: 'unknown' })
})

describe('launch flags', () => {
  test('begin with the permission model and leave out comments', () => {
    expect(flags[0]).toBe('--permission')
    expect(flags.every((flag) => /^--[a-z0-9-]+(=[a-z0-9-]+)?$/.test(flag))).toBe(true)
  })

  test.each(['*', '/', '/*', ''])('the right to read %j is no limit', (path) => {
    expect(isLaunchContract(['--a', `--allow-fs-read=${path}`], ['--a'])).toBe(false)
  })
})
