import {
  isLaunchContract,
  LAUNCH_FLAGS_PATH,
  LEADER_FLAG,
  parseLaunchFlags,
  workerFlags,
} from './launch-flags.ts'
import { hasNoWritableDisk, isReadOnly } from './mounts.ts'
import { processProbe, type Probe } from './probe.ts'

export type Fact = 'held' | 'not_held' | 'unknown'
export type Facts = Readonly<Record<string, Fact>>

/** Each variable of these makes node or its libraries write, send or trust something it otherwise would not. */
const UNWANTED_VARIABLES = [
  /^NODE_(?!ENV$)/,
  /^(?:LD|SSL|OPENSSL|OTEL|SENTRY|MALLOC|UV)_/,
  /^SSLKEYLOGFILE$/,
  /^GLIBC_TUNABLES$/,
  /_PROXY$/i,
]

/** A subscriber receives whole headers and bodies, the Authorization header included. */
const CONTENT_CHANNELS = [
  'undici:request:create',
  'undici:request:bodySent',
  'undici:request:bodyChunkSent',
  'undici:request:bodyChunkReceived',
  'undici:request:headers',
  'undici:request:trailers',
  'undici:request:error',
  'undici:client:sendHeaders',
  'undici:websocket:open',
  'http.client.request.created',
  'http.client.request.start',
  'http.client.request.error',
  'http.client.response.finish',
  'http.server.request.start',
  'http.server.response.created',
  'http.server.response.finish',
]

/** A handler that discards; any other pipe or socket receives the core whatever RLIMIT_CORE says (core(5)). */
const DISCARDING_CORE_PATTERNS = new Set(['|/bin/false', '|/bin/true'])
const STANDARD_STREAMS = [0, 1, 2]

/** Asked without a path, node says of a process with the right to write one file that it has none. */
const WRITE_FLAG = '--allow-fs-write'

const CHECKS = {
  /** Node has exactly the flags of the launch contract. */
  exec_argv: (probe) =>
    isLaunchContract(probe.execArgv, parseLaunchFlags(probe.readFile(LAUNCH_FLAGS_PATH))),
  /** No variable that changes what node, OpenSSL or the loader do. */
  environment_clean: (probe) =>
    !probe.environmentNames.some((name) => UNWANTED_VARIABLES.some((bad) => bad.test(name))),
  /** The permission model refuses every write to a file. */
  fs_write_denied: (probe) =>
    !probe.mayWriteFiles() && !probe.execArgv.some((flag) => flag.startsWith(WRITE_FLAG)),
  /** RLIMIT_CORE is 0, soft and hard. */
  core_limit_zero: (probe) =>
    /^Max core file size +0 +0 /m.test(probe.readFile('/proc/self/limits')),
  /** No memory goes into a core, also where a handler is given one. */
  core_filter_zero: (probe) => /^0+$/.test(probe.readFile('/proc/self/coredump_filter').trim()),
  /** Cores are not sent to a program or a socket, where the limit has no say. */
  core_pattern: (probe) => {
    const pattern = probe.readFile('/proc/sys/kernel/core_pattern').trim()
    return !/^[|@]/.test(pattern) || DISCARDING_CORE_PATTERNS.has(pattern)
  },
  no_swap: (probe) => probe.readFile('/proc/swaps').trim().split('\n').length === 1,
  no_new_privs: (probe) => status(probe, 'NoNewPrivs') === '1',
  seccomp: (probe) => status(probe, 'Seccomp') === '2',
  vm_swap_zero: (probe) => status(probe, 'VmSwap') === '0 kB',
  no_rw_block_device_mount: (probe) => hasNoWritableDisk(probe.readFile('/proc/self/mounts')),
  cwd_read_only: (probe) => isReadOnly(probe.readFile('/proc/self/mounts'), probe.cwd),
  no_diagnostics_subscribers: (probe) =>
    !CONTENT_CHANNELS.some((channel) => probe.hasSubscribers(channel)),
  no_tty: (probe) => !STANDARD_STREAMS.some((descriptor) => probe.isTerminal(descriptor)),
  inspector_inactive: (probe) => !probe.isInspectorActive(),
} as const satisfies Record<string, (probe: Probe) => boolean>

/**
 * What holds of this process and its guest at this moment: the launch contract, each part by its name.
 *
 * Never throws. `unknown` means that the fact could not be looked at, which is not a pass. The facts are
 * the process's own word; what makes them worth something is that the quote measures the code that says it.
 */
export function selfCheck(probe: Probe = processProbe()): { readonly facts: Facts } {
  const facts = Object.entries(CHECKS).map(([name, check]) => [name, look(check, probe)] as const)
  return { facts: Object.fromEntries(facts) }
}

/**
 * The same of the leader of several workers. It sees no prompt, and the one flag more that it has lets it start them:
 * what it runs with beside that flag must be the contract.
 */
export function selfCheckOfLeader(probe: Probe = processProbe()): { readonly facts: Facts } {
  const given = probe.execArgv.filter((flag) => flag === LEADER_FLAG).length
  const execArgv = given > 1 ? probe.execArgv : workerFlags(probe.execArgv)
  return selfCheck({ ...probe, execArgv })
}

const WORST = ['not_held', 'unknown', 'held'] as const satisfies readonly Fact[]

/** What holds of all of several processes: of each fact the worst. One that a process does not know of is `unknown`. */
export function worstFacts(all: readonly Facts[]): Facts {
  const names = new Set(all.flatMap((facts) => Object.keys(facts)))
  const worst = (name: string): Fact => {
    const seen = all.map((facts) => facts[name] ?? 'unknown')
    return WORST.find((fact) => seen.includes(fact)) ?? 'unknown'
  }
  return Object.fromEntries([...names].map((name) => [name, worst(name)]))
}

function look(check: (probe: Probe) => boolean, probe: Probe): Fact {
  try {
    return check(probe) ? 'held' : 'not_held'
  } catch {
    return 'unknown'
  }
}

/** A line of `/proc/self/status`. Throws where the kernel has none of that name. */
function status(probe: Probe, name: string): string {
  const line = probe
    .readFile('/proc/self/status')
    .split('\n')
    .find((candidate) => candidate.startsWith(`${name}:`))
  if (line === undefined) throw new TypeError('no such line')
  return line.slice(name.length + 1).trim()
}
