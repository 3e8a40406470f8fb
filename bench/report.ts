/** What one run measured. Milliseconds unless a name says otherwise; ratios are to the upstream itself. */
export interface Report {
  readonly commit: string
  readonly machine: string
  /** Processes that were running or waiting before it began, on average of a minute. */
  readonly loadBefore: number
  readonly quick: boolean
  readonly requests: {
    readonly name: string
    readonly connections: number
    readonly bytes: number
    readonly perSecond: number
    readonly ratio: number
    readonly p50: number
    readonly addedP50: number
    readonly addedP99: number
    readonly loadBusy: number
  }[]
  readonly streams: {
    readonly name: string
    readonly addedFirstP50: number
    readonly addedFirstP99: number
    readonly addedPerEvent: number
  }[]
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

const ms = (value: number): string => value.toFixed(2)

function requestTable({ requests }: Report, bytes: number, connections: number): string {
  const rows = requests
    .filter((row) => row.bytes === bytes && row.connections === connections)
    .map((row) => [
      row.name,
      Math.round(row.perSecond),
      row.ratio.toFixed(2),
      ms(row.p50),
      ms(row.addedP50),
      ms(row.addedP99),
      `${Math.round(100 * row.loadBusy)} %`,
    ])
  const title = `${connections} connection${connections === 1 ? '' : 's'}, ${bytes / 1000} KB`
  const head = [title, 'requests/s', '× upstream', 'p50 ms', 'added p50', 'added p99', 'generator']
  return table(head, rows)
}

/** All tables, as they stand in docs/performance.md. */
export function markdown(report: Report): string {
  const { commit, machine, loadBefore, quick, streams, slow, memory, start, requests } = report
  const cells = new Map(requests.map((row) => [`${row.bytes} ${row.connections}`, row]))
  const kind = quick ? 'a quick run' : 'a full run'
  return [
    `Commit ${commit}, ${machine}, ${kind}; load average before it: ${loadBefore.toFixed(1)}.`,
    ...[...cells.values()].map((row) => requestTable(report, row.bytes, row.connections)),
    table(
      ['streams, 8 at a time', 'added first event p50', 'added first event p99', 'added per event'],
      streams.map((row) => [
        row.name,
        ms(row.addedFirstP50),
        ms(row.addedFirstP99),
        row.addedPerEvent.toFixed(3),
      ]),
    ),
    table(
      ['slow streams', 'at a time', 'KiB each', 'first event p99 ms', 'failed'],
      slow.map((row) => [
        row.name,
        row.streams,
        row.perStreamKiB.toFixed(1),
        ms(row.firstP99),
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
