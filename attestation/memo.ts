/**
 * Remembers what was computed for a text, for the `limit` texts that were asked for last.
 *
 * Only for pure functions of that text: reading a document, or whether a signature over it holds under a key that
 * is part of the text. Anything that depends on the time, a root, a revocation or a policy is decided anew at each
 * verification, so that a remembered value can never turn a rejection into an acceptance.
 */
export class Memo<V> {
  readonly #values = new Map<string, V>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Neither what `compute` throws nor a promise that is rejected is remembered. */
  get(text: string, compute: () => V): V {
    const known = this.#values.get(text)
    const value = known ?? this.#computed(text, compute)
    // Asked for last, forgotten last: passing evidence does not push out what every verification needs.
    if (known !== undefined) this.#values.delete(text)
    this.#values.set(text, value)
    const [oldest] = this.#values.keys()
    if (this.#values.size > this.#limit && oldest !== undefined) this.#values.delete(oldest)
    return value
  }

  #computed(text: string, compute: () => V): V {
    const value = compute()
    if (value instanceof Promise) {
      value.catch(() => {
        if (this.#values.get(text) === value) this.#values.delete(text)
      })
    }
    return value
  }
}
