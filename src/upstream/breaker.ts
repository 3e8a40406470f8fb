import type { Clock, UnixSeconds } from '@vouchgate/attestation'

/** `open`: left alone. `half_open`: one attempt decides. */
export type BreakerState = 'closed' | 'open' | 'half_open'

const THRESHOLD = 5
const MAX_WAIT_SECONDS = 60

export interface BreakerOptions {
  readonly clock: Clock
  /** Failures in a row after which there is no wait yet. */
  readonly unpunished: number
}

/**
 * Failures in a row, and how long they are a reason to stay away: 1, 2, 4 … 60 seconds. Five of them open the
 * breaker; the first attempt after the wait is the probe that closes it or keeps it open for longer.
 */
export class Breaker {
  readonly #options: BreakerOptions
  #failures = 0
  #retryAt: UnixSeconds = 0

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    if (this.#failures < THRESHOLD) return 'closed'
    return this.waitSeconds === null ? 'half_open' : 'open'
  }

  /** When the next attempt may be made; null where none has to wait. */
  get retryAt(): UnixSeconds | null {
    return this.#failures > this.#options.unpunished ? this.#retryAt : null
  }

  /** Seconds until the next attempt, or null where one may be made now. */
  get waitSeconds(): number | null {
    const wait = this.#retryAt - this.#options.clock.now()
    return wait > 0 ? wait : null
  }

  failed(): void {
    const { clock, unpunished } = this.#options
    // Bounded, so that the power stays a number.
    this.#failures = Math.min(this.#failures + 1, unpunished + 16)
    const punished = this.#failures - unpunished
    if (punished < 1) return
    this.#retryAt = clock.now() + Math.min(2 ** (punished - 1), MAX_WAIT_SECONDS)
  }

  succeeded(): void {
    this.#failures = 0
    this.#retryAt = 0
  }
}
