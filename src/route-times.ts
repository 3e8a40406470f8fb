import type { Route } from './config/index.ts'

interface Times {
  firstByteMs: number
  /** Bytes a second once an answer has begun; null where none was long enough to say. */
  rate: number | null
  at: number
}

/** The share of the newest measurement in the average. */
const NEWEST = 0.3
/** A route that has not been asked for so long may have become better: it is tried anew. */
const FORGOTTEN_MS = 300_000

/** How soon and how fast routes answered of late: moving averages, in memory. */
export class RouteTimes {
  readonly #routes = new Map<string, Times>()
  /** Milliseconds of a clock that only goes forward. */
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  now(): number {
    return this.#now()
  }

  answered(route: Route, firstByteMs: number, rate: number | null): void {
    const known = this.#known(route)
    const average = (before: number, next: number): number => before * (1 - NEWEST) + next * NEWEST
    this.#routes.set(keyOf(route), {
      firstByteMs: known === null ? firstByteMs : average(known.firstByteMs, firstByteMs),
      rate:
        rate === null || known?.rate == null
          ? (rate ?? known?.rate ?? null)
          : average(known.rate, rate),
      at: this.#now(),
    })
  }

  /** Null where nothing is known, or no longer. */
  firstByteMs(route: Route): number | null {
    return this.#known(route)?.firstByteMs ?? null
  }

  rate(route: Route): number | null {
    return this.#known(route)?.rate ?? null
  }

  #known(route: Route): Times | null {
    const times = this.#routes.get(keyOf(route))
    return times === undefined || this.#now() - times.at > FORGOTTEN_MS ? null : times
  }
}

const keyOf = ({ provider, model }: Route): string => `${provider} ${model}`
