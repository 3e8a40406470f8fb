export interface RequestRow {
  readonly name: string
  readonly connections: number
  readonly bytes: number
  readonly perSecond: number
  /** Requests per second as a share of those of the bare pass-through before the same upstream; null of an upstream. */
  readonly ofBare: number | null
  readonly p50: number
  readonly addedP50: number | null
  readonly addedP99: number | null
  /** Microseconds of computing for each request, in all threads of the process. */
  readonly cpuUs: number
  /** Of one core. */
  readonly generatorBusy: number
}

export interface StreamRow {
  readonly name: string
  readonly firstP50: number
  readonly firstP99: number
  readonly addedP50: number | null
  readonly addedP99: number | null
  /** Microseconds of computing for each event, what the request itself costs included; null of an upstream. */
  readonly cpuUs: number | null
  readonly failed: number
}

/** What one run measured. Milliseconds unless a name says otherwise. */
export interface Report {
  readonly commit: string
  readonly machine: string
  /** Processes that were running or waiting before it began, on average of a minute. */
  readonly loadBefore: number
  /** Whether what is measured had one core to itself. */
  readonly pinned: boolean
  readonly quick: boolean
  readonly requests: readonly RequestRow[]
  readonly streams: readonly StreamRow[]
  readonly slow: {
    readonly name: string
    readonly streams: number
    readonly perStreamKiB: number
    readonly firstP99: number
    /** Refused, cut or without an end after a minute. */
    readonly failed: number
  }[]
  readonly memory: {
    readonly name: string
    readonly requests: number
    readonly residentMiB: readonly number[]
  }[]
  readonly start: { readonly name: string; readonly readyMs: number }[]
}

type Cell = string | number

const line = (cells: readonly Cell[]): string => `| ${cells.join(' | ')} |`

function table(head: readonly Cell[], rows: readonly (readonly Cell[])[]): string {
  const rule = head.map((_, at) => (at === 0 ? '---' : '---:'))
  return [head, rule, ...rows].map(line).join('\n')
}

const two = (value: number | null): string => (value === null ? '' : value.toFixed(2))

function requestTable({ requests }: Report, bytes: number, connections: number): string {
  const rows = requests
    .filter((row) => row.bytes === bytes && row.connections === connections)
    .map((row) => [
      row.name,
      Math.round(row.perSecond),
      two(row.ofBare),
      Math.round(row.cpuUs),
      two(row.p50),
      two(row.addedP50),
      two(row.addedP99),
      `${Math.round(100 * row.generatorBusy)} %`,
    ])
  const title = `${connections} connection${connections === 1 ? '' : 's'}, ${bytes / 1000} KB`
  const measured = ['requests/s', '× bare', 'CPU µs', 'p50 ms', 'added p50', 'added p99']
  return table([title, ...measured, 'generator'], rows)
}

const streamTable = ({ streams }: Report): string =>
  table(
    [
      '100 new streams/s',
      'first event p50 ms',
      'p99',
      'added p50',
      'added p99',
      'CPU µs per event',
      'failed',
    ],
    streams.map((row) => [
      row.name,
      two(row.firstP50),
      two(row.firstP99),
      two(row.addedP50),
      two(row.addedP99),
      row.cpuUs?.toFixed(1) ?? '',
      row.failed,
    ]),
  )

/** All tables, as they stand in docs/performance.md. */
export function markdown(report: Report): string {
  const { commit, machine, loadBefore, pinned, quick, slow, memory, start, requests } = report
  const cells = new Map(requests.map((row) => [`${row.bytes} ${row.connections}`, row]))
  const kind = quick ? 'a quick run' : 'a full run'
  const cores = pinned ? 'what is measured on one core' : 'not kept to one core'
  return [
    `Commit ${commit}, ${machine}, ${kind}, ${cores}; load average before it: ${loadBefore.toFixed(1)}.`,
    ...[...cells.values()].map((row) => requestTable(report, row.bytes, row.connections)),
    streamTable(report),
    table(
      ['slow streams', 'at a time', 'KiB each', 'first event p99 ms', 'failed'],
      slow.map((row) => [
        row.name,
        row.streams,
        row.perStreamKiB.toFixed(1),
        two(row.firstP99),
        row.failed,
      ]),
    ),
    table(
      ['resident MiB', 'requests', 'after each tenth'],
      memory.map((row) => [row.name, row.requests, row.residentMiB.join(', ')]),
    ),
    table(
      ['start', 'ms until it listens'],
      start.map(({ name, readyMs }) => [name, Math.round(readyMs)]),
    ),
  ].join('\n\n')
}
