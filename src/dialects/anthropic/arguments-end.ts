/** Tells, fragment by fragment, whether a JSON object has come to its end. */
export class ArgumentsEnd {
  #depth = 0
  #begun = false
  #quoted = false
  #escaped = false

  push(text: string): void {
    for (const character of text) this.#read(character)
  }

  get complete(): boolean {
    return this.#begun && this.#depth === 0 && !this.#quoted
  }

  #read(character: string): void {
    if (this.#quoted) {
      this.#readQuoted(character)
    } else if (character === '"') {
      this.#quoted = true
    } else if (character === '{' || character === '[') {
      this.#begun = true
      this.#depth++
    } else if (character === '}' || character === ']') {
      this.#depth--
    }
  }

  #readQuoted(character: string): void {
    if (this.#escaped) this.#escaped = false
    else if (character === '\\') this.#escaped = true
    else if (character === '"') this.#quoted = false
  }
}
