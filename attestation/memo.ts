/**
 * Remembers what was computed for a text, for the last `limit` texts.
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

  /** What `compute` throws is not remembered. */
  get(text: string, compute: () => V): V {
    const known = this.#values.get(text)
    if (known !== undefined) return known
    const value = compute()
    this.#values.set(text, value)
    const [oldest] = this.#values.keys()
    if (this.#values.size > this.#limit && oldest !== undefined) this.#values.delete(oldest)
    return value
  }
}
