import { Session, type Profiler } from 'node:inspector/promises'

/** V8's block coverage of the sources below a folder, in this process. */
export class Coverage {
  readonly #session = new Session()
  readonly #within: string

  /** `within` is a part of the URLs of the scripts that count. */
  constructor(within: string) {
    this.#within = within
  }

  async start(): Promise<void> {
    this.#session.connect()
    await this.#session.post('Profiler.enable')
    await this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** What was executed since the last call. */
  async take(): Promise<Profiler.ScriptCoverage[]> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage')
    return result.filter(({ url }) => url.includes(this.#within))
  }

  stop(): void {
    this.#session.disconnect()
  }
}

/** What has been executed so far. */
export class Reached {
  /** For each function, by script and place, one byte for each character: 1 where it was executed. */
  readonly #functions = new Map<string, Uint8Array>()

  /** How many functions were entered. */
  get functions(): number {
    return this.#functions.size
  }

  /** Whether something of this was never executed before; remembers it where that is to be kept. */
  grows(scripts: readonly Profiler.ScriptCoverage[], keep: 'keep' | 'look'): boolean {
    let grew = false
    for (const { url, functions } of scripts) {
      for (const each of functions) grew = this.#merge(url, each, keep) || grew
    }
    return grew
  }

  #merge(url: string, { ranges }: Profiler.FunctionCoverage, keep: 'keep' | 'look'): boolean {
    const [whole] = ranges
    if (whole === undefined || whole.count === 0) return false
    const { startOffset: start, endOffset: end } = whole
    const now = new Uint8Array(end - start)
    // Inner ranges follow the outer ones and say what differs within them.
    for (const { startOffset, endOffset, count } of ranges) {
      now.fill(count > 0 ? 1 : 0, startOffset - start, endOffset - start)
    }
    const key = `${url}:${start}`
    const before = this.#functions.get(key) ?? new Uint8Array(now.length)
    const grew = now.some((reached, at) => reached > (before[at] ?? 0))
    if (grew && keep === 'keep') {
      this.#functions.set(
        key,
        now.map((reached, at) => reached | (before[at] ?? 0)),
      )
    }
    return grew
  }
}
