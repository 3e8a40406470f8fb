const LEAST = 1024

/**
 * First in, first out. The front of a `Map` that things are taken from is slow to find: it steps over what was taken before,
 * which among a hundred thousand entries costs more than everything else that a request does.
 */
export class Fifo<T> {
  #items: T[] = []
  /** Before it is what has been taken. */
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** The oldest, which stays. */
  peek(): T | undefined {
    return this.#items[this.#head]
  }

  /** Takes the oldest. */
  shift(): T | undefined {
    const item = this.peek()
    if (item === undefined) return undefined
    this.#head += 1
    if (this.#head >= LEAST && 2 * this.#head >= this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** Those that are there now, oldest first. */
  all(): T[] {
    return this.#items.slice(this.#head)
  }
}
