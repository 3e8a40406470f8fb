import type { Clock, UnixSeconds } from '@vouchgate/attestation'

/** A value, and until when it may be given out again. */
export interface Timed<V> {
  readonly value: V
  readonly expiresAt: UnixSeconds
}

/**
 * What was fetched, until it expires, for the last `limit` keys. Callers that ask for one key at the same time share one
 * fetch; a failure is theirs too, and is not kept.
 */
export class TimedCache<V> {
  readonly #clock: Clock
  readonly #limit: number
  /** The one used last at the end. */
  readonly #held = new Map<string, Timed<V>>()
  readonly #loading = new Map<string, Promise<V>>()

  constructor(clock: Clock, limit: number) {
    this.#clock = clock
    this.#limit = limit
  }

  get(key: string, load: () => Promise<Timed<V>>): Promise<V> {
    const held = this.#held.get(key)
    if (held !== undefined && this.#clock.now() < held.expiresAt) {
      this.#hold(key, held)
      return Promise.resolve(held.value)
    }
    const running =
      this.#loading.get(key) ??
      this.#load(key, load).finally(() => {
        this.#loading.delete(key)
      })
    this.#loading.set(key, running)
    return running
  }

  async #load(key: string, load: () => Promise<Timed<V>>): Promise<V> {
    const loaded = await load()
    this.#hold(key, loaded)
    return loaded.value
  }

  #hold(key: string, entry: Timed<V>): void {
    this.#held.delete(key)
    this.#held.set(key, entry)
    const [oldest] = this.#held.keys()
    if (this.#held.size > this.#limit && oldest !== undefined) this.#held.delete(oldest)
  }
}
